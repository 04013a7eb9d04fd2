"""JSON values to tensors.

| JSON | becomes | where the method does not say a type |
|---|---|---|
| integer | the type that the method takes, if that holds it exactly | int32 |
| number, `NaN`, `Infinity` | the float type that the method takes | float32 |
| integers and numbers | the same | float32 |
| true, false | bool | bool |
| string | text, or the bytes of its UTF-8 | text |
| `{"b64": string}` | bytes, or text if it is UTF-8 | bytes |
| lists of these, of the same length | a tensor of that shape; text has no shape but () and (1,) | |

Values of many rows are read together where they agree in shape, which is the common case.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import pybase64

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.tensor import (
    EXACT_UP_TO,
    MAX_DIMENSIONS,
    NUMPY_OF,
    PACK_CODE,
    Array,
    ColumnData,
    DataType,
    TensorSpec,
    is_shape,
)

_B64: Final = "b64"
_TEXT_SHAPES: Final = ((), (1,))
_NUMBERS: Final = frozenset((int, float))
_TEXTS: Final = frozenset((str, dict))
_BOOLS: Final = frozenset((bool,))
_LISTS: Final = frozenset((list,))


def is_b64(value: Any) -> bool:
    """Whether a JSON value stands for bytes, and is no object of names and values."""
    return isinstance(value, dict) and value.keys() == {_B64}


def read_values(name: str, values: Sequence[Any], dtype: DataType) -> tuple[TensorSpec, ColumnData] | None:
    """One input of several rows at once.

    Args:
        name: Name of the input.
        values: One JSON value for each row, at least one.
        dtype: What the method takes; UNKNOWN where that is not known.

    Returns:
        What the value of one row looks like, and the column; None where rows differ in type or shape. Then each is to
        be read by itself.

    Raises:
        InvalidInput: A value is no tensor, or not of the type; the text says why.
    """
    shape = [len(values)]
    level: Sequence[Any] = values
    kinds = frozenset(map(type, level))
    while kinds == _LISTS:
        lengths = set(map(len, level))
        if len(lengths) > 1:
            _check_differ(name, values, f"lists of {min(lengths)} and of {max(lengths)} elements")
            return None
        shape.append(lengths.pop())
        if len(shape) > MAX_DIMENSIONS + 1:  # the rows are one
            raise InvalidInput(f"Input '{name}' has more than {MAX_DIMENSIONS} dimensions")
        level = list(chain.from_iterable(level))
        kinds = frozenset(map(type, level))
    if list in kinds:
        _check_differ(name, values, "lists beside single values")
        return None
    if dtype is DataType.UNKNOWN and kinds == _TEXTS:
        _check_differ(name, values, "text beside bytes")
        return None
    return _column_of(name, level, kinds, shape, dtype)


def _column_of(
    name: str, level: Sequence[Any], kinds: frozenset[type], shape: list[int], dtype: DataType
) -> tuple[TensorSpec, ColumnData]:
    """A column of scalars; as `read_values`."""
    row = tuple(shape[1:])
    if not level:
        return _empty_column(name, row, shape[0], dtype)
    if kinds <= _TEXTS:
        kind = dtype
        if kind is DataType.UNKNOWN:
            kind = DataType.STRING if str in kinds else DataType.BYTES
        if not kind.is_text:
            raise _wrong_kind(name, level[0], kind)
        if row not in _TEXT_SHAPES:
            raise InvalidInput(
                f"Input '{name}' has {len(level) // shape[0]} texts in a row, but one is expected: text has no "
                "dimensions"
            )
        return TensorSpec(name, kind, row), [_text_of(name, value, kind) for value in level]
    if kinds == _BOOLS:
        kind = DataType.BOOL if dtype is DataType.UNKNOWN else dtype
    elif kinds <= _NUMBERS:
        kind = dtype
        if kind is DataType.UNKNOWN:
            kind = DataType.FLOAT32 if float in kinds else DataType.INT32
    else:
        raise _no_tensor(name, level)
    return TensorSpec(name, kind, row), _array_of(name, level, kinds, kind).reshape(shape)


def _empty_column(
    name: str, row: tuple[int, ...], count: int, dtype: DataType
) -> tuple[TensorSpec, ColumnData]:
    """A column of tensors without elements."""
    kind = DataType.FLOAT32 if dtype is DataType.UNKNOWN else dtype
    if kind.is_text:
        raise InvalidInput(f"Input '{name}' is an empty list, but a text is expected in each row")
    if not is_shape(row):
        raise InvalidInput(
            f"Input '{name}' has shape {excerpt(str(list(row)))}, which has too many empty lists"
        )
    return TensorSpec(name, kind, row), np.zeros((count, *row), NUMPY_OF[kind])


def _array_of(name: str, scalars: Sequence[Any], kinds: frozenset[type], dtype: DataType) -> Array:
    """Numbers, or true and false, as an array of one dimension.

    Raises:
        InvalidInput: One is not of the type, or becomes another number; the text says which.
    """
    is_float = dtype in EXACT_UP_TO
    if (
        dtype.is_text
        or (kinds == _BOOLS) is not (dtype is DataType.BOOL)
        or (float in kinds and not is_float)
    ):
        raise _wrong_kind(name, next(one for one in scalars if not _fits(one, dtype)), dtype)
    try:
        raw = struct.pack(f"<{len(scalars)}{PACK_CODE[dtype]}", *scalars)
    except (struct.error, OverflowError):
        raise _out_of_range(name, scalars, dtype) from None
    array: Array = np.frombuffer(raw, NUMPY_OF[dtype])
    if is_float and int in kinds:
        _check_exact(name, scalars, array, dtype)
    return array


def _check_exact(name: str, numbers: Sequence[Any], floats: Array, dtype: DataType) -> None:
    """Check that no integer has become another number.

    Raises:
        InvalidInput: One has.
    """
    for at in np.flatnonzero(np.abs(floats) >= EXACT_UP_TO[dtype]).tolist():
        number = numbers[at]
        if type(number) is int and number != float(floats[at]):
            type_name = dtype.name.lower()
            raise InvalidInput(
                f"Input '{name}' has {excerpt(str(number))}, which {type_name} does not hold exactly; add .0 to it if "
                f"the nearest {type_name} will do"
            )


def _fits(value: Any, dtype: DataType) -> bool:
    """Whether a number, or true or false, may be of a type, whatever its size."""
    if dtype.is_text:
        return False
    if isinstance(value, bool) or dtype is DataType.BOOL:
        return isinstance(value, bool) and dtype is DataType.BOOL
    return isinstance(value, int) or dtype in EXACT_UP_TO


def _text_of(name: str, value: str | dict[str, Any], dtype: DataType) -> bytes:
    """A text or bytes.

    Raises:
        InvalidInput: It is an object of something else, is no base64, or bytes are no text.
    """
    if isinstance(value, str):
        return value.encode()
    if not is_b64(value) or not isinstance(value[_B64], str):
        raise InvalidInput(f'Input \'{name}\' has an object where {{"b64": "..."}} or a value is expected')
    try:
        data = pybase64.b64decode(value[_B64], validate=True)
    except ValueError as cause:  # binascii.Error, or letters that are not ASCII
        raise InvalidInput(f"Input '{name}' has '{excerpt(value[_B64])}', which is not base64") from cause
    if dtype is DataType.STRING:
        try:
            data.decode()
        except UnicodeDecodeError as cause:
            raise InvalidInput(
                f"Input '{name}' takes text, but got bytes that are not UTF-8: {cause}"
            ) from cause
    return data


def _check_differ(name: str, values: Sequence[Any], what: str) -> None:
    """Check that it is rows that differ: what differs within a single one is no tensor.

    Raises:
        InvalidInput: There is only one.
    """
    if len(values) == 1:
        raise InvalidInput(f"Input '{name}' is no tensor: it has {what}")


def _wrong_kind(name: str, value: Any, dtype: DataType) -> InvalidInput:
    return InvalidInput(f"Input '{name}' takes {dtype.name.lower()}, but got {_shown(value)}")


def _out_of_range(name: str, numbers: Sequence[Any], dtype: DataType) -> InvalidInput:
    number = next(number for number in numbers if not _holds(dtype, number))
    return InvalidInput(
        f"Input '{name}' has {excerpt(str(number))}, which is out of the range of {dtype.name.lower()}"
    )


def _holds(dtype: DataType, number: float) -> bool:
    try:
        struct.pack(f"<{PACK_CODE[dtype]}", number)
    except (struct.error, OverflowError):
        return False
    return True


def _no_tensor(name: str, level: Sequence[Any]) -> InvalidInput:
    """What is told of values that are of several kinds, or of none."""
    if None in level:
        return InvalidInput(f"Input '{name}' has null where a value is expected")
    first = level[0]
    other = next(value for value in level if _kind_of(value) != _kind_of(first))
    return InvalidInput(
        f"Input '{name}' has {_shown(first)} beside {_shown(other)}, but all should be of one type"
    )


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, (int, float)) else "text"


def _shown(value: Any) -> str:
    """A JSON value in an error text."""
    if isinstance(value, str):
        return f"the string '{excerpt(value)}'"
    if isinstance(value, dict):
        return "an object"
    return str(value).lower() if isinstance(value, bool) else excerpt(str(value))
