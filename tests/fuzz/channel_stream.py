"""The bytes of a channel: they are frames or a ChannelError, and a message that was read can be sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from mindspore_serving.errors import ChannelError
from mindspore_serving.rows import FailedRows, Group
from mindspore_serving.server.channel.frames import FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.messages import Batch, Message, Result
from mindspore_serving.tensor import NUMPY_OF, DataType
from tests.fuzz.oracle import demand, demand_text

LARGEST = 1 << 20


def one_input(data: bytes) -> None:
    """Read a stream whole and byte by byte, and send the messages again."""
    frames, fault = _frames([data])
    bytewise = _frames(data[at : at + 1] for at in range(len(data)))
    demand(bytewise == (frames, fault), "pieces do not matter", frames, fault, bytewise)
    for kind, body in frames:
        message = _decoded(kind, body)
        if message is None:
            continue
        [(kind_again, body_again)] = FrameSplitter().feed(frame_of(message))
        again = message_of(kind_again, body_again)
        demand(kind_again == kind, "a message keeps its kind", message, again)
        demand(_content(again) == _content(message), "a message that was read can be sent", message, again)


def _frames(pieces: Iterable[bytes]) -> tuple[list[tuple[int, bytes]], str]:
    splitter, frames = FrameSplitter(LARGEST), []
    try:
        for kind, body in chain.from_iterable(map(splitter.feed, pieces)):
            frames.append((kind, bytes(body)))
    except ChannelError as error:
        return frames, demand_text(error)
    return frames, ""


def _decoded(kind: int, body: bytes) -> Message | None:
    try:
        message = message_of(kind, memoryview(body))
    except ChannelError as error:
        demand_text(error)
        return None
    for group in message.groups if isinstance(message, (Batch, Result)) else ():
        _check(group)
    return message


def _check(group: Group) -> None:
    demand(group.count > 0, "a group holds instances", group.count)
    if isinstance(group, FailedRows):
        demand(type(group.failure.text) is str, "a failure has a text", group)
        demand(isinstance(group.failure.http_status, int | None), "a status is one", group)
        return
    demand(len(group.specs) == len(group.columns), "each column has its spec", group.specs)
    for spec, column in zip(group.specs, group.columns, strict=True):
        demand(type(spec.name) is str and type(spec.dtype) is DataType, "a spec is one", spec)
        demand(all(type(dim) is int and dim >= 0 for dim in spec.shape), "a shape is one", spec)
        if isinstance(column, list):
            demand(spec.dtype.is_text and len(column) == group.count, "a column of text is one", spec)
        else:
            demand(column.shape == (group.count, *spec.shape), "an array has its shape", spec, column.shape)
            demand(column.dtype == NUMPY_OF[spec.dtype], "an array has its type", spec, column.dtype)


def _content(message: Message) -> object:
    if not isinstance(message, (Batch, Result)):
        return message
    facts = [
        getattr(message, name)
        for name in ("batch_id", "slot", "method", "start", "final")
        if hasattr(message, name)
    ]
    parts: list[tuple[object, int, list[bytes]]] = []
    for group in message.groups:
        key, values = _group_content(group)
        if parts and isinstance(key, tuple) and parts[-1][0] == key:  # neighbours travel as one
            before = parts.pop()
            parts.append(
                (key, before[1] + group.count, [a + b for a, b in zip(before[2], values, strict=True)])
            )
        else:
            parts.append((key, group.count, values))
    return facts, parts


def _group_content(group: Group) -> tuple[object, list[bytes]]:
    if isinstance(group, FailedRows):
        return group.failure, []
    return group.specs, [_joined(column) for column in group.columns]


def _joined(column: object) -> bytes:
    return column.tobytes() if isinstance(column, np.ndarray) else repr(column)[1:-1].encode() + b", "
