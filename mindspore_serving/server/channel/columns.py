"""Instances in the bytes of a message: columns of tensors, in the frame or in shared memory.

    group   count u32 | layout_len u32 | kind u8 | 7 zero bytes | shared_offset u64 | layout, padded to 8
            then each column: text: k lengths u32, padded to 8; then the data, padded to 8, unless it is shared
    layout  JSON: [[name, dtype, [dims]], ...] for rows, [code, text, http_status] for failed rows, with trace and
            cause behind if there is one of them

Layouts repeat from batch to batch, so both sides keep the last ones they met, and a group of a known layout costs one
struct call and one join. Data above `INLINE_LIMIT` bytes goes to the slot's region of shared memory instead, from
`shared_offset` on, each column at a multiple of 64 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from mindspore_serving.errors import Failure, Outcome, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.hints import Unfit, json_of, reader_of, shown
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.tensor import NUMPY_OF, Array, ColumnData, Specs, runs_of_equal

INLINE_LIMIT = 64 << 10
"""Bytes of a group's data up to which it travels in the frame."""

_GROUP = struct.Struct("<IIB7xQ")
_GROUP_BYTES = _GROUP.size
_ROWS, _SHARED_ROWS, _FAILED = 0, 1, 2
_PADDING = bytes(64)
_LARGEST_KNOWN = 4096
"""Bytes of a layout up to which it is kept."""
_MOST_KNOWN = 1024
_read_specs, _read_code, _read_text, _read_int, _read_cause = map(
    reader_of, (Specs, StatusCode, str, int, Outcome | None)
)


def padding(length: int) -> bytes:
    """What follows `length` bytes so that the next begins at a multiple of 8."""
    return _PADDING[: -length % 8]


def append_groups(
    parts: list[bytes],
    groups: Sequence[Sequence[Group]],
    memory: SharedMemory | None,
    region: int,
    number: int,
) -> None:
    """Append groups to a message.

    Args:
        parts: The message so far.
        groups: From `joinable`.
        memory: Where large data goes; None keeps everything in the frame.
        region: Its region.
        number: Of the batch, whose messages follow each other in the region.
    """
    offset = -1  # until something goes into the region
    for group in groups:
        first = group[0]
        if isinstance(first, FailedRows):
            _append_failed(parts, first)
            continue
        blocks: Sequence[Rows] = group  # type: ignore[assignment]  # they are alike
        layout = _layout_of(first.specs)
        count = first.count if len(blocks) == 1 else sum([block.count for block in blocks])
        size = sum([block.byte_size for block in blocks]) if layout.has_text else count * layout.row_bytes
        if memory is None or size <= INLINE_LIMIT:
            parts += (_GROUP.pack(count, layout.length, _ROWS, 0), layout.padded)
            _append_inline(parts, blocks)
            continue
        if offset < 0:
            offset = memory.written(region, number)
        parts += (_GROUP.pack(count, layout.length, _SHARED_ROWS, offset), layout.padded)
        offset = _append_shared(parts, blocks, memory, region, offset)
    if memory is not None and offset >= 0:
        memory.set_written(region, number, offset)


def joinable(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Neighbours that can travel as one group."""
    if len(groups) == 1:
        return [groups]
    keys = [object() if isinstance(group, FailedRows) else group.specs for group in groups]
    return [groups[start:stop] for start, stop in runs_of_equal(keys)]


def _append_failed(parts: list[bytes], group: FailedRows) -> None:
    failure = group.failure
    fields: list[Any] = [failure.code, failure.text, failure.http_status]
    if failure.trace or failure.cause is not None:
        fields += [failure.trace, failure.cause]
    layout = json_of(fields)
    parts += [_GROUP.pack(group.count, len(layout), _FAILED, 0), layout, padding(len(layout))]


def _append_inline(parts: list[bytes], blocks: Sequence[Rows]) -> None:
    """Append the columns of blocks with equal specs to the frame."""
    for columns in zip(*[block.columns for block in blocks], strict=True):
        if isinstance(columns[0], list):
            _append_lengths(parts, columns)
        length = 0
        for column in columns:
            data = b"".join(column) if isinstance(column, list) else column.tobytes()
            parts.append(data)
            length += len(data)
        if length % 8:
            parts.append(padding(length))


def _append_shared(
    parts: list[bytes], blocks: Sequence[Rows], memory: SharedMemory, region: int, offset: int
) -> int:
    """Write the columns of blocks with equal specs into the region; returns the next free offset in it."""
    for columns in zip(*[block.columns for block in blocks], strict=True):
        if isinstance(columns[0], list):
            _append_lengths(parts, columns)
        offset = _write_shared(memory, region, offset, columns)
    return offset


def _append_lengths(parts: list[bytes], columns: Sequence[ColumnData]) -> None:
    """Append how long each text of one column is."""
    lengths = np.array([len(value) for column in columns for value in column], "<u4").tobytes()
    parts += [lengths, padding(len(lengths))]


def _write_shared(memory: SharedMemory, region: int, offset: int, columns: Sequence[ColumnData]) -> int:
    """Write one column's blocks back to back; returns the offset after them, a multiple of 64."""
    size = sum(sum(map(len, column)) if isinstance(column, list) else column.nbytes for column in columns)
    target = memory.view(region, offset, size)
    at = 0
    for column in columns:
        if isinstance(column, list):
            data = b"".join(column)
            target[at : at + len(data)] = np.frombuffer(data, np.uint8)
            at += len(data)
        else:
            rows = target[at : at + column.nbytes].view(column.dtype).reshape(column.shape)
            np.copyto(rows, column)
            at += column.nbytes
    return offset + size + (-size % 64)


class _Layout(NamedTuple):
    """How rows are described in a frame: the layout's bytes without and with their padding, and sizes of one row."""

    length: int
    padded: bytes
    row_bytes: int
    has_text: bool


def _layout_of(specs: Specs) -> _Layout:
    layout = _layouts.get(specs)
    if layout is None:
        layout = _new_layout(specs)
        if layout.length <= _LARGEST_KNOWN:
            if len(_layouts) >= _MOST_KNOWN:
                _layouts.clear()
            _layouts[specs] = layout
    return layout


def _new_layout(specs: Specs) -> _Layout:
    encoded = orjson.dumps([list(spec) for spec in specs])
    row_bytes = sum(spec.byte_size for spec in specs)
    has_text = any(spec.dtype.is_text for spec in specs)
    return _Layout(len(encoded), encoded + padding(len(encoded)), row_bytes, has_text)


_layouts: dict[Specs, _Layout] = {}


class _ColumnPlan(NamedTuple):
    """How one column is read: NumPy type (None for text), and shape and bytes of one instance's value."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    row_bytes: int


@lru_cache(maxsize=_MOST_KNOWN)
def _plans_of(layout: bytes) -> tuple[Specs, tuple[_ColumnPlan, ...]]:
    specs: Specs = _read_specs(orjson.loads(layout))
    if any(dim < 0 for spec in specs for dim in spec.shape):
        raise ValueError("an instance has a dimension below 0")
    plans = tuple(_ColumnPlan(NUMPY_OF.get(spec.dtype), spec.shape, spec.byte_size) for spec in specs)
    return specs, plans


def read_group(
    body: memoryview, at: int, memory: SharedMemory | None, region: int, own: bool, rows_only: bool
) -> tuple[Group, int]:
    """Read one group.

    Args:
        body: Of the message.
        at: Where the group begins.
        memory: Where large data is; None where there is none.
        region: Its region.
        own: Whether to copy data out of shared memory.
        rows_only: Whether to refuse failed instances.

    Returns:
        The group, whose arrays view the body or the shared memory, and where the next one begins.

    Raises:
        ValueError, TypeError, OverflowError, IndexError, struct.error, OSError: The body does not hold one.
    """
    count, layout_length, kind, offset = _GROUP.unpack_from(body, at)
    at += _GROUP_BYTES
    layout = body[at : at + layout_length].tobytes()
    if len(layout) != layout_length:
        raise ValueError(f"a layout of {layout_length} bytes expected, {len(layout)} left")
    at += layout_length + (-layout_length % 8)
    if not count:
        raise ValueError("a group should hold instances, but is empty")
    if kind == _FAILED:
        if rows_only:
            raise ValueError("failed instances cannot be sent here")
        return FailedRows(_failure_of(orjson.loads(layout)), count), at
    plans_of = _plans_of if layout_length <= _LARGEST_KNOWN else _plans_of.__wrapped__
    specs, plans = plans_of(layout)
    if kind == _ROWS:
        columns, at = _read_inline(body, at, plans, count)
    elif kind != _SHARED_ROWS:
        raise ValueError(f"a group is of kind {kind}, which is none")
    elif memory is None:
        raise ValueError("the data is in shared memory, and there is none")
    else:
        places = _Places(memory, region, offset, own)
        columns, at = _read_shared(body, at, plans, count, places)
    return Rows(specs, tuple(columns), count), at


def _read_inline(
    body: memoryview, at: int, plans: Sequence[_ColumnPlan], count: int
) -> tuple[list[ColumnData], int]:
    """The columns of a group whose data is in the body, and the position after them."""
    columns: list[ColumnData] = []
    for dtype, shape, row_bytes in plans:
        if dtype is None:
            lengths, at = _read_lengths(body, at, count)
            size = sum(lengths)
            columns.append(_cut(_part(body, at, size), lengths))
        else:
            # It holds the memory below the body, which nobody makes longer or shorter.
            columns.append(np.ndarray((count, *shape), dtype, body, at))
            size = count * row_bytes
        at += size + (-size % 8)
    return columns, at


class _Places(NamedTuple):
    """Where the data of a group lies in shared memory, and whether to copy it out of there."""

    memory: SharedMemory
    region: int
    offset: int
    own: bool


def _read_shared(
    body: memoryview, at: int, plans: Sequence[_ColumnPlan], count: int, places: _Places
) -> tuple[list[ColumnData], int]:
    """The columns of a group whose data is in shared memory, and the position in the body after what is there."""
    memory, region, offset, own = places
    columns: list[ColumnData] = []
    for dtype, shape, row_bytes in plans:
        if dtype is None:
            lengths, at = _read_lengths(body, at, count)
            size = sum(lengths)
            data = memory.view(region, offset, size)
            columns.append(_cut(memoryview(data), lengths))  # type: ignore[arg-type]  # arrays are buffers
        else:
            size = count * row_bytes
            array: Array = np.frombuffer(memory.view(region, offset, size), dtype).reshape(count, *shape)
            columns.append(array.copy() if own else array)
        offset += size + (-size % 64)
    return columns, at


def _read_lengths(body: memoryview, at: int, count: int) -> tuple[list[int], int]:
    """How long each text of a column is, and the position after that."""
    size = 4 * count
    lengths: list[int] = np.frombuffer(_part(body, at, size), "<u4").tolist()
    return lengths, at + size + (-size % 8)


def _part(body: memoryview, at: int, length: int) -> memoryview:
    view = body[at : at + length]
    if len(view) != length:
        raise ValueError(f"{length} bytes expected, {len(view)} left")
    return view


def _failure_of(fields: Any) -> Failure:
    if type(fields) is not list or len(fields) not in (3, 5):
        raise Unfit("a failure of 3 or 5 fields", shown(fields))
    code, text, http_status, *more = fields
    status = None if http_status is None else _status_of(http_status)
    trace, cause = more or ("", None)
    if cause == Outcome.OK.value:
        raise Unfit("a reason to fail", shown(cause))
    return Failure(_read_code(code), _read_text(text), status, _read_text(trace), _read_cause(cause))


def _status_of(value: Any) -> int:
    status: int = _read_int(value)
    if not 400 <= status <= 599:  # it is written into replies as it is
        raise Unfit("an HTTP status from 400 to 599", shown(status))
    return status


def _cut(data: memoryview, lengths: Sequence[int]) -> list[bytes]:
    values, at = [], 0
    for length in lengths:
        values.append(bytes(data[at : at + length]))
        at += length
    return values
