"""Every message arrives as it was sent, a field of every kind too; what does not fit its type hint is refused."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import ChannelError, Failure, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel import frames
from mindspore_serving.server.channel.agent_messages import GraphResult
from mindspore_serving.server.channel.control import ControlCodec
from mindspore_serving.server.channel.frames import (
    FROM_AGENT,
    FROM_BODY_READER,
    FROM_MEMBER,
    FROM_WORKER,
    TO_AGENT,
    TO_BODY_READER,
    TO_MEMBER,
    TO_WORKER,
    FrameSplitter,
    Incoming,
    Message,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.hints import UnknownHint
from mindspore_serving.server.channel.instances import InstancesCodec, carries_instances
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import MAX_DIMENSIONS, DataType, TensorSpec
from tests.fuzz.channel_stream import content_of
from tests.fuzz.oracle import LONGEST_TEXT
from tests.support.channel import ANY, decoded
from tests.support.rows import numbered
from tests.unit.channel.generated import messages_of, values_of

MESSAGES = get_args(Message)
CONVERSATIONS: list[Incoming[Any]] = [
    FROM_WORKER,
    TO_WORKER,
    FROM_MEMBER,
    TO_MEMBER,
    FROM_AGENT,
    TO_AGENT,
    FROM_BODY_READER,
    TO_BODY_READER,
]


def frame_parts(frame: bytes) -> tuple[int, memoryview]:
    [(kind, body)] = FrameSplitter().feed(frame)
    return kind, body


def is_frozen(kind: Any) -> bool:
    return bool(kind.__dataclass_params__.frozen)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=60)
@given(some.data())
def test_a_message_of_every_type_arrives_as_it_was_sent(kind: Any, data: some.DataObject) -> None:
    message = data.draw(messages_of(kind))
    got = decoded(frame_of(message))
    assert type(got) is kind
    assert content_of(got) == content_of(message)
    for name in get_type_hints(kind):
        assert type(getattr(got, name)) is type(getattr(message, name))
    if is_frozen(kind):
        assert got == message
        unhashable = any(isinstance(getattr(message, name), dict) for name in get_type_hints(kind))
        assert unhashable or hash(got) == hash(message)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=15)
@given(some.data())
def test_a_body_that_is_cut_short_is_refused(kind: Any, data: some.DataObject) -> None:
    number, body = frame_parts(frame_of(data.draw(messages_of(kind))))
    padding = 7 if carries_instances(kind) else 0
    for size in range(len(body) - padding):
        with pytest.raises(ChannelError, match="cannot be read"):
            message_of(number, body[:size], ANY)


def test_every_message_has_a_number_and_a_conversation() -> None:
    assert set(frames._KINDS) == set(MESSAGES)
    numbers = list(frames._KINDS.values())
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert {kind for one in CONVERSATIONS for kind in one.codecs} == set(numbers)


SPEC = TensorSpec("x", DataType.INT8, (-1,))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inner:
    points: tuple[Point, ...]
    types: Mapping[str, DataType] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Planted:
    """A field of every kind that the codec knows."""

    flag: bool
    number: int
    share: float
    text: str
    data: bytes
    more_data: bytes
    kind: DataType
    colour: Colour
    numbers: tuple[int, ...]
    texts: tuple[str, ...]
    nested: tuple[tuple[int, ...], ...]
    point: Point
    inner: Inner
    inners: tuple[Inner, ...]
    methods: tuple[MethodSignature, ...]
    by_name: Mapping[str, tuple[int, ...]] = field(hash=False)
    maybe: int | None
    spec: TensorSpec = SPEC


@settings(max_examples=60)
@given(values_of(Planted))
def test_a_new_field_of_any_kind_needs_no_line_in_the_codec(message: Planted) -> None:
    codec = ControlCodec(Planted)
    got = codec.read(memoryview(b"".join(codec.parts_of(message, None))), None, False)
    assert got == message
    assert hash(got) == hash(message)
    assert type(got.point) is Point
    assert type(got.kind) is DataType
    assert all(type(getattr(got, name)) is tuple for name in ("numbers", "texts", "nested", "inners"))


@dataclass(slots=True)
class PlantedInstances:
    """Fields of every kind, in an order of their own."""

    urgent: bool
    number: int
    groups: tuple[Group, ...]
    method: str
    start: int
    last: bool


@settings(max_examples=60)
@given(messages_of(PlantedInstances))
def test_a_new_field_beside_instances_needs_no_line_in_the_codec(message: PlantedInstances) -> None:
    codec = InstancesCodec(PlantedInstances)
    got: Any = codec.read(memoryview(b"".join(codec.parts_of(message, None))), None, False)
    assert content_of(got) == content_of(message)  # type: ignore[arg-type]
    names = ("urgent", "number", "method", "start", "last")
    assert [getattr(got, name) for name in names] == [getattr(message, name) for name in names]


class Share(Enum):
    HALF = 0.5


class HoldsItself(NamedTuple):
    parts: tuple[HoldsItself, ...]


@pytest.mark.parametrize(
    "hint",
    [
        list[int],
        tuple[int, str],
        tuple[bytes, ...],
        dict[str, int],
        Mapping[int, str],
        object,
        complex,
        int | str,
        int | str | None,
        np.ndarray,
        tuple[list[int], ...],
        HoldsItself,
        Share,
    ],
    ids=str,
)
def test_a_hint_that_cannot_be_sent_is_refused_at_import(hint: Any) -> None:
    kind = dataclasses.make_dataclass("Odd", [("fine", int), ("strange", hint)])
    with pytest.raises(UnknownHint, match=r"^Odd\.strange: .*cannot be sent: bool, int, float"):
        ControlCodec(kind)


@pytest.mark.parametrize(
    "fields",
    [
        [("groups", tuple[Rows, ...])],
        [("number", int), ("groups", tuple[Rows, ...]), ("more", Rows)],
        [("number", int), ("one", str), ("two", str), ("groups", Rows)],
        [("number", int), ("share", float), ("groups", Rows)],
    ],
)
def test_a_hint_beside_instances_that_cannot_be_sent_is_refused_at_import(fields: Any) -> None:
    with pytest.raises(UnknownHint, match="Odd: a message that carries instances has fields of int and bool"):
        InstancesCodec(dataclasses.make_dataclass("Odd", fields))


def test_a_message_through_shared_memory_begins_with_number_and_slot() -> None:
    kind = dataclasses.make_dataclass("Odd", [("slot", int), ("number", int), ("groups", tuple[Rows, ...])])
    with pytest.raises(UnknownHint, match="Odd: its fields should begin with a number and slot"):
        InstancesCodec(kind, SharedMemory.request_region)


PLANTED = {
    "flag": True,
    "number": 1,
    "share": 0.5,
    "text": "t",
    "kind": 2,
    "colour": "red",
    "numbers": [1],
    "texts": ["a"],
    "nested": [[1]],
    "point": [1, ["a"]],
    "inner": {"points": [[1, []]], "types": {"x": 3}},
    "inners": [],
    "methods": [],
    "by_name": {"a": [1]},
    "maybe": None,
}


def planted_body(value: object) -> memoryview:
    encoded = json.dumps(value).encode()
    return memoryview(struct.pack("<III", len(encoded), 1, 2) + encoded + b"abb")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"flag": 1}, "flag should be bool, but is 1"),
        ({"number": True}, "number should be int, but is True"),
        ({"number": 1.0}, "number should be int, but is 1.0"),
        ({"number": 2**80}, "number should be int, but is 1.2089258196146292e+24"),
        ({"share": 1}, "share should be float, but is 1"),
        ({"text": None}, "text should be str, but is None"),
        ({"text": 1}, "text should be str, but is 1"),
        ({"maybe": 1.0}, "maybe should be int, but is 1.0"),
        ({"kind": 99}, "kind should be a value of DataType, but is 99"),
        ({"kind": True}, "kind should be a value of DataType, but is True"),
        ({"kind": {}}, "kind should be a value of DataType, but is an object of 0 fields"),
        ({"kind": []}, "kind should be a value of DataType, but is a list of 0"),
        ({"colour": 1}, "colour should be a value of Colour, but is 1"),
        ({"numbers": 1}, "numbers should be a list, but is 1"),
        ({"numbers": "12"}, "numbers should be a list, but is '12'"),
        ({"numbers": [1, "2"]}, "numbers[1] should be int, but is '2'"),
        ({"nested": [[1], [2, None]]}, "nested[1][1] should be int, but is None"),
        ({"point": [1]}, "point should be a list of 2, but is a list of 1"),
        ({"point": [1, [2]]}, "point.names[0] should be str, but is 2"),
        ({"inner": 3}, "inner should be an object, but is 3"),
        ({"inner": {"points": []}}, "inner.types should be there, but is missing"),
        ({"inner": {"points": [[None, []]], "types": {}}}, "inner.points[0].x should be int, but is None"),
        (
            {"inner": {"points": [], "types": {"x": "y"}}},
            "inner.types['x'] should be a value of DataType, but is 'y'",
        ),
        (
            {"methods": [{"name": "m", "input_names": [], "batch_limit": "1"}]},
            "methods[0].batch_limit should be int, but is '1'",
        ),
        ({"spec": ["x", 2, [-2]]}, "spec.shape should be dimensions of at least -1, but is -2"),
        (
            {"spec": ["x", 2, [1] * 99]},
            f"spec.shape should be at most {MAX_DIMENSIONS} dimensions, but is 99",
        ),
        ({"more": 1}, "'more' should be absent, but is 1"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_its_hint_is_told_by_name(changed: dict[str, Any], text: str) -> None:
    codec = ControlCodec(Planted)
    codec.read(planted_body(PLANTED), None, False)
    with pytest.raises(ValueError) as refused:
        codec.read(planted_body({**PLANTED, **changed}), None, False)
    assert str(refused.value) == text


def test_a_field_with_a_default_may_be_left_out_and_no_other() -> None:
    codec = ControlCodec(Planted)
    assert codec.read(planted_body(PLANTED), None, False).spec == SPEC
    for name in PLANTED:
        rest = {key: value for key, value in PLANTED.items() if key != name}
        with pytest.raises(ValueError, match=f"^{name} should be there, but is missing$"):
            codec.read(planted_body(rest), None, False)


@pytest.mark.parametrize("lengths", [(0, 0, 0), (2**32 - 1, 1, 2), (2, 2**32 - 1, 0), (2, 0, 2)])
def test_lengths_of_bytes_that_are_not_there_are_refused(lengths: tuple[int, int, int]) -> None:
    @dataclass
    class Two:
        one: bytes
        two: bytes

    codec = ControlCodec(Two)
    fine = memoryview(struct.pack("<III", 2, 1, 2) + b"{}abb")
    assert codec.read(fine, None, False) == Two(b"a", b"bb")
    with pytest.raises(ValueError, match="was announced, but it has 17"):
        codec.read(memoryview(struct.pack("<III", *lengths) + b"{}abb"), None, False)
    with pytest.raises(struct.error):
        codec.read(memoryview(bytes(11)), None, False)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        ([5, "no", "200"], "should be int, but is '200'"),
        ([5, ["no"], None], "should be str, but is a list of 1"),
        ([5, "no", None, 1, None], "should be str, but is 1"),
        ([5, "no", None, "", "no"], "should be a value of Outcome, but is 'no'"),
        ([5, "no", None, "", "ok"], "should be a reason to fail, but is 'ok'"),
        ([5, "no", None, "", ["lost"]], "should be a value of Outcome, but is a list of 1"),
        ([5, "no", None, ""], "should be a failure of 3 or 5 fields, but is a list of 4"),
        ([99, "no", None], "should be a value of StatusCode, but is 99"),
        (["5", "no", None], "should be a value of StatusCode, but is '5'"),
        ([5, "no"], "should be a failure of 3 or 5 fields, but is a list of 2"),
        ({"a": 1, "b": 2, "c": 3}, "should be a failure of 3 or 5 fields, but is an object of 3 fields"),
        (None, "should be a failure of 3 or 5 fields, but is None"),
        ([5, "DEEP", None], "should be str, but is a list of 1"),
    ],
)
def test_a_failure_that_does_not_fit_is_refused(failure: object, text: str) -> None:
    encoded = json.dumps(failure).replace('"DEEP"', "[" * 900 + "]" * 900).encode()
    head = struct.pack("<IIIIIII?II3x", 1, 0, 0, 0, 0, 0, 0, True, 1, 0) + struct.pack(
        "<IIB7xQ", 1, len(encoded), 2, 0
    )
    with pytest.raises(ChannelError) as refused:
        message_of(frames._KINDS[Result], memoryview(head + encoded), FROM_WORKER)
    assert str(refused.value) == f"Channel got a Result that cannot be read: the value {text}"


def test_a_text_that_is_not_all_there_is_refused() -> None:
    body = struct.pack("<IIII", 1, 0, 0, 9) + b"method"
    with pytest.raises(ChannelError, match="a text of 9 bytes expected, 6 left"):
        message_of(frames._KINDS[Batch], memoryview(body), TO_WORKER)


def test_a_layout_that_is_not_all_there_is_refused() -> None:
    body = struct.pack("<IIII", 1, 0, 1, 0) + struct.pack("<IIB7xQ", 1, 9, 0, 0) + b"[]"
    with pytest.raises(ChannelError, match="a layout of 9 bytes expected, 2 left"):
        message_of(frames._KINDS[Batch], memoryview(body), TO_WORKER)


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_deep_values_are_refused_and_not_looked_into(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for kind, codec in ANY.codecs.items():
        names = list(get_type_hints(frames_kind(kind)))
        body = b'{"%b": %b}' % (names[0].encode() if names else b"x", deep)
        with pytest.raises(ChannelError) as refused:
            message_of(kind, memoryview(body), ANY)
        assert codec.name in str(refused.value)
        assert len(str(refused.value)) <= LONGEST_TEXT


def frames_kind(number: int) -> Any:
    return next(kind for kind, known in frames._KINDS.items() if known == number)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(some.data())
def test_a_message_of_another_conversation_is_refused(kind: Any, data: some.DataObject) -> None:
    number, body = frame_parts(frame_of(data.draw(messages_of(kind))))
    for among in CONVERSATIONS:
        if number in among.codecs:
            assert type(message_of(number, body, among)) is kind
        else:
            with pytest.raises(ChannelError) as refused:
                message_of(number, body, among)
            assert str(refused.value) == f"Channel got a {kind.__name__}, expected one of {among.names}"


def test_a_foreign_message_is_refused_before_its_body_is_read() -> None:
    number = frames._KINDS[Batch]
    with pytest.raises(ChannelError, match="expected one of"):
        message_of(number, memoryview(b"nonsense"), FROM_WORKER)
    with pytest.raises(ChannelError, match="frame of kind 99, expected one of BodyRead"):
        message_of(99, memoryview(b""), FROM_BODY_READER)


@pytest.mark.parametrize(
    "kind", [kind for kind in MESSAGES if carries_instances(kind)], ids=lambda kind: kind.__name__
)
def test_failed_instances_come_as_outcomes_only(kind: Any) -> None:
    hints = get_type_hints(kind)
    failed = FailedRows(Failure(StatusCode.FAILED, "no"), 2)
    given_by_hint = {int: 1, bool: True, str: "m", Rows: failed, Group: failed, tuple[int, ...]: (1,)}
    fields = {name: given_by_hint.get(hint, (failed,)) for name, hint in hints.items()}
    number, body = frame_parts(frame_of(kind(**fields)))
    if Rows in hints.values() or tuple[Rows, ...] in hints.values():
        with pytest.raises(ChannelError, match="failed instances cannot be sent here"):
            message_of(number, body, ANY)
    else:
        message_of(number, body, ANY)


@pytest.mark.parametrize("groups", [(), (numbered(1), FailedRows(Failure(StatusCode.FAILED, "no"), 1))])
def test_a_message_of_one_group_has_one(groups: tuple[Group, ...]) -> None:
    @dataclass
    class Many:
        run_id: int
        groups: tuple[Group, ...]

    body = b"".join(InstancesCodec(Many).parts_of(Many(1, groups), None))
    number = frames._KINDS[GraphResult]
    with pytest.raises(ChannelError, match=f"one group expected, {len(groups)} got"):
        message_of(number, memoryview(body), FROM_AGENT)


def test_number_of_a_message_that_is_no_json_object() -> None:
    for kind in MESSAGES:
        if carries_instances(kind):
            continue
        for value in ([], 1, None, "a"):
            with pytest.raises(ChannelError, match=f"^Channel got a {kind.__name__} that cannot be read: "):
                message_of(frames._KINDS[kind], memoryview(json.dumps(value).encode()), ANY)
