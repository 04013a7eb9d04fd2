"""The bytes of a channel: they are frames or a ChannelError, and a message that was read can be sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from itertools import chain

import numpy as np

from mindspore_serving.errors import ChannelError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.frames import FrameSplitter, Message, frame_of, message_of
from mindspore_serving.tensor import NUMPY_OF, DataType
from tests.fuzz.oracle import demand, demand_text
from tests.support.channel import ANY, decoded

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
        again = decoded(frame_of(message))
        demand(type(again) is type(message), "a message keeps its kind", message, again)
        demand(
            content_of(again) == content_of(message), "a message that was read can be sent", message, again
        )


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
        message = message_of(kind, memoryview(body), ANY)
    except ChannelError as error:
        demand_text(error)
        return None
    for group in _groups_of(message):
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


def _groups_of(message: Message) -> tuple[Group, ...]:
    """The instances that a message carries."""
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, (Rows, FailedRows)):
            return (value,)
        if isinstance(value, tuple) and any(isinstance(part, (Rows, FailedRows)) for part in value):
            return value
    return ()


def content_of(message: Message) -> object:
    """What a message says, whatever groups its instances came in."""
    groups = _groups_of(message)
    if not groups:
        return message
    values = [getattr(message, field.name) for field in fields(message)]
    facts = [value for value in values if value is not groups and value is not groups[0]]
    parts: list[tuple[object, int, list[bytes]]] = []
    for group in groups:
        key, values = _group_content(group)
        if parts and isinstance(key, tuple) and parts[-1][0] == key:  # neighbours travel as one
            before = parts.pop()
            parts.append(
                (key, before[1] + group.count, [a + b for a, b in zip(before[2], values, strict=True)])
            )
        else:
            parts.append((key, group.count, values))
    return type(message), facts, parts


def _group_content(group: Group) -> tuple[object, list[bytes]]:
    if isinstance(group, FailedRows):
        return group.failure, []
    return group.specs, [_joined(column) for column in group.columns]


def _joined(column: object) -> bytes:
    return column.tobytes() if isinstance(column, np.ndarray) else repr(column)[1:-1].encode() + b", "
