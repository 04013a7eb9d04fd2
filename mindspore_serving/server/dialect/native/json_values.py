"""JSON values of one input to tensors.

| JSON | tensor |
|---|---|
| integer, number, true/false | scalar of int32, float32, bool |
| string | STRING scalar |
| nested list of one of these | the same type, shape of the list |
| nested list of integers and numbers | float32, shape of the list |
| `{"b64": s}` | BYTES scalar |
| `{"b64": s, "type": t, "shape": [..]}` | raw little-endian data of type t; shape () by default |

Where the input goes straight into a model that takes floats, integers and numbers become floats of its type. So they do
where the method declares floats; where it declares integers of another type, integers become these.

Values of many instances are read together where they agree in type and shape, which is the common case.

No number is replaced by another one. A number with a fraction or an exponent may be rounded: the nearest float is what
float32 means by it, also 0 for 1e-50. What has no nearest float is refused, and so is an integer that a float does not
hold exactly.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import chain
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np
import orjson
import pybase64

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.tensor import (
    EXACT_UP_TO,
    ITEM_SIZE,
    MAX_DIMENSIONS,
    NUMPY_OF,
    PACK_CODE,
    Array,
    ColumnData,
    DataType,
    TensorSpec,
    is_shape,
)

_NUMBERS = frozenset((int, float))
_TYPE_OF_JSON: dict[frozenset[type], DataType] = {
    frozenset((bool,)): DataType.BOOL,
    frozenset((int,)): DataType.INT32,
    frozenset((float,)): DataType.FLOAT32,
    frozenset((str,)): DataType.STRING,
    _NUMBERS: DataType.FLOAT32,
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
_FEW = 32
"""Numbers up to which a Python array is made faster than `struct` packs them."""
_INTEGERS = frozenset(dtype for dtype in PACK_CODE if dtype is not DataType.BOOL and dtype not in EXACT_UP_TO)
_ARRAY_CODES = {**PACK_CODE, DataType.BOOL: "b"}


class JsonTensor(NamedTuple):
    """A tensor of one instance: data type, shape, and an array or a byte string."""

    dtype: DataType
    shape: tuple[int, ...]
    data: Array | bytes


def read_column(
    name: str, values: Sequence[Any], model_type: DataType | None = None
) -> tuple[TensorSpec, ColumnData] | None:
    """One input of several instances at once.

    Args:
        name: Name of the input.
        values: One JSON value per instance.
        model_type: What numbers become: what the method declares, or the model takes that the input goes straight
            into; None where that is not known.

    Returns:
        What one instance's value looks like, and the column; or None if the values do not plainly agree, or are not
        plain: read each by itself then.

    Raises:
        InvalidInput: A number cannot be held by its type.
    """
    shape = [len(values)]
    level: Sequence[Any] = values
    while type(level[0]) is list:
        length = len(level[0]) if len(level) == 1 else _common_length(level)
        if not length or len(shape) > MAX_DIMENSIONS:
            return None
        shape.append(length)
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
    kinds = frozenset(map(type, level))
    dtype = _TYPE_OF_JSON.get(kinds)
    if dtype is None:
        return None
    if dtype is _STRING:
        texts = [text.encode() for text in level]
        return (TensorSpec(name, dtype, ()), texts) if len(shape) == 1 else None
    if len(kinds) == 1 and (model_type is None or model_type is dtype):  # nearly always
        return TensorSpec(name, dtype, tuple(shape[1:])), _plain(name, level, dtype, shape, model_type)
    dtype = _type_for(dtype, model_type)
    if len(kinds) > 1 and len(values) > 1 and dtype is not model_type:
        return None  # an instance of integers alone is one of int32
    return TensorSpec(name, dtype, tuple(shape[1:])), _scalars(name, level, dtype, shape, model_type)


def _common_length(values: Sequence[Any]) -> int:
    """The length that all of some lists have; 0 where they differ, or others are among them."""
    try:
        lengths = set(map(_length_of_list, values))
    except TypeError:
        return 0
    return lengths.pop() if len(lengths) == 1 else 0


def read_value(name: str, value: Any, model_type: DataType | None = None) -> JsonTensor:
    """One JSON value.

    Args:
        name: Name of the input.
        value: Any.
        model_type: As of `read_column`.

    Raises:
        InvalidInput: The value is no tensor; the text says why.
    """
    if value is None:
        raise InvalidInput("json value is null, it is not supported")
    if isinstance(value, dict):
        return _read_b64(value)
    if isinstance(value, list):
        return _read_list(name, value, model_type)
    if isinstance(value, str):
        return JsonTensor(_STRING, (), value.encode())
    return _tensor_of(name, [value], (), model_type)


def _tensor_of(
    name: str, scalars: Sequence[Any], shape: tuple[int, ...], model_type: DataType | None
) -> JsonTensor:
    dtype = _type_for(_TYPE_OF_JSON[frozenset(map(type, scalars))], model_type)
    return JsonTensor(dtype, shape, _scalars(name, scalars, dtype, shape, model_type))


def _type_for(dtype: DataType, model_type: DataType | None) -> DataType:
    """What scalars become that are of a type: numbers become floats, and integers integers, of the model's type."""
    if model_type in EXACT_UP_TO and dtype is not DataType.BOOL:
        return model_type
    return model_type if model_type in _INTEGERS and dtype is DataType.INT32 else dtype


def _scalars(
    name: str, scalars: Sequence[Any], dtype: DataType, shape: Sequence[int], model_type: DataType | None
) -> Array:
    """Scalars as an array.

    Args:
        name: Name of the input.
        scalars: Numbers, or true and false.
        dtype: What they become.
        shape: Of the array.
        model_type: What numbers become.

    Raises:
        InvalidInput: A number cannot be held; the text says which.
    """
    if dtype in EXACT_UP_TO and (dtype is not DataType.FLOAT32 or int in map(type, scalars)):
        return _floats(name, scalars, dtype, shape, model_type)
    return _plain(name, scalars, dtype, shape, model_type)


def _plain(
    name: str, scalars: Sequence[Any], dtype: DataType, shape: Sequence[int], model_type: DataType | None
) -> Array:
    """Floats as float32, integers as what they become, or true and false: as `_scalars`."""
    count = len(scalars)
    try:
        if count > _FEW:
            # With "<" alone, packing checks the range of floats.
            raw: array[Any] | bytes = struct.pack(f"<{count}{PACK_CODE[dtype]}", *scalars)
        else:
            raw = array(_ARRAY_CODES[dtype], scalars)
            if dtype is DataType.FLOAT32 and not isfinite(sum(raw)):  # what is too large has become infinite
                raise OverflowError
    except (OverflowError, struct.error):
        raise _out_of_range(name, scalars, dtype, model_type) from None
    return np.ndarray(shape, NUMPY_OF[dtype], raw)


def _floats(
    name: str, numbers: Sequence[Any], dtype: DataType, shape: Sequence[int], model_type: DataType | None
) -> Array:
    """Integers and numbers as floats of any size: as `_scalars`."""
    wide = np.frombuffer(array("d", numbers))  # JSON has no integer beyond float64 here
    with np.errstate(over="ignore"):
        floats = wide.astype(NUMPY_OF[dtype])
    for at in np.flatnonzero(np.abs(wide) >= EXACT_UP_TO[dtype]).tolist():
        number, held = numbers[at], float(floats[at])
        if not isfinite(held):
            raise _out_of_range(name, numbers, dtype, model_type)
        if type(number) is int and number != held:
            type_name = dtype.name.lower()
            raise InvalidInput(
                f"data is not exact in {type_name}: input {excerpt(name)} has {excerpt(str(number))}; add .0 to it if "
                f"the nearest {type_name} will do"
            )
    return floats.reshape(shape)


def _out_of_range(
    name: str, numbers: Sequence[Any], dtype: DataType, model_type: DataType | None
) -> InvalidInput:
    """What is told of the first number that a type cannot hold.

    Args:
        name: Name of the input.
        numbers: One of them is out of range.
        dtype: The type.
        model_type: What numbers become; None where that is not known.
    """
    type_name = dtype.name.lower()
    number = next(number for number in numbers if not _holds(dtype, number))
    if model_type is dtype:
        way = f"the method takes {type_name}"
    else:
        other = "int64" if dtype is DataType.INT32 else "fp64"
        way = (
            f'other types are sent as base64, for example {{"b64": "...", "type": "{other}", "shape": [...]}}'
        )
    return InvalidInput(
        f"data out of {type_name} range: input {excerpt(name)} has {excerpt(str(number))}; {way}"
    )


def _holds(dtype: DataType, number: float) -> bool:
    """Whether a type has the number, or one that is nearest to it."""
    if dtype in _INTEGERS:
        limits = np.iinfo(NUMPY_OF[dtype])
        return int(limits.min) <= number <= int(limits.max)
    with np.errstate(over="ignore"):
        return isfinite(NUMPY_OF[dtype].type(number))


def _read_list(name: str, value: list[Any], model_type: DataType | None) -> JsonTensor:
    """A nested list; the checks have the order of MindSpore Serving 2.0."""
    shape, first = _shape_and_first(value)
    if isinstance(first, dict):
        if first.get("type", "bytes") in ("str", "bytes"):
            _check_one_item(shape)
        tensor = _read_b64(first)
        if not tensor.dtype.is_text:
            raise InvalidInput("json array, item is object type, object only support string or bytes type")
        return JsonTensor(tensor.dtype, shape, tensor.data)
    if isinstance(first, str):
        _check_one_item(shape)
        return JsonTensor(_STRING, shape, first.encode())
    if first is None:
        raise InvalidInput("json array, data type is unknown")
    scalars: list[Any] = []
    _collect(value, shape, 0, frozenset((bool,)) if isinstance(first, bool) else _NUMBERS, scalars)
    return _tensor_of(name, scalars, shape, model_type)


def _check_one_item(shape: tuple[int, ...]) -> None:
    if prod(shape) != 1:
        raise InvalidInput("json array, string or bytes type only support one item")


def _shape_and_first(value: Any) -> tuple[tuple[int, ...], Any]:
    """Shape along the first elements, and the first of all."""
    shape: list[int] = []
    while isinstance(value, list):
        if not value:
            raise InvalidInput("json array, data type is unknown" if shape else "json array, shape is empty")
        shape.append(len(value))
        if len(shape) > MAX_DIMENSIONS:
            raise InvalidInput(f"json array, more than {MAX_DIMENSIONS} dimensions are not supported")
        value = value[0]
    return tuple(shape), value


def _collect(
    value: Any, shape: tuple[int, ...], dim: int, kinds: frozenset[type], scalars: list[Any]
) -> None:
    """Append the scalars of a nested list, checking that it has the expected shape and they the expected types."""
    if not isinstance(value, list):
        raise InvalidInput("invalid json array: json type is not array")
    if len(value) != shape[dim]:
        raise InvalidInput(
            f"invalid json array: json size is {len(value)}, the dim {dim} expected to be {shape[dim]}"
        )
    if dim + 1 < len(shape):
        for item in value:
            _collect(item, shape, dim + 1, kinds, scalars)
        return
    if not kinds.issuperset(map(type, value)):
        odd = next(item for item in value if type(item) not in kinds)
        if isinstance(odd, (bool, int, float, str)):
            raise InvalidInput("json array, elements type is not equal")
        raise InvalidInput("json array, data should be number, bool, string or bytes")
    scalars += value


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
