"""Writes small ONNX files, without the package onnx: a file is one protobuf message, of which few fields are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindspore_serving.tensor import Array, DataType

_OPSET, _IR_VERSION = 13, 7
_TYPES = {
    DataType.FLOAT32: 1,
    DataType.UINT8: 2,
    DataType.INT8: 3,
    DataType.UINT16: 4,
    DataType.INT16: 5,
    DataType.INT32: 6,
    DataType.INT64: 7,
    DataType.BOOL: 9,
    DataType.FLOAT16: 10,
    DataType.FLOAT64: 11,
    DataType.UINT32: 12,
    DataType.UINT64: 13,
}
_INT, _INTS = 2, 7


@dataclass(frozen=True)
class Value:
    """An input or output; a dimension of -1 is dynamic."""

    name: str
    shape: Sequence[int]
    dtype: DataType = DataType.FLOAT32


@dataclass(frozen=True)
class Node:
    """An operator; attributes are numbers or lists of numbers."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | Sequence[int]]


def node(
    operator: str, inputs: str, outputs: str, attributes: Mapping[str, int | Sequence[int]] | None = None
) -> Node:
    """An operator, with the names of its inputs and outputs separated by spaces."""
    return Node(operator, inputs.split(), outputs.split(), attributes or {})


def write(
    path: Path,
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Array] | None = None,
) -> Path:
    """Write a model; returns its path."""
    graph = b"".join(_field(1, _node(one)) for one in nodes) + _field(2, b"graph")
    graph += b"".join(_field(5, _constant(name, array)) for name, array in (constants or {}).items())
    graph += b"".join(_field(11, _value(one)) for one in inputs)
    graph += b"".join(_field(12, _value(one)) for one in outputs)
    path.write_bytes(
        _number(1, _IR_VERSION) + _field(8, _field(1, b"") + _number(2, _OPSET)) + _field(7, graph)
    )
    return path


def _node(one: Node) -> bytes:
    content = b"".join(_field(1, name.encode()) for name in one.inputs)
    content += b"".join(_field(2, name.encode()) for name in one.outputs)
    content += _field(3, f"{one.operator}_{one.outputs[0]}".encode()) + _field(4, one.operator.encode())
    for name, value in one.attributes.items():
        if isinstance(value, int):
            held = _number(3, value) + _number(20, _INT)
        else:
            held = b"".join(_number(8, number) for number in value) + _number(20, _INTS)
        content += _field(5, _field(1, name.encode()) + held)
    return content


def _constant(name: str, array: Array) -> bytes:
    kind = next(kind for kind in _TYPES if kind.name.lower() == array.dtype.name)
    dims = b"".join(_number(1, dim) for dim in array.shape)
    return (
        dims
        + _number(2, _TYPES[kind])
        + _field(8, name.encode())
        + _field(9, np.ascontiguousarray(array).tobytes())
    )


def _value(one: Value) -> bytes:
    dims = b"".join(_field(1, _field(2, b"n") if dim == -1 else _number(1, dim)) for dim in one.shape)
    tensor = _number(1, _TYPES[one.dtype]) + _field(2, dims)
    return _field(1, one.name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (2**64 - 1))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
