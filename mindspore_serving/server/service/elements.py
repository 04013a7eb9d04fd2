"""Tensors as clients send them, whose first size may count instances: what may be a shape, and elements in lists.

An element of a list is what JSON or a typed field of protobuf has:

| datatype | elements |
|---|---|
| BOOL | true and false, 0 and 1 |
| INT8 ... UINT64 | integers that the type holds |
| FP16, FP32, FP64 | numbers that the type holds; one between two floats becomes the nearest |
| BYTES | strings, or byte strings |

Datatypes are called as the Open Inference Protocol does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.tensor import (
    EXACT_UP_TO,
    MAX_DIMENSIONS,
    MOST_EMPTY,
    NUMPY_OF,
    PACK_CODE,
    Array,
    DataType,
)

BYTES: Final = "BYTES"
NAME_OF: Final = MappingProxyType(
    {
        DataType.UNKNOWN: "UNKNOWN",
        DataType.BOOL: "BOOL",
        DataType.INT8: "INT8",
        DataType.UINT8: "UINT8",
        DataType.INT16: "INT16",
        DataType.UINT16: "UINT16",
        DataType.INT32: "INT32",
        DataType.UINT32: "UINT32",
        DataType.INT64: "INT64",
        DataType.UINT64: "UINT64",
        DataType.FLOAT16: "FP16",
        DataType.FLOAT32: "FP32",
        DataType.FLOAT64: "FP64",
        DataType.STRING: BYTES,
        DataType.BYTES: BYTES,
    }
)
"""What the protocol calls our data types; `UNKNOWN`, which it does not have, stands for any."""
_LARGEST: Final = 1 << 40
"""Elements that the sizes of a tensor may come to: those of one without elements beside a 0."""
_INTEGERS: Final = frozenset((int,))
_NUMBERS: Final = frozenset((int, float))
_BOOLS: Final = frozenset((bool, int))
_TEXTS: Final = frozenset((str, bytes))
_CODES: Final = MappingProxyType({**PACK_CODE, DataType.BOOL: "B"})
"""Of `struct`; 0 and 1 are read as true and false."""


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Check that sizes are those of an array.

    Args:
        name: Of the input.
        shape: As it was sent.

    Raises:
        InvalidInput: A size is negative, there are too many, or they come to too much.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidInput(
            f"Input '{name}' has {len(shape)} dimensions, expected are at most {MAX_DIMENSIONS}"
        )
    if shape and min(shape) < 0:
        raise InvalidInput(f"Input '{name}' has shape {_shown(shape)}, in which a size is negative")
    if prod(shape):
        too_large = prod(shape) > _LARGEST
    else:  # a few bytes may ask for any number of empty lists
        too_large = prod(filter(None, shape)) > _LARGEST or prod(shape[: list(shape).index(0)]) > MOST_EMPTY
    if too_large:
        raise InvalidInput(f"Input '{name}' has shape {_shown(shape)}, which is too large")


def flattened(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The elements of a tensor in order.

    Args:
        name: Of the input.
        data: The elements in one list, or in lists that are nested as the shape says.
        shape: Sizes, none of them negative.

    Raises:
        InvalidInput: There are more or fewer than the shape says, or they are nested otherwise.
    """
    count = prod(shape)
    level: list[Any] = data
    if level and type(level[0]) is list:
        for depth, size in enumerate(shape[1:], start=1):
            if len(level) != prod(shape[:depth]) or not all(
                type(item) is list and len(item) == size for item in level
            ):
                raise InvalidInput(
                    f"data of input '{name}' should be one list, or lists nested as shape {_shown(shape)} says, but is "
                    f"nested otherwise in dimension {depth}"
                )
            level = list(chain.from_iterable(level))
    if len(level) != count:
        raise InvalidInput(
            f"data of input '{name}' has {len(level)} elements, but shape {_shown(shape)} has {count}"
        )
    return level


def numbers_of(name: str, elements: Sequence[Any], dtype: DataType) -> Array:
    """Elements as an array.

    Args:
        name: Of the input.
        elements: As they were sent, in order.
        dtype: A data type of elements of one size.

    Returns:
        One dimension.

    Raises:
        InvalidInput: An element is not of the type; the text says which.
    """
    allowed = _NUMBERS if dtype in EXACT_UP_TO else _BOOLS if dtype is DataType.BOOL else _INTEGERS
    if set(map(type, elements)) <= allowed:
        try:
            raw = struct.pack(f"<{len(elements)}{_CODES[dtype]}", *elements)
        except (struct.error, OverflowError):
            pass
        else:
            array: Array = np.frombuffer(raw, NUMPY_OF[dtype])
            if dtype is not DataType.BOOL or not raw.strip(b"\0\1"):
                return array
    raise _wrong_element(name, elements, dtype)


def texts_of(name: str, elements: Sequence[Any], start: int = 0) -> list[bytes]:
    """Elements of BYTES as byte strings.

    Args:
        name: Of the input.
        elements: As they were sent, in order.
        start: Which element of the input the first one is.

    Raises:
        InvalidInput: One is neither a string nor a byte string, or no valid Unicode.
    """
    try:
        return [element if type(element) is bytes else str.encode(element) for element in elements]
    except (TypeError, UnicodeEncodeError):
        at, element = next((at, element) for at, element in enumerate(elements) if not _is_text(element))
        raise InvalidInput(
            f"data of input '{name}' has {_quoted(element)} as element {start + at}, expected a string, since the "
            f"datatype is {BYTES}"
        ) from None


def _is_text(element: Any) -> bool:
    if type(element) is bytes:
        return True
    try:
        return type(element) is str and element.encode() is not None
    except UnicodeEncodeError:
        return False


def _wrong_element(name: str, elements: Sequence[Any], dtype: DataType) -> InvalidInput:
    for at, element in enumerate(elements):
        if type(element) is list or not _fits(element, dtype):
            return InvalidInput(
                f"data of input '{name}' has {_quoted(element)} as element {at}, which is no {NAME_OF[dtype]}"
            )
    return InvalidInput(f"data of input '{name}' is not of datatype {NAME_OF[dtype]}")


def _fits(element: Any, dtype: DataType) -> bool:
    if dtype is DataType.BOOL:
        return type(element) in _BOOLS and element in (0, 1)
    if type(element) not in (_NUMBERS if dtype in EXACT_UP_TO else _INTEGERS):
        return False
    try:
        struct.pack(f"<{_CODES[dtype]}", element)
    except (struct.error, OverflowError):
        return False
    return True


def _quoted(element: Any) -> str:
    if element is None:
        return "null"
    if isinstance(element, (list, dict)):
        return "a list" if isinstance(element, list) else "an object"
    return excerpt(repr(element))


def _shown(shape: Sequence[int]) -> str:
    return excerpt(str(list(shape)))
