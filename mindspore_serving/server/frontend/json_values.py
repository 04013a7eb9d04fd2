"""JSON values of one input to tensors.

| JSON | tensor |
|---|---|
| integer, number, true/false | scalar of int32, float32, bool |
| string | STRING scalar |
| nested list of one of these | the same type, shape of the list |
| `{"b64": s}` | BYTES scalar |
| `{"b64": s, "type": t, "shape": [..]}` | raw little-endian data of type t; shape () by default |

Values of many instances are read together where they agree in type and shape, which is the common case.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson
import pybase64

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.tensor import (
    ITEM_SIZE,
    MAX_DIMENSIONS,
    NUMPY_OF,
    Array,
    ColumnData,
    DataType,
    TensorSpec,
    is_shape,
)

_TYPE_OF_JSON: dict[type, DataType] = {
    bool: DataType.BOOL,
    int: DataType.INT32,
    float: DataType.FLOAT32,
    str: DataType.STRING,
}
_TYPE_NAMES: dict[str, DataType] = {
    **{name: DataType[name.upper()] for name in ("int8", "int16", "int32", "int64")},
    **{name: DataType[name.upper()] for name in ("uint8", "uint16", "uint32", "uint64")},
    **{name: DataType[name.upper()] for name in ("float16", "float32", "float64", "bool")},
    **{f"fp{bits}": DataType[f"FLOAT{bits}"] for bits in (16, 32, 64)},
    "str": DataType.STRING,
    "bytes": DataType.BYTES,
}
_STRING = DataType.STRING
_length_of_list = list.__len__
"""Refuses what is no list, so that a look at the types is spared."""
_B64_KEYS = ("b64", "type", "shape")
_TYPE_CODES = {DataType.BOOL: "b", DataType.INT32: "i", DataType.FLOAT32: "f"}


class JsonTensor(NamedTuple):
    """A tensor of one instance: data type, shape, and an array or a byte string."""

    dtype: DataType
    shape: tuple[int, ...]
    data: Array | bytes


def read_column(name: str, values: Sequence[Any]) -> tuple[TensorSpec, ColumnData] | None:
    """One input of several instances at once.

    Args:
        name: Name of the input.
        values: One JSON value per instance.

    Returns:
        What one instance's value looks like, and the column; or None if the values do not plainly agree, or are not
        plain: read each by itself then.

    Raises:
        InvalidInput: An integer does not fit int32.
    """
    shape = [len(values)]
    level: Sequence[Any] = values
    while type(level[0]) is list:
        length = len(level[0]) if len(level) == 1 else _common_length(level)
        if not length or len(shape) > MAX_DIMENSIONS:
            return None
        shape.append(length)
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if len(kinds) > 1:
        return None
    dtype = _TYPE_OF_JSON.get(kinds.pop())
    if dtype is None:
        return None
    if dtype is _STRING:
        texts = [text.encode() for text in level]
        return (TensorSpec(name, dtype, ()), texts) if len(shape) == 1 else None
    return TensorSpec(name, dtype, tuple(shape[1:])), _array_of(level, dtype, shape)


def _common_length(values: Sequence[Any]) -> int:
    """The length that all of some lists have; 0 where they differ, or others are among them."""
    try:
        lengths = set(map(_length_of_list, values))
    except TypeError:
        return 0
    return lengths.pop() if len(lengths) == 1 else 0


def read_value(value: Any) -> JsonTensor:
    """One JSON value.

    Raises:
        InvalidInput: The value is no tensor; the text says why.
    """
    if value is None:
        raise InvalidInput("json value is null, it is not supported")
    if isinstance(value, dict):
        return _read_b64(value)
    if isinstance(value, list):
        return _read_list(value)
    dtype = _TYPE_OF_JSON[type(value)]
    if dtype is DataType.STRING:
        return JsonTensor(dtype, (), value.encode())
    return JsonTensor(dtype, (), _array_of([value], dtype, ()))


def _array_of(scalars: Sequence[Any], dtype: DataType, shape: Sequence[int]) -> Array:
    """Scalars of one JSON type as an array; floats beyond float32 become infinite."""
    try:
        # A Python array is made of a list in half the time that NumPy takes, and is as good a buffer.
        return np.ndarray(shape, NUMPY_OF[dtype], array(_TYPE_CODES[dtype], scalars))
    except OverflowError:
        raise InvalidInput("data out of int32 range") from None


def _read_list(value: list[Any]) -> JsonTensor:
    shape = _shape_of_first(value)
    leaves: list[Any] = []
    _collect(value, shape, 0, leaves)
    first = leaves[0]
    if isinstance(first, dict):
        return _read_b64_in_list(leaves, shape)
    if len(set(map(type, leaves))) > 1:
        raise InvalidInput("json array, elements type is not equal")
    dtype = _TYPE_OF_JSON.get(type(first))
    if dtype is None:
        raise InvalidInput("json array, data should be number, bool, string or bytes")
    if dtype is not DataType.STRING:
        return JsonTensor(dtype, shape, _array_of(leaves, dtype, shape))
    if len(leaves) > 1:
        raise InvalidInput("json array, string or bytes type only support one item")
    return JsonTensor(dtype, shape, first.encode())


def _shape_of_first(value: Any) -> tuple[int, ...]:
    """Shape along the first elements."""
    shape: list[int] = []
    while isinstance(value, list):
        if not value:
            raise InvalidInput("json array, data type is unknown" if shape else "json array, shape is empty")
        shape.append(len(value))
        if len(shape) > MAX_DIMENSIONS:
            raise InvalidInput(f"json array, more than {MAX_DIMENSIONS} dimensions are not supported")
        value = value[0]
    return tuple(shape)


def _collect(value: Any, shape: tuple[int, ...], dim: int, leaves: list[Any]) -> None:
    """Append the scalars of a nested list, checking that it has the expected shape."""
    if dim == len(shape):
        if isinstance(value, list):
            raise InvalidInput("json array, data should be number, bool, string or bytes")
        leaves.append(value)
        return
    if not isinstance(value, list):
        raise InvalidInput("invalid json array: json type is not array")
    if len(value) != shape[dim]:
        raise InvalidInput(
            f"invalid json array: json size is {len(value)}, the dim {dim} expected to be {shape[dim]}"
        )
    for item in value:
        _collect(item, shape, dim + 1, leaves)


def _read_b64_in_list(leaves: Sequence[Any], shape: tuple[int, ...]) -> JsonTensor:
    if any(not isinstance(leaf, dict) for leaf in leaves):
        raise InvalidInput("json array, elements type is not equal")
    tensor = _read_b64(leaves[0])
    if not tensor.dtype.is_text:
        raise InvalidInput("json array, item is object type, object only support string or bytes type")
    if len(leaves) > 1:
        raise InvalidInput("json array, string or bytes type only support one item")
    return JsonTensor(tensor.dtype, shape, tensor.data)


def _read_b64(value: dict[str, Any]) -> JsonTensor:
    """`{"b64": text, "type": name, "shape": [..]}`, the last two optional."""
    if len(value) > len(_B64_KEYS):
        raise InvalidInput(
            "json object, items size is more than 3, only support specified ['b64', 'type', 'shape']"
        )
    for key in value:
        if key not in _B64_KEYS:
            raise InvalidInput(f"json object, key is not ['b64', 'type', 'shape'], fail key:{excerpt(key)}")
    if "b64" not in value:
        raise InvalidInput("json object, 'b64' should be specified only one time")
    dtype = _named_type(value.get("type", "bytes"))
    shape = _given_shape(value.get("shape", []))
    if dtype.is_text and prod(shape) != 1:
        raise InvalidInput(
            "json object, only support scalar when data type is string or bytes, please check 'type' or 'shape'"
        )
    data = _decode_b64(value["b64"])
    if dtype is DataType.BYTES:
        return JsonTensor(dtype, shape, data)
    if dtype is DataType.STRING:
        _check_utf8(data)
        return JsonTensor(dtype, shape, data)
    if prod(shape) * ITEM_SIZE[dtype] != len(data):
        raise InvalidInput(
            f"size is not matched, decode base64 size:{len(data)}; Given info: type:{dtype.name.lower()}; "
            f"type size:{ITEM_SIZE[dtype]}; element nums:{prod(shape)}"
        )
    return JsonTensor(dtype, shape, np.frombuffer(data, NUMPY_OF[dtype]).reshape(shape))


def _named_type(name: Any) -> DataType:
    if not isinstance(name, str):
        raise InvalidInput("json object, key is 'type', value should be string type")
    if name not in _TYPE_NAMES:
        raise InvalidInput(f"json object, specified type:'{excerpt(name)}' is illegal")
    return _TYPE_NAMES[name]


def _given_shape(dims: Any) -> tuple[int, ...]:
    if not isinstance(dims, list):
        raise InvalidInput("json object, key is 'shape', value should be array type")
    if any(type(dim) is not int or dim < 0 for dim in dims):
        raise InvalidInput("json object, key is 'shape', array value should be unsigned integer")
    if not is_shape(dims):
        shown = excerpt(orjson.dumps(dims).decode())
        raise InvalidInput(f"json object, key is 'shape', invalid shape value {shown}")
    return tuple(dims)


def _decode_b64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise InvalidInput("get scalar data failed, type is string, but json is not string type")
    if len(text) % 4:
        raise InvalidInput(f"'{excerpt(text)}' is illegal b64 encode string")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as cause:  # binascii.Error, or letters that are not ASCII
        raise InvalidInput("decode base64 failed, size is not matched.") from cause


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as cause:
        raise InvalidInput(f"string data is not valid UTF-8: {cause}") from cause
