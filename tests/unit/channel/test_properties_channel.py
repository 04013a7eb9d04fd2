"""Frames of any form."""

from __future__ import annotations

import json
import struct
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import ChannelError, Failure, StatusCode
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel import columns
from mindspore_serving.server.channel.agent_messages import AgentReady
from mindspore_serving.server.channel.frames import Message, frame_of, message_of
from mindspore_serving.server.channel.messages import Batch, Result, StartFailed
from mindspore_serving.tensor import MAX_DIMENSIONS
from tests.fuzz import channel_stream
from tests.fuzz.oracle import LONGEST_TEXT
from tests.support.channel import ANY, decoded
from tests.unit.channel.generated import TEXT, messages_of

many = settings(max_examples=200)
BATCH, AGENT_READY = 5, 19
ANY_MESSAGE = some.one_of([messages_of(kind) for kind in get_args(Message)])


def batch_body(layout: object, count: int = 1, data: bytes = bytes(64)) -> memoryview:
    encoded = layout if isinstance(layout, bytes) else json.dumps(layout).encode()
    head = struct.pack("<IIII", 1, 0, 1, 0) + struct.pack("<IIB7xQ", count, len(encoded), 0, 0)
    return memoryview(head + encoded + bytes(-len(encoded) % 8) + data)


def refusal(kind: int, body: memoryview) -> str:
    with pytest.raises(ChannelError) as refused:
        message_of(kind, body, ANY)
    text = str(refused.value)
    assert 0 < len(text) <= LONGEST_TEXT
    return text


@many
@given(ANY_MESSAGE, some.data())
def test_a_frame_that_was_damaged(message: Message, data: some.DataObject) -> None:
    frame = bytearray(frame_of(message))
    for _ in range(data.draw(some.integers(1, 3))):
        frame[data.draw(some.integers(8, len(frame) - 1))] = data.draw(some.integers(0, 255))
    channel_stream.one_input(bytes(frame))


@many
@given(
    some.integers(1, len(get_args(Message))),
    some.recursive(
        some.none() | some.integers() | TEXT, lambda inner: some.lists(inner) | some.dictionaries(TEXT, inner)
    ),
)
def test_control_messages_of_any_form(kind: int, fields: Any) -> None:
    body = json.dumps(fields).encode()
    channel_stream.one_input(struct.pack("<IB3x", len(body), kind) + body)


@pytest.mark.parametrize(
    "layout",
    [
        [["x", 11, [-1]]],
        [["x", 11, ["a"]]],
        [["x", 11, [1.5]]],
        [["x", 11, [True]]],
        [["x", 11, "ab"]],
        [["x", 11, None]],
        [["x", 99, [1]]],
        [[5, 11, [1]]],
        [["x", 11]],
        [["x", 11, [2**62, 2**62]]],
        [["x", 11, [2**63, 0]]],
        [["x", 11, [1] * 40]],
        [["x", 11, [2**63 - 1] * 40_000]],
        [["x", 13, [2**63 - 1] * 40_000]],
        {"x": 1},
        7,
        b"[" * 100_000,
    ],
    ids=lambda layout: str(layout)[:30],
)
@pytest.mark.parametrize("count", [1, 2**32 - 1])
def test_an_absurd_layout_is_refused(layout: object, count: int) -> None:
    assert "cannot be read" in refusal(BATCH, batch_body(layout, count))


def test_an_empty_group_is_refused() -> None:
    assert "empty" in refusal(BATCH, batch_body([["x", 11, [1]]], count=0))


def test_as_many_dimensions_as_numpy_has_are_read() -> None:
    batch = message_of(BATCH, batch_body([["x", 2, [1] * MAX_DIMENSIONS]]), ANY)
    assert isinstance(batch, Batch)
    assert batch.count == 1


def test_a_large_layout_is_not_kept() -> None:
    before = columns._plans_of.cache_info().currsize
    message_of(BATCH, batch_body([["x" * 10_000, 2, []]]), ANY)
    assert columns._plans_of.cache_info().currsize == before


@pytest.mark.parametrize("kind", range(1, 1 + len(get_args(Message))))
@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"null", b'"a"', b"", b"[" * 2000, b'{"methods":1}', b'{"models":[[]]}']
)
def test_a_body_that_is_no_object_is_refused(kind: int, body: bytes) -> None:
    refusal(kind, memoryview(body))


@pytest.mark.parametrize(
    "graph",
    [
        {"inputs": [["x", 11, ["a"]]], "outputs": [], "batch_size": 1, "dynamic": True},
        {"inputs": [["x", 11, [-2]]], "outputs": [], "batch_size": 1, "dynamic": True},
        {"inputs": [], "outputs": [[None, 11, []]], "batch_size": 1, "dynamic": True},
        {"inputs": [], "outputs": [], "batch_size": "1", "dynamic": True},
        {"inputs": [], "outputs": [], "batch_size": 1, "dynamic": 1},
    ],
)
def test_a_model_with_a_field_of_another_type_is_refused(graph: Any) -> None:
    body = json.dumps({"models": [{"key": "m", "graphs": [graph]}]}).encode()
    refusal(AGENT_READY, memoryview(body))


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    assert decoded(frame_of(StartFailed(1, "no file '\udcff'"))) == StartFailed(1, "no file '?'")
    failed = FailedRows(Failure(StatusCode.FAILED, "\ud800"), 1)
    result = decoded(frame_of(Result(1, 0, 0, (failed,), True)))
    assert isinstance(result, Result)
    assert result.groups == (FailedRows(Failure(StatusCode.FAILED, "?"), 1),)
    assert decoded(frame_of(AgentReady(()))) == AgentReady(())
