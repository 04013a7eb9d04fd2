"""Predict messages: reading by column gives what the protobuf library gives, and writing likewise."""

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import Failure, InvalidInput, StatusCode
from mindspore_serving.proto import UNDECODABLE, ms_service_pb2
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.dialect.native import predict_codec
from mindspore_serving.server.dialect.native.predict_codec import PredictMessage, encode_reply
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory, reply_layout
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array
from mindspore_serving.wire import read_varint, varint
from tests.support.rows import numbered, rows_of, texts

METHOD = MethodSignature("m", ("x1", "x2"), 64)
UNKNOWN_FIELDS = (b"", b"\x28\x07", b"\x32\x02ab", b"\x39" + bytes(8), b"\x3d" + bytes(4))


def request_bytes(instances: list[dict[str, Array]], version: int = 0) -> bytes:
    request = ms_service_pb2.PredictRequest()
    request.servable_spec.name = "add"
    request.servable_spec.method_name = "m"
    request.servable_spec.version_number = version
    for instance in instances:
        items = request.instances.add().items
        for name, array in instance.items():
            items[name].dtype = DATA_TYPE_OF[array.dtype]
            items[name].shape.dims.extend(array.shape)
            items[name].data = array.tobytes()
    return bytes(request.SerializeToString(deterministic=True))


def random_instances(source: np.random.Generator, count: int) -> list[dict[str, Array]]:
    dtype = NUMPY_OF[DATA_TYPE_OF[source.choice(list(NUMPY_OF.values()))]]
    shapes = [tuple(source.integers(1, 4, source.integers(0, 3))) for _ in range(2)]
    return [
        {
            name: source.integers(0, 2, shape).astype(dtype)
            for name, shape in zip(METHOD.input_names, shapes, strict=True)
        }
        for _ in range(count)
    ]


def assert_instances(blocks: list[Rows], instances: list[dict[str, Array]]) -> None:
    assert len(blocks) == 1
    rows = blocks[0]
    assert rows.count == len(instances)
    assert [spec.name for spec in rows.specs] == list(METHOD.input_names)
    for i, instance in enumerate(instances):
        for spec, column in zip(rows.specs, rows.columns, strict=True):
            assert isinstance(column, np.ndarray)
            assert column.dtype == instance[spec.name].dtype
            np.testing.assert_array_equal(column[i], instance[spec.name])


@pytest.mark.parametrize("seed", range(20))
def test_reading_by_column_equals_reading_by_object(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(seed)
    layouts = LayoutMemory()
    known = random_instances(source, 3)
    assert_instances(PredictMessage(request_bytes(known)).read_instances(METHOD, layouts), known)
    # From here on, instances of this layout are read without the library.
    monkeypatch.setattr(predict_codec.PredictMessage, "_blocks_of", lambda *_: pytest.fail("read by object"))
    for count in (1, 2, 33):
        again = [
            {name: source.integers(0, 2, array.shape).astype(array.dtype) for name, array in known[0].items()}
            for _ in range(count)
        ]
        assert_instances(PredictMessage(request_bytes(again)).read_instances(METHOD, layouts), again)


def test_any_other_layout_is_left_to_the_library() -> None:
    layouts = LayoutMemory()
    x = np.arange(4, dtype=np.float32)
    variants = [
        [{"x1": x, "x2": x}],
        [{"x1": x, "x2": x.reshape(2, 2)}],
        [{"x1": x.astype(np.int32), "x2": x}],
        [{"x2": x, "x1": x}],
        [{"x1": x, "x2": x, "x3": x}],
    ]
    for _ in range(3):
        for instances in variants:
            assert_instances(
                PredictMessage(request_bytes(instances)).read_instances(METHOD, layouts), instances
            )


def test_a_changed_byte_never_changes_more_than_the_library_says() -> None:
    layouts = LayoutMemory()
    good = request_bytes([{"x1": np.ones(3, np.int16), "x2": np.ones((), np.int16)}] * 4)
    PredictMessage(good).read_instances(METHOD, layouts)
    source = random.Random(3)
    outcomes = set()
    for _ in range(4000):
        message = bytearray(good)
        message[source.randrange(len(message))] = source.randrange(256)
        results = [_read(bytes(message), memory) for memory in (layouts, LayoutMemory())]
        assert results[0] == results[1]
        outcomes.add(results[0][0])
    assert outcomes == {"rows", "InvalidInput", "DecodeError"}


def _read(message: bytes, layouts: LayoutMemory) -> tuple[str, object]:
    try:
        blocks = PredictMessage(message).read_instances(METHOD, layouts)
    except (InvalidInput, *UNDECODABLE) as error:
        return type(error).__name__, str(error)
    return "rows", [(block.specs, [np.asarray(c).tobytes() for c in block.columns]) for block in blocks]


def test_instances_of_the_first_generation_are_in_field_three() -> None:
    request = ms_service_pb2.PredictRequest.FromString(request_bytes([{"x1": np.ones(1), "x2": np.ones(1)}]))
    request.instances_of_first_generation.extend(request.instances)
    request.ClearField("instances")
    blocks = PredictMessage(request.SerializeToString()).read_instances(METHOD, LayoutMemory())
    assert_instances(blocks, [{"x1": np.ones(1), "x2": np.ones(1)}])


def test_a_target_at_the_end_of_the_message_is_found() -> None:
    message = request_bytes([{"x1": np.ones(1), "x2": np.ones(1)}], version=3)
    end = read_varint(message, 1)[0] + 2
    call = PredictMessage(message[end:] + message[:end])
    assert (call.name, call.method, call.version) == ("add", "m", 3)
    assert call.read_instances(METHOD, LayoutMemory())[0].count == 1


def messages_of_many_fields() -> Iterator[bytes]:
    """Requests with instances of both generations, of several layouts, and fields that nobody knows among them."""
    source = np.random.default_rng(5)
    for _ in range(20):
        message = request_bytes(random_instances(source, int(source.integers(0, 7))), version=2)
        for _ in range(3):
            request = ms_service_pb2.PredictRequest.FromString(
                request_bytes(random_instances(source, int(source.integers(0, 4))))
            )
            request.ClearField("servable_spec")
            message += request.SerializeToString()
            request.instances_of_first_generation.extend(request.instances)
            request.ClearField("instances")
            message += request.SerializeToString()
            message += UNKNOWN_FIELDS[source.integers(len(UNKNOWN_FIELDS))]
        yield message
        end = read_varint(message, 1)[0] + 2
        yield message[end:] + message[:end]


def one_by_one(blocks: Iterable[Rows]) -> list[Any]:
    """Each instance by itself."""
    return [
        [
            (spec, np.asarray(column[i]).tobytes())
            for spec, column in zip(block.specs, block.columns, strict=True)
        ]
        for block in blocks
        for i in range(block.count)
    ]


def in_parts(message: bytes) -> list[Rows]:
    layouts = LayoutMemory()
    parts = [part for part in PredictMessage(message).parts() if part is not None]
    return [rows for part in parts for rows in part.read_instances(METHOD, layouts)]


@pytest.mark.parametrize("size", [1, 2, 1024])
def test_the_parts_of_a_call_are_the_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_codec, "_FIELDS_AT_ONCE", size)
    counts = set()
    for message in messages_of_many_fields():
        whole = PredictMessage(message)
        expected = one_by_one(whole.read_instances(METHOD, LayoutMemory()))
        parts = [part for part in whole.parts() if part is not None]
        assert one_by_one(in_parts(message)) == expected
        assert {(part.name, part.method, part.version) for part in parts} == {("add", "m", 2)}
        counts.add(len(expected))
    assert len(counts) > 5


def test_parts_of_a_broken_message_are_refused_like_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_codec, "_FIELDS_AT_ONCE", 2)
    source = random.Random(4)
    outcomes = set()
    for good in messages_of_many_fields():
        for _ in range(200):
            message = bytearray(good)
            message[source.randrange(len(message))] = source.randrange(256)
            if source.random() < 0.2:
                del message[source.randrange(len(message)) :]
            try:
                expected: object = one_by_one(
                    PredictMessage(bytes(message)).read_instances(METHOD, LayoutMemory())
                )
            except (InvalidInput, *UNDECODABLE):
                expected = None
            try:
                found: object = one_by_one(in_parts(bytes(message))) or None
            except (InvalidInput, *UNDECODABLE):
                found = None
            assert found == expected
            outcomes.add(found is None)
    assert outcomes == {True, False}


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**35, 2**63])
def test_varints(number: int) -> None:
    assert read_varint(varint(number), 0) == (number, len(varint(number)))


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (40, 40)])
@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.float16, np.float64])
def test_replies_by_column_equal_replies_by_object(
    count: int, shape: tuple[int, ...], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.arange(count * int(np.prod(shape))).reshape(count, *shape).astype(dtype)
    rows = rows_of(label=values, second=values[::-1])
    by_column = encode_reply(b"", [rows])
    assert reply_layout(rows.specs) is not None
    monkeypatch.setattr(predict_codec, "reply_layout", lambda _: None)
    by_object = encode_reply(b"", [rows])
    messages = [ms_service_pb2.PredictReply.FromString(data) for data in (by_column, by_object)]
    assert messages[0] == messages[1]
    assert len(messages[0].instances) == count


FAILED = FailedRows(Failure(StatusCode.INVALID_INPUTS, "bad"), 1)


@pytest.mark.parametrize(
    ("groups", "instances", "errors"),
    [
        ([numbered(2)], 2, []),
        ([FAILED], 0, [(2, b"bad")]),
        ([FAILED, FAILED], 0, [(2, b"bad")]),
        ([numbered(1), FAILED, numbered(1)], 3, [(0, b""), (2, b"bad"), (0, b"")]),
        (
            [FAILED, FailedRows(Failure(StatusCode.FAILED, "worse"), 2)],
            3,
            [(2, b"bad"), (1, b"worse"), (1, b"worse")],
        ),
        ([FailedRows(Failure(StatusCode.FAILED, ""), 1)], 0, [(1, b"Predict failed")]),
    ],
)
@pytest.mark.parametrize("at_once", [1, 2, 1024])
def test_reply_forms(
    groups: list, instances: int, errors: list, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_codec, "_INSTANCES_AT_ONCE", at_once)
    reply = ms_service_pb2.PredictReply.FromString(encode_reply(b"", groups))
    assert len(reply.instances) == instances
    assert [(error.error_code, error.error_msg) for error in reply.error_msg] == errors


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_reply_in_parts_is_the_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    worse = FailedRows(Failure(StatusCode.FAILED, "worse"), 4)
    groups = [texts(list("abcd"), "y"), FAILED, texts(list("efg"), "y"), worse, worse, texts(["h"], "y")]
    whole = ms_service_pb2.PredictReply.FromString(encode_reply(b"", groups))
    monkeypatch.setattr(predict_codec, "_INSTANCES_AT_ONCE", at_once)
    parts = list(predict_codec.parts_of_reply(b"", groups))
    assert len(parts) > 17 // (2 * at_once)
    assert ms_service_pb2.PredictReply.FromString(b"".join(parts)) == whole
    told = [error.error_msg.decode() for error in whole.error_msg]
    assert told == [*[""] * 4, "bad", *[""] * 3, *["worse"] * 8, ""]


def test_text_outputs() -> None:
    reply = ms_service_pb2.PredictReply.FromString(encode_reply(b"", [texts(["a", "é"], "y")]))
    tensors = [instance.items["y"] for instance in reply.instances]
    assert [tensor.bytes_val[0].decode() for tensor in tensors] == ["a", "é"]
    assert {tensor.dtype for tensor in tensors} == {13}
