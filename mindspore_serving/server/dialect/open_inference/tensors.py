"""Input tensors, as they were sent, to columns of instances.

Numbers are viewed where they lie: no byte of a raw tensor is copied here. Two kinds are: BF16 becomes float32, and each
string a byte string of its own.

The protocol does not cast. So the datatype has to be the declared one, but that FP32 may be sent as BF16, which loses
nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.dialect.open_inference.datatypes import (
    BF16,
    BF16_BYTES,
    BYTES,
    KNOWN_NAMES,
    NAME_OF,
    NUMERIC,
    widened,
)
from mindspore_serving.server.dialect.open_inference.messages import InputTensor, RawData
from mindspore_serving.server.service.columns import Column
from mindspore_serving.server.service.elements import check_shape, flattened, numbers_of, texts_of
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import (
    ITEM_SIZE,
    NUMPY_OF,
    Array,
    DataType,
    TensorSpec,
)

_AT_ONCE: Final = 1 << 12
"""Strings that are read without a turn of others: a millisecond."""
_LENGTH = struct.Struct("<I")


def column_of(tensor: InputTensor, data: RawData | list[Any], wanted: TensorType, rows: bool) -> Column:
    """A tensor of numbers as a column.

    Args:
        tensor: It, of another datatype than BYTES.
        data: Its data.
        wanted: What the method takes.
        rows: Whether its first dimension counts instances.

    Raises:
        InvalidInput: It is not what the method takes, or not what it says.
    """
    name, shape, datatype = tensor.name, tensor.shape, tensor.datatype
    dtype = NUMERIC.get(datatype)
    if dtype is None:
        dtype = _dtype_of(tensor, wanted)
    if dtype is not wanted.dtype and wanted.dtype:
        raise _wrong_datatype(tensor, wanted)
    check_shape(name, shape)
    own = shape[1:] if rows else shape
    if own != wanted.shape or (rows and not shape):
        _check_dimensions(tensor, wanted, rows)
    if isinstance(data, list):
        if datatype == BF16:
            raise no_bf16(name)
        flat: Any = numbers_of(name, flattened(name, data, shape), dtype)
    else:
        _check_size(tensor, len(data), BF16_BYTES if datatype == BF16 else ITEM_SIZE[dtype])
        flat = widened(data) if datatype == BF16 else data
        if dtype is DataType.BOOL:
            _check_bools(name, data)
    array: Array = np.ndarray(shape if rows else (1, *shape), NUMPY_OF[dtype], flat)
    return Column(TensorSpec(name, dtype, own), array, None if wanted.shared else len(array))


def text_column(tensor: InputTensor, texts: list[bytes], wanted: TensorType, rows: bool) -> Column:
    """A tensor of BYTES as a column.

    Args:
        tensor: It.
        texts: Its elements, as many as its shape says; UTF-8 where the method takes text.
        wanted: What the method takes.
        rows: Whether its first dimension counts instances.

    Raises:
        InvalidInput: It is not what the method takes.
    """
    name, shape = tensor.name, tensor.shape
    if wanted.dtype and not wanted.dtype.is_text:
        raise _wrong_datatype(tensor, wanted)
    if set(shape[1:] if rows else shape) - {1} or (rows and not shape):
        expected = "[N] or [N, 1]" if rows else "[1]"
        raise InvalidInput(
            f"Input '{name}' of datatype {BYTES} has shape {_shown(shape)}, expected {expected}: one element for each "
            "instance"
        )
    dtype = wanted.dtype
    if not dtype:  # what came as text is text
        sent_as_text = isinstance(tensor.data, list) and str in map(type, _innermost(tensor.data))
        dtype = DataType.STRING if sent_as_text else DataType.BYTES
    return Column(TensorSpec(name, dtype, ()), texts, None if wanted.shared else len(texts))


def elements_of(tensor: InputTensor, data: RawData | list[Any]) -> Iterator[list[bytes]]:
    """The elements of a tensor of BYTES, some at a time, so that others can have their turns.

    Args:
        tensor: It.
        data: Its data.

    Raises:
        InvalidInput: They are not what the shape says, or no elements.
    """
    name, shape = tensor.name, tensor.shape
    check_shape(name, shape)
    count = prod(shape)
    if isinstance(data, list):
        flat = flattened(name, data, shape)
        for start in range(0, count, _AT_ONCE):
            yield texts_of(name, flat[start : start + _AT_ONCE], start)
        return
    size = len(data)
    at, found = 0, 0
    while found < count:
        texts: list[bytes] = []
        for _ in range(min(_AT_ONCE, count - found)):
            if size - at < 4:
                raise _cut_short(name, found + len(texts), count, size)
            (length,) = _LENGTH.unpack_from(data, at)
            at += 4
            if size - at < length:
                raise _cut_short(name, found + len(texts), count, size)
            texts.append(bytes(data[at : at + length]))
            at += length
        found += len(texts)
        yield texts
    if at != size:
        raise InvalidInput(
            f"Input '{name}' has {size} bytes of data, expected {at}: its shape {_shown(shape)} has {count} elements, "
            "which end there"
        )


def _cut_short(name: str, found: int, count: int, size: int) -> InvalidInput:
    return InvalidInput(
        f"Input '{name}' has {size} bytes of data, which end within element {found} of {count}; each is its length as "
        "uint32, and that many bytes"
    )


def _dtype_of(tensor: InputTensor, wanted: TensorType) -> DataType:
    """Our data type for a datatype that is none of ours.

    Raises:
        InvalidInput: There is none.
    """
    if tensor.datatype == BF16:
        return DataType.FLOAT32
    if tensor.datatype == BYTES:
        raise _wrong_datatype(tensor, wanted)
    raise InvalidInput(
        f"Input '{tensor.name}' has datatype '{excerpt(tensor.datatype)}', which is unknown; known are "
        f"{', '.join(KNOWN_NAMES)}"
    )


def no_bf16(name: str) -> InvalidInput:
    """The error of a tensor of BF16 that was not sent as raw bytes."""
    return InvalidInput(
        f"Input '{name}' of datatype {BF16} should be raw bytes: there is no other form of {BF16}; send them raw, "
        "or send FP32"
    )


def check_datatype(tensor: InputTensor) -> None:
    """Check that a datatype is known.

    Raises:
        InvalidInput: It is not.
    """
    if tensor.datatype not in KNOWN_NAMES:
        _dtype_of(tensor, TensorType(tensor.name))


def _check_dimensions(tensor: InputTensor, wanted: TensorType, rows: bool) -> None:
    """Check a shape against what the method takes.

    Raises:
        InvalidInput: It has other dimensions.
    """
    shape, expected = tensor.shape, wanted.shape
    if rows and not shape:
        raise InvalidInput(
            f"Input '{tensor.name}' has shape [], expected a first dimension that counts the rows: "
            f"{_expected(wanted, rows)}"
        )
    own = shape[1:] if rows else shape
    if expected is None:
        return
    if len(own) != len(expected) or any(
        size not in (-1, given) for size, given in zip(expected, own, strict=True)
    ):
        hint = ", where -1 stands for any size" if rows or -1 in expected else ""
        raise InvalidInput(
            f"Input '{tensor.name}' has shape {_shown(shape)}, expected {_expected(wanted, rows)}{hint}"
        )


def _expected(wanted: TensorType, rows: bool) -> str:
    first = [-1] if rows else []
    return "[-1, ...]" if wanted.shape is None else str([*first, *wanted.shape])


def _check_size(tensor: InputTensor, size: int, item_size: int) -> None:
    expected = prod(tensor.shape) * item_size
    if size != expected:
        raise InvalidInput(
            f"Input '{tensor.name}' has {size} bytes of data, expected {expected}: shape {_shown(tensor.shape)} of "
            f"{excerpt(tensor.datatype)}"
        )


def _check_bools(name: str, data: RawData) -> None:
    values = np.frombuffer(data, np.uint8)
    if values.size and values.max() > 1:
        at = int((values > 1).argmax())
        raise InvalidInput(
            f"Input '{name}' has {values[at]} as element {at}, expected 0 or 1, since it is BOOL"
        )


def check_utf8(name: str, texts: Sequence[bytes], start: int) -> None:
    """Check that elements of BYTES are text.

    Args:
        name: Of the input.
        texts: Some of its elements, in order.
        start: Which element of the input the first one is.

    Raises:
        InvalidInput: One is none.
    """
    for at, text in enumerate(texts, start):
        try:
            text.decode()
        except UnicodeDecodeError as cause:
            raise InvalidInput(
                f"Input '{name}' should be text in UTF-8, element {at} is not: {cause}"
            ) from cause


def _innermost(data: list[Any]) -> list[Any]:
    while data and type(data[0]) is list:
        data = data[0]
    return data


def _wrong_datatype(tensor: InputTensor, wanted: TensorType) -> InvalidInput:
    expected = NAME_OF[wanted.dtype] if wanted.dtype else "numbers"
    return InvalidInput(f"Input '{tensor.name}' has datatype {excerpt(tensor.datatype)}, expected {expected}")


def _shown(shape: Sequence[int]) -> str:
    return excerpt(str(list(shape)))
