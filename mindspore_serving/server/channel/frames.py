r"""Bytes of the channel: how messages become frames, and frames messages.

A frame is `length u32 | kind u8 | 3 zero bytes | body`; `length` counts the body. All numbers are little-endian, and
every tensor starts at a multiple of 8 bytes from the body's start. The body of a control message is a JSON object of
its fields. Batches and results are the hot path:

    body    batch_id u32 | slot u16 | groups u16 | start u32 | flags u16 | method_len u16 | method, padded to 8
            then each group
    group   count u32 | layout_len u32 | kind u8 | 7 zero bytes | shared_offset u64 | layout, padded to 8
            then each column: text: k lengths u32, padded to 8; then the data, padded to 8, unless it is shared
    layout  JSON: [[name, dtype, [dims]], ...] for rows, [code, text, http_status] for failed rows, with trace behind
            if there is one

Layouts repeat from batch to batch, so both sides keep the last ones they met, and a frame of a known layout costs two
struct calls and one join. Data above `INLINE_LIMIT` bytes goes to the slot's region of shared memory instead, from
`shared_offset` on, each column at a multiple of 64 bytes.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import orjson

from mindspore_serving.errors import ChannelError, Failure, StatusCode, excerpt
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import (
    AgentFailed,
    AgentHello,
    AgentReady,
    AgentsAccepted,
    AgentSettings,
    AgentsGathered,
    Alive,
    Batch,
    Challenge,
    Exiting,
    HeldModels,
    Join,
    Message,
    ModelCall,
    ModelReply,
    MoveLog,
    Refused,
    Register,
    Reload,
    Result,
    StartFailed,
    Stop,
    WantModels,
    Welcome,
)
from mindspore_serving.signature import GraphInfo, MethodSignature, ModelInfo
from mindspore_serving.tensor import (
    MAX_DIMENSIONS,
    NUMPY_OF,
    Array,
    ColumnData,
    DataType,
    Specs,
    TensorSpec,
    runs_of_equal,
)

INLINE_LIMIT = 64 << 10
"""Bytes of a group's data up to which it travels in the frame."""
LARGEST_FRAME = 1 << 30
"""Bytes of a body that a reader accepts."""

_FRAME = struct.Struct("<IB3x")
_BODY = struct.Struct("<IHHIHH")
_GROUP = struct.Struct("<IIB7xQ")
_FINAL = 1
_ROWS, _SHARED_ROWS, _FAILED = 0, 1, 2
_KINDS: dict[type, int] = {
    Register: 1,
    StartFailed: 2,
    Exiting: 3,
    Stop: 4,
    Batch: 5,
    Result: 6,
    ModelCall: 7,
    ModelReply: 8,
    WantModels: 9,
    HeldModels: 10,
    Alive: 11,
    Challenge: 12,
    Join: 13,
    Welcome: 14,
    Refused: 15,
    AgentHello: 16,
    AgentSettings: 17,
    AgentsGathered: 18,
    AgentReady: 19,
    AgentsAccepted: 20,
    AgentFailed: 21,
    Reload: 22,
    MoveLog: 23,
}
_TUPLES = {"ips", "device_ids", "device_ips", "without_batch_dim_inputs"}
_PLAIN_TYPES = {"str": str, "int": int, "bool": bool}
_ITEM_TYPES = {"tuple[str, ...]": str, "tuple[int, ...]": int}
_PARTS = {"methods", "models", "graphs"}
_TYPES = {number: kind for kind, number in _KINDS.items()}
_PADDING = bytes(64)
_LARGEST_KNOWN = 4096
"""Bytes of a layout up to which it is kept."""
_MOST_KNOWN = 1024

Buffer = bytes | bytearray | memoryview


def frame_of(message: Message, memory: SharedMemory | None = None) -> bytes:
    """One message as bytes to write.

    Args:
        message: What to send.
        memory: Shared memory of the worker, where large data goes; None sends everything in the frame.

    Returns:
        The whole frame, or for very large inline data still one byte string.
    """
    if isinstance(message, Batch):
        region = SharedMemory.request_region(message.slot)
        parts = _hot_body(message, 0, 0, message.method, memory, region)
    elif isinstance(message, Result):
        region = SharedMemory.reply_region(message.slot)
        parts = _hot_body(message, message.start, _FINAL if message.final else 0, "", memory, region)
    else:
        parts = [b"", _json_of(dataclasses.asdict(message))]
    parts[0] = _FRAME.pack(sum(map(len, parts)), _KINDS[type(message)])
    return b"".join(parts)


def _json_of(value: object) -> bytes:
    """A value as JSON; what is no Unicode, as file names may be, is replaced."""
    try:
        return orjson.dumps(value, default=list)
    except orjson.JSONEncodeError:
        return json.dumps(value, default=list, ensure_ascii=False).encode(errors="replace")


def _pad(length: int, to: int = 8) -> bytes:
    return _PADDING[: -length % to]


def _hot_body(
    message: Batch | Result,
    start: int,
    flags: int,
    method: str,
    memory: SharedMemory | None,
    region: int,
) -> list[bytes]:
    """The parts of a frame; the first is left empty, for the frame's head."""
    groups = _joinable(message.groups)
    method_length, padded_method = _method_bytes(method)
    head = _BODY.pack(message.batch_id, message.slot, len(groups), start, flags, method_length)
    parts = [b"", head, padded_method]
    written = memory.written(region, message.batch_id) if memory is not None else 0
    offset = written
    for group in groups:
        if isinstance(group[0], FailedRows):
            _append_failed(parts, group[0])
        else:
            offset = _append_rows(parts, group, memory, region, offset)  # type: ignore[arg-type]
    if memory is not None and offset != written:
        memory.set_written(region, message.batch_id, offset)
    return parts


@lru_cache(maxsize=1024)
def _method_bytes(name: str) -> tuple[int, bytes]:
    encoded = name.encode()
    return len(encoded), encoded + _pad(len(encoded))


def _joinable(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """Neighbours that can travel as one group."""
    if len(groups) == 1:
        return [groups]
    keys = [object() if isinstance(group, FailedRows) else group.specs for group in groups]
    return [groups[start:stop] for start, stop in runs_of_equal(keys)]


def _append_failed(parts: list[bytes], group: FailedRows) -> None:
    failure = group.failure
    fields: list[Any] = [failure.code, failure.text, failure.http_status]
    layout = _json_of([*fields, failure.trace] if failure.trace else fields)
    parts += [_GROUP.pack(group.count, len(layout), _FAILED, 0), layout, _pad(len(layout))]


def _append_rows(
    parts: list[bytes], blocks: Sequence[Rows], memory: SharedMemory | None, region: int, offset: int
) -> int:
    """Append one group made of blocks with equal specs; returns the next free offset in the region."""
    layout = _layout_of(blocks[0].specs)
    count = blocks[0].count if len(blocks) == 1 else sum([block.count for block in blocks])
    size = sum([block.byte_size for block in blocks]) if layout.has_text else count * layout.row_bytes
    shared = memory is not None and size > INLINE_LIMIT
    parts.append(_GROUP.pack(count, layout.length, _SHARED_ROWS if shared else _ROWS, offset))
    parts.append(layout.padded)
    for i in range(len(blocks[0].columns)):
        columns = [block.columns[i] for block in blocks]
        if isinstance(columns[0], list):
            lengths = np.array([len(value) for column in columns for value in column], "<u4").tobytes()
            parts += [lengths, _pad(len(lengths))]
        if memory is not None and shared:
            offset = _write_shared(memory, region, offset, columns)
        else:
            _append_inline(parts, columns)
    return offset


def _append_inline(parts: list[bytes], columns: Sequence[ColumnData]) -> None:
    length = 0
    for column in columns:
        data = b"".join(column) if isinstance(column, list) else column.tobytes()
        parts.append(data)
        length += len(data)
    if length % 8:
        parts.append(_pad(length))


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
    return _Layout(len(encoded), encoded + _pad(len(encoded)), row_bytes, has_text)


_layouts: dict[Specs, _Layout] = {}


class _ColumnPlan(NamedTuple):
    """How one column is read: NumPy type (None for text), and shape, elements and bytes of one instance's value."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    elements: int
    row_bytes: int


@lru_cache(maxsize=_MOST_KNOWN)
def _plans_of(layout: bytes) -> tuple[Specs, tuple[_ColumnPlan, ...]]:
    specs = tuple(_spec_of(fields, 0) for fields in orjson.loads(layout))
    plans = tuple(
        _ColumnPlan(NUMPY_OF.get(spec.dtype), spec.shape, prod(spec.shape), spec.byte_size) for spec in specs
    )
    return specs, plans


class FrameSplitter:
    """Cuts a byte stream into frames; keeps what is not complete yet.

    Attributes:
        largest: Most bytes of a body.
    """

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        self.largest = largest
        self._pending = bytearray()
        self._wanted = _FRAME.size

    def feed(self, data: Buffer) -> Iterator[tuple[int, memoryview]]:
        """Take the next bytes of the stream.

        Yields:
            Kind and body of each frame that is complete now. A body stays valid as long as it is referenced.

        Raises:
            ChannelError: The bytes cannot be a frame: the kind is unknown, or the length above `largest`.
        """
        if self._pending:
            self._pending += data
            if len(self._pending) < self._wanted:
                return
            data, self._pending = self._pending, bytearray()
        view = memoryview(data)
        at, size = 0, len(view)
        while size - at >= _FRAME.size:
            length, kind = _FRAME.unpack_from(view, at)
            if length > self.largest or not 1 <= kind <= len(_KINDS):
                raise ChannelError(f"Channel got a frame of kind {kind} and {length} bytes, which is none")
            end = at + _FRAME.size + length
            if end > size:
                break
            yield kind, view[at + _FRAME.size : end]
            at = end
        else:
            length = 0
        if at < size:
            self._pending = bytearray(view[at:])
            self._wanted = _FRAME.size + length if len(self._pending) >= _FRAME.size else _FRAME.size


def message_of(
    kind: int, body: memoryview, memory: SharedMemory | None = None, *, own: bool = False
) -> Message:
    """Decode one frame.

    Args:
        kind: As `FrameSplitter.feed` gave it.
        body: Likewise.
        memory: Shared memory of the worker; None where there is none.
        own: Copy data out of shared memory, for a receiver that outlives the slot. Data that travelled inline is
            writable only if the body is.

    Returns:
        The message; array columns view the body or the shared memory.

    Raises:
        ChannelError: The body is not what its kind promises.
    """
    try:
        message_type = _TYPES[kind]
        if issubclass(message_type, Result):
            return _read_result(message_type, body, memory, own)
        if issubclass(message_type, Batch):
            return _read_batch(message_type, body, memory, own)
        return _read_control(message_type, orjson.loads(body))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error, OSError) as cause:
        reason = excerpt(str(cause), 500)
        raise ChannelError(f"Channel got a frame of kind {kind} that cannot be read: {reason}") from cause


def _read_control(message_type: type, fields: Any) -> Message:
    if not isinstance(fields, dict):
        raise TypeError(f"the body should be an object, but is a {type(fields).__name__}")
    if "methods" in fields:
        fields["methods"] = tuple(_method_of(**method) for method in fields["methods"])
    if "models" in fields:
        fields["models"] = tuple(
            ModelInfo(model["key"], tuple(_graph_of(**graph) for graph in model["graphs"]))
            for model in fields["models"]
        )
    for name in _TUPLES & fields.keys():
        fields[name] = tuple(fields[name])
    message: Message = message_type(**fields)
    _check_types(message)
    return message


def _check_types(message: object) -> None:
    """Check the plain fields of a message, and of the methods and models in it.

    Raises:
        TypeError: One is of another type than declared.
    """
    for field in dataclasses.fields(message):  # type: ignore[arg-type]  # all messages are dataclasses
        value = getattr(message, field.name)
        expected = _PLAIN_TYPES.get(str(field.type))
        if expected is not None and type(value) is not expected:
            raise TypeError(f"{field.name} should be {field.type}, but is {value!r}")
        if field.name in _PARTS:
            for part in value:
                _check_types(part)
        items = _ITEM_TYPES.get(str(field.type))
        if items is not None and any(type(item) is not items for item in value):
            raise TypeError(f"{field.name} should be {field.type}, but are {value!r}")


def _method_of(
    input_names: list[Any], input_types: Any = None, output_names: Any = (), **fields: Any
) -> MethodSignature:
    types = {} if input_types is None else input_types
    if not isinstance(types, dict):
        raise TypeError(f"input_types should be an object, but is {types!r}")
    known = {name: DataType(kind) for name, kind in types.items()}
    return MethodSignature(
        input_names=tuple(input_names), input_types=known, output_names=tuple(output_names), **fields
    )


def _graph_of(inputs: list[Any], outputs: list[Any], batch_size: int, dynamic: bool) -> GraphInfo:
    return GraphInfo(tuple(map(_spec_of, inputs)), tuple(map(_spec_of, outputs)), batch_size, dynamic)


def _spec_of(fields: list[Any], smallest: int = -1) -> TensorSpec:
    """A spec, none of whose dimensions is below `smallest`: in a model, -1 is one that varies."""
    name, dtype, shape = fields
    if type(name) is not str or type(shape) is not list or len(shape) > MAX_DIMENSIONS:
        raise TypeError(f"a spec should have a name and up to {MAX_DIMENSIONS} dimensions")
    if any(type(dim) is not int or dim < smallest for dim in shape):
        raise TypeError(f"dimensions should be int of at least {smallest}, but are {shape!r}")
    return TensorSpec(name, DataType(dtype), tuple(shape))


def _read_batch(message_type: type[Batch], body: memoryview, memory: SharedMemory | None, own: bool) -> Batch:
    batch_id, slot, count, _, _, method_length = _BODY.unpack_from(body)
    at = _BODY.size + method_length
    method = str(body[_BODY.size : at], "utf-8")
    reader = _GroupReader(body, at + (-at % 8), memory, SharedMemory.request_region(slot), own)
    return message_type(batch_id, slot, method, tuple([_rows_only(reader.read()) for _ in range(count)]))


def _rows_only(group: Group) -> Rows:
    if isinstance(group, FailedRows):
        raise ValueError("a batch cannot hold failed instances")
    return group


def _read_result(
    message_type: type[Result], body: memoryview, memory: SharedMemory | None, own: bool
) -> Result:
    batch_id, slot, count, start, flags, _ = _BODY.unpack_from(body)
    reader = _GroupReader(body, _BODY.size, memory, SharedMemory.reply_region(slot), own)
    groups = tuple([reader.read() for _ in range(count)])
    return message_type(batch_id, slot, start, groups, bool(flags & _FINAL))


class _GroupReader:
    """Reads the groups of one body one after the other."""

    def __init__(
        self, body: memoryview, at: int, memory: SharedMemory | None, region: int, own: bool
    ) -> None:
        self._body = body
        self._at = at
        self._memory = memory
        self._region = region
        self._own = own

    def read(self) -> Group:
        count, layout_length, kind, offset = _GROUP.unpack_from(self._body, self._at)
        self._at += _GROUP.size
        layout = bytes(self._skip(layout_length))
        if not count:
            raise ValueError("a group should hold instances, but is empty")
        if kind == _FAILED:
            return FailedRows(_failure_of(*orjson.loads(layout)), count)
        plans_of = _plans_of if layout_length <= _LARGEST_KNOWN else _plans_of.__wrapped__
        specs, plans = plans_of(layout)
        columns: list[ColumnData] = []
        for plan in plans:
            if kind == _ROWS and plan.dtype is not None:
                columns.append(self._inline_array(plan, count))
            else:
                column, offset = self._column(plan, count, kind == _SHARED_ROWS, offset)
                columns.append(column)
        return Rows(specs, tuple(columns), count)

    def _inline_array(self, plan: _ColumnPlan, count: int) -> Array:
        array: Array = np.frombuffer(self._body, plan.dtype, count * plan.elements, self._at)
        size = count * plan.row_bytes
        self._at += size + (-size % 8)
        return array.reshape(count, *plan.shape) if plan.shape else array

    def _skip(self, length: int) -> memoryview:
        view = self._body[self._at : self._at + length]
        if len(view) != length:
            raise ValueError(f"{length} bytes expected, {len(view)} left")
        self._at += length + (-length % 8)
        return view

    def _column(self, plan: _ColumnPlan, count: int, shared: bool, offset: int) -> tuple[ColumnData, int]:
        """A column of text, or one in shared memory; and the offset after it."""
        if plan.dtype is None:
            lengths = np.frombuffer(self._skip(4 * count), "<u4").tolist()
            data, offset = self._data(sum(lengths), shared, offset)
            return _cut(memoryview(data), lengths), offset  # type: ignore[arg-type]  # arrays are buffers
        data, offset = self._data(count * plan.row_bytes, shared, offset)
        array: Array = np.frombuffer(data, plan.dtype).reshape(count, *plan.shape)
        return (array.copy() if self._own else array), offset

    def _data(self, size: int, shared: bool, offset: int) -> tuple[memoryview | Array, int]:
        if not shared:
            return self._skip(size), offset
        if self._memory is None:
            raise ValueError("the data is in shared memory, and there is none")
        return self._memory.view(self._region, offset, size), offset + size + (-size % 64)


def _failure_of(code: int, text: str, http_status: int | None, trace: str = "") -> Failure:
    if type(text) is not str or type(trace) is not str or type(http_status) not in (int, NoneType):
        raise TypeError(
            f"a failure should have a text, a status and a trace, but has {text!r}, {http_status!r}, {trace!r}"
        )
    return Failure(StatusCode(code), text, http_status, trace)


def _cut(data: memoryview, lengths: Sequence[int]) -> list[bytes]:
    values, at = [], 0
    for length in lengths:
        values.append(bytes(data[at : at + length]))
        at += length
    return values
