"""Predict messages of one layout, read and written by column instead of by object.

Clients send the same kind of instance over and over: every serialised instance then has the same length, and differs
from the next one only in the bytes of its tensors. A `RequestLayout` remembers where those bytes lie. A later message
is recognised by comparing everything between them, and its tensors are views into the message: one per input, whatever
the number of instances. What is not recognised is left to the protobuf library, so a layout never changes a result.
A `ReplyLayout` is the same for writing.

Wire format (https://protobuf.dev/programming-guides/encoding): a field is a varint tag (number << 3 | type) and, for
type 2, a varint length and that many bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mindspore_serving import wire
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.rows import Rows
from mindspore_serving.tensor import NUMPY_OF, Array, Specs, TensorSpec

_COLUMN_COPY_LIMIT = 4096
"""Bytes of a serialised instance up to which replies are written as one array of instances."""
_REMEMBERED = 256
_LARGEST_FIXED = 4096
"""Bytes beside the tensors' data up to which a layout is worth remembering."""


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(tag, start, stop) of each field between two positions; stop - start is 0 for varint fields.

    Raises:
        ValueError: The bytes are no message of varint and length-delimited fields.
        IndexError: They end too early.
    """
    while at < end:
        tag, at = wire.read_varint(data, at)
        if tag & 7 == 0:
            value, at = wire.read_varint(data, at)
            yield tag, value, value
        elif tag & 7 == 2:
            length, at = wire.read_varint(data, at)
            if at + length > end:
                raise ValueError("a field is longer than its message")
            yield tag, at, at + length
            at += length
        else:
            raise ValueError(f"field type {tag & 7}")


class DataPlace(NamedTuple):
    """Where one input's data lies in a serialised instance, and what it is as a column of one row."""

    start: int
    stop: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestLayout:
    """Where the tensors lie in each serialised instance of a request.

    Attributes:
        stride: Bytes from one instance to the next, tag and length included.
        fixed: (start, stop, bytes) of all that is not tensor data, relative to the instance.
        specs: Name, dtype and shape of the method's inputs.
        places: Where each input's data lies.
    """

    stride: int
    fixed: tuple[tuple[int, int, bytes], ...]
    specs: Specs
    places: tuple[DataPlace, ...]

    def read(self, message: bytes, at: int) -> Rows | None:
        """The instances of a message from position `at` to its end; None if they are of another layout."""
        count, rest = divmod(len(message) - at, self.stride)
        if rest or not count:
            return None
        for start, stop, expected in self.fixed:
            if message[at + start : at + stop] != expected:
                return None
        if count == 1:
            columns: list[Array] = [
                np.ndarray(shape, dtype, message, at + start) for start, _, dtype, shape in self.places
            ]
            return Rows(self.specs, tuple(columns), 1)
        table = np.frombuffer(message, np.uint8, offset=at).reshape(count, self.stride)
        for start, stop, _ in self.fixed:
            part = table[1:, start:stop]
            if not (part == table[0, start:stop]).all():
                return None
        return Rows(self.specs, tuple(self._columns(table)), count)

    def _columns(self, table: Array) -> Iterator[Array]:
        for start, stop, dtype, shape in self.places:
            yield table[:, start:stop].view(dtype).reshape(len(table), *shape[1:])


class LayoutMemory:
    """The request layouts met last, by method inputs and instance length."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[tuple[tuple[str, ...], int], RequestLayout] = OrderedDict()

    def read(self, message: bytes, at: int, input_names: tuple[str, ...]) -> Rows | None:
        """The instances of a message from position `at` on, if they are of a known layout."""
        stride = _stride_at(message, at)
        layout = self._layouts.get((input_names, stride)) if stride else None
        return layout.read(message, at) if layout else None

    def learn(self, message: bytes, at: int, rows: Rows) -> None:
        """Remember how a message is laid out that the protobuf library has just read.

        Args:
            message: The serialised request.
            at: Position of its first instance.
            rows: Its instances.
        """
        names = tuple(spec.name for spec in rows.specs)
        if any(spec.dtype.is_text or not spec.byte_size for spec in rows.specs):
            return
        layout = _layout_of_instance(message, at, rows.specs)
        if layout is None:
            return
        self._layouts[names, layout.stride] = layout
        self._layouts.move_to_end((names, layout.stride))
        if len(self._layouts) > _REMEMBERED:
            self._layouts.popitem(last=False)


def _stride_at(message: bytes, at: int) -> int:
    """Length of the serialised instance at a position, 0 if there is none."""
    try:
        if message[at] != wire.INSTANCE_OF_REQUEST:
            return 0
        length, start = wire.read_varint(message, at + 1)
    except (IndexError, ValueError):
        return 0
    return start - at + length


def _layout_of_instance(message: bytes, at: int, specs: Specs) -> RequestLayout | None:
    """Find where the data of each input lies; None if the instance is not plainly laid out."""
    stride = _stride_at(message, at)
    try:
        places = dict(_data_places(message, at, stride)) if stride else {}
    except (IndexError, ValueError):
        return None
    if stride - sum(spec.byte_size for spec in specs) > _LARGEST_FIXED:
        return None
    starts, fixed, end = [], [], 0
    for spec in specs:
        start, stop = places.get(spec.name, (0, 0))
        if stop - start != spec.byte_size:
            return None
        starts.append(start - at)
    for start, spec in sorted(zip(starts, specs, strict=True)):
        fixed.append((end, start, message[at + end : at + start]))
        end = start + spec.byte_size
    fixed.append((end, stride, message[at + end : at + stride]))
    data = [
        DataPlace(start, start + spec.byte_size, NUMPY_OF[spec.dtype], (1, *spec.shape))
        for start, spec in zip(starts, specs, strict=True)
    ]
    return RequestLayout(stride, tuple(fixed), specs, tuple(data))


def _data_places(message: bytes, at: int, stride: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """(input name, (start, stop) of its data) for each tensor of the instance at a position."""
    _, body = wire.read_varint(message, at + 1)
    for tag, start, stop in _fields(message, body, at + stride):
        if tag != wire.ENTRY:
            raise ValueError("an instance holds something else than items")
        entry = {field: (low, high) for field, low, high in _fields(message, start, stop)}
        key, value = entry.get(wire.NAME, (0, 0)), entry.get(wire.TENSOR, (0, 0))
        tensor = {field: (low, high) for field, low, high in _fields(message, *value)}
        yield message[key[0] : key[1]].decode(), tensor.get(wire.ARRAY_DATA, (0, 0))


@dataclass(frozen=True, slots=True)
class ReplyLayout:
    """How instances of given outputs are serialised.

    Attributes:
        pieces: The bytes before each output's data, in the order of the outputs.
        starts: Position of each output's data, relative to the instance.
        template: One instance with all data zero; None for large ones, which are not written as one array.
    """

    pieces: tuple[bytes, ...]
    starts: tuple[int, ...]
    template: Array | None

    def write(self, rows: Rows) -> list[Any]:
        """The serialised instances, as byte strings and arrays to join."""
        if self.template is None:
            return list(self._by_row(rows))
        if rows.count == 1:
            parts: list[Any] = []
            for head, column in zip(self.pieces, rows.columns, strict=True):
                parts += (head, column.tobytes())  # type: ignore[union-attr]  # text has no layout
            return parts
        table = np.empty((rows.count, len(self.template)), np.uint8)
        table[:] = self.template
        for column, start, spec in zip(rows.columns, self.starts, rows.specs, strict=True):
            flat = np.ascontiguousarray(column).reshape(rows.count, -1).view(np.uint8)
            table[:, start : start + spec.byte_size] = flat
        return [table.tobytes()]

    def _by_row(self, rows: Rows) -> Iterator[Any]:
        columns = [np.ascontiguousarray(column) for column in rows.columns]  # no copy: they are
        for i in range(rows.count):
            for head, column in zip(self.pieces, columns, strict=True):
                yield head
                yield column[i : i + 1]


@lru_cache(maxsize=1024)
def reply_layout(specs: Specs) -> ReplyLayout | None:
    """The layout of instances with these outputs; None if one is text or has no data."""
    if any(spec.dtype.is_text or not spec.byte_size for spec in specs) or not specs:
        return None
    heads = [_item_head(spec) for spec in specs]
    length = sum(len(head) + spec.byte_size for head, spec in zip(heads, specs, strict=True))
    heads[0] = wire.head_of_field(wire.INSTANCE_OF_REPLY, length) + heads[0]
    starts, end = [], 0
    for head, spec in zip(heads, specs, strict=True):
        starts.append(end + len(head))
        end = starts[-1] + spec.byte_size
    template = None
    if end <= _COLUMN_COPY_LIMIT:
        parts = (head + bytes(spec.byte_size) for head, spec in zip(heads, specs, strict=True))
        template = np.frombuffer(b"".join(parts), np.uint8)
    return ReplyLayout(tuple(heads), tuple(starts), template)


def _item_head(spec: TensorSpec) -> bytes:
    """One entry of `Instance.items` up to the tensor's data, which comes last."""
    bare = ms_service_pb2.Tensor(dtype=int(spec.dtype))  # type: ignore[arg-type]  # an int at run time
    bare.shape.dims.extend(spec.shape)
    return wire.head_of_entry(spec.name.encode(), bare.SerializeToString(), wire.ARRAY_DATA, spec.byte_size)
