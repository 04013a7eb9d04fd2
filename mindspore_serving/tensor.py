"""Tensors as Serving moves them: data types, instances as columns, and Python values.

Instances of one request that agree in every input's dtype and shape travel together as `Rows`: one buffer per input
that holds k rows, instead of k dictionaries. Text and bytes have no fixed size and travel as lists of byte strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from math import prod
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from mindspore_serving.errors import InvalidInput, StageError, excerpt

Array: TypeAlias = npt.NDArray[Any]
ColumnData: TypeAlias = "Array | list[bytes]"


class DataType(IntEnum):
    """Data types, numbered as `DataType` on the gRPC wire."""

    UNKNOWN = 0
    BOOL = 1
    INT8 = 2
    UINT8 = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT16 = 10
    FLOAT32 = 11
    FLOAT64 = 12
    STRING = 13
    BYTES = 14

    __hash__ = int.__hash__
    """That of `Enum` is written in Python; specs are hashed for every batch."""

    @property
    def label(self) -> str:
        """Name in messages, for example `kMSI_Float32`."""
        return f"kMSI_{self.name.capitalize()}"

    @property
    def is_text(self) -> bool:
        """Whether values are byte strings (STRING, BYTES) and not arrays."""
        return self >= DataType.STRING


NUMPY_OF: dict[DataType, np.dtype[Any]] = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.INT8: np.dtype(np.int8),
    DataType.UINT8: np.dtype(np.uint8),
    DataType.INT16: np.dtype("<i2"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.FLOAT16: np.dtype("<f2"),
    DataType.FLOAT32: np.dtype("<f4"),
    DataType.FLOAT64: np.dtype("<f8"),
}
DATA_TYPE_OF: dict[np.dtype[Any], DataType] = {dtype: kind for kind, dtype in NUMPY_OF.items()}
MAX_DIMENSIONS = 31
"""Most dimensions of one instance's value: NumPy 1 has arrays of up to 32, and one of them counts the instances."""
_FIRST_ROUNDED = 2**53
"""From here on not every integer is a float64."""
_PLAIN: frozenset[type] = frozenset((bool, int, float))
MOST_EMPTY = 1024
"""Most empty lists that an array without elements is written as in JSON: a few bytes may ask for any number."""
ITEM_SIZE: dict[DataType, int] = {kind: dtype.itemsize for kind, dtype in NUMPY_OF.items()}
PACK_CODE: dict[DataType, str] = {
    DataType.BOOL: "?",
    DataType.INT8: "b",
    DataType.UINT8: "B",
    DataType.INT16: "h",
    DataType.UINT16: "H",
    DataType.INT32: "i",
    DataType.UINT32: "I",
    DataType.INT64: "q",
    DataType.UINT64: "Q",
    DataType.FLOAT16: "e",
    DataType.FLOAT32: "f",
    DataType.FLOAT64: "d",
}
"""How `struct` calls the elements of arrays."""
EXACT_UP_TO: dict[DataType, int] = {
    DataType.FLOAT16: 1 << 11,
    DataType.FLOAT32: 1 << 24,
    DataType.FLOAT64: 1 << 53,
}
"""Float types, and up to where they hold each integer."""


class TensorSpec(NamedTuple):
    """What one input or output of one instance looks like: name, data type and shape."""

    name: str
    dtype: DataType
    shape: tuple[int, ...]

    @property
    def byte_size(self) -> int:
        """Bytes of one instance's value; 0 for text and bytes, whose size varies."""
        return 0 if self.dtype.is_text else prod(self.shape) * ITEM_SIZE[self.dtype]


Specs: TypeAlias = tuple[TensorSpec, ...]


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is the wanted one, where -1 stands for a dimension of any size."""
    return len(shape) == len(wanted) and all(
        want in (-1, got) for want, got in zip(wanted, shape, strict=True)
    )


def join_columns(parts: Sequence[ColumnData]) -> ColumnData:
    """One column out of several of the same dtype and row shape, in order."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], list):
        return [value for part in parts for value in part]
    return np.concatenate(cast("list[Array]", parts))


def runs_of_equal(keys: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """(start, stop) of each longest run of equal neighbours in `keys`."""
    start = 0
    for i in range(1, len(keys) + 1):
        if i == len(keys) or keys[i] != keys[start]:
            yield start, i
            start = i


def encode_value(value: object) -> tuple[DataType, tuple[int, ...], Array | bytes]:
    """One Python value, as stage functions return it, as a tensor.

    Args:
        value: A NumPy array or scalar, bool, int, float, str, bytes, an object with `asnumpy()`, or a torch tensor.

    Returns:
        Data type, shape and data; the data of text and bytes is a byte string and its shape is ().

    Raises:
        StageError: The value is none of these; the text names its type.
    """
    if type(value) is np.ndarray:
        kind = DATA_TYPE_OF.get(value.dtype)
        if kind is not None:
            check_dimensions(value)
            return kind, value.shape, value
    if isinstance(value, str):
        return DataType.STRING, (), _utf8(value)
    if isinstance(value, bytes):
        exact = b"".join((value,))  # the methods of a class derived from bytes may raise anything
        return DataType.BYTES, (), exact
    array = as_array(value)
    return DATA_TYPE_OF[array.dtype], array.shape, array


def as_array(value: object) -> Array:
    """A Python value as a C-contiguous, little-endian array of a servable dtype.

    Args:
        value: A NumPy array or scalar, bool, int, float, an object with `asnumpy()`, or a torch tensor.

    Returns:
        An array; the very same object where it already was one that can be sent.

    Raises:
        StageError: The value cannot be a tensor, or a number in it would become another one; the text names its type.
    """
    original = value
    if callable(getattr(value, "asnumpy", None)):
        value = value.asnumpy()  # type: ignore[attr-defined]
    elif callable(getattr(value, "detach", None)):
        value = value.detach().cpu().numpy()  # type: ignore[attr-defined]
    if value is None or isinstance(value, (dict, set, str, bytes)):
        raise StageError(f"Get illegal result data with type {type(original)}")
    try:
        array = np.asanyarray(value)  # keeps what a masked array hides
    except (ValueError, TypeError, OverflowError) as cause:
        raise StageError(f"Get illegal result data with type {type(original)}") from cause
    if array.dtype.newbyteorder("<") not in DATA_TYPE_OF:
        raise StageError(f"Get illegal result data with type {type(original)}, dtype {array.dtype}")
    problem = changed_number(value, array)
    if problem:
        raise StageError(f"Get illegal result data with type {type(original)}, {problem}")
    check_dimensions(array)
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    # ascontiguousarray would turn shape () into (1,).
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def check_dimensions(array: Array) -> None:
    """Check that an array has no more dimensions than can be sent.

    Raises:
        StageError: It has.
    """
    if array.ndim > MAX_DIMENSIONS:
        raise StageError(
            f"Get illegal result data with type {type(array)}, it has {array.ndim} dimensions, expected at most "
            f"{MAX_DIMENSIONS}"
        )


def changed_number(value: object, array: Array) -> str:
    """Which number of a value is another one in its array.

    NumPy says nothing when it gives out what a mask hides, or rounds integers beside other numbers.

    Args:
        value: What was converted: an array, a list, or another object.
        array: What `np.asanyarray` made of it.

    Returns:
        What is wrong, and what to do; "" where all numbers are the same.
    """
    if type(value) is np.ndarray:
        return ""
    if isinstance(array, np.ma.MaskedArray):
        return _masked(array)
    if not isinstance(value, (list, tuple)):
        return ""
    masked = next(_masked_items(value), None)
    if masked is not None:
        return _masked(masked)
    if array.dtype != np.float64 or not (np.fabs(array) >= _FIRST_ROUNDED).any():
        return ""
    exact = np.asarray(value, dtype=object)
    for number, rounded in zip(exact.flat, array.flat, strict=True):
        if isinstance(number, (int, np.integer)) and int(number) != int(rounded):
            return f"{int(number)} becomes {float(rounded)!r} beside other numbers; return an array of one integer type"
    return ""


def _masked(array: np.ma.MaskedArray[Any, Any]) -> str:
    """What is wrong with a masked array; "" where nothing is hidden, and its numbers are all there."""
    hidden = int(np.count_nonzero(array.mask))
    if not hidden:
        return ""
    return f"{hidden} of its {array.size} values are masked and have no number; give them one with .filled(value)"


def _masked_items(values: Sequence[Any]) -> Iterator[np.ma.MaskedArray[Any, Any]]:
    """Masked arrays in lists of any depth that hide something."""
    if set(map(type, values)) <= _PLAIN:
        return
    for item in values:
        if isinstance(item, (list, tuple)):
            yield from _masked_items(item)
        elif isinstance(item, np.ma.MaskedArray) and _masked(item):
            yield item


def _utf8(text: str) -> bytes:
    try:
        return str.encode(text)
    except UnicodeEncodeError as cause:
        raise StageError(f"Get illegal result data, str is not valid Unicode text: {cause}") from cause


def python_values(spec: TensorSpec, column: ColumnData) -> list[Any]:
    """The values of a column as stage functions see them, one per row.

    Returns:
        Arrays of spec.shape that are writable when the column is (shape () gives 0-d arrays), `str` for STRING,
        and for BYTES 1-D uint8 arrays of the bytes.
    """
    if isinstance(column, list):
        if spec.dtype is DataType.STRING:
            return [value.decode() for value in column]
        return [np.frombuffer(bytearray(value), np.uint8) for value in column]
    if spec.shape:
        # To come to the end of an array costs an IndexError, whose text takes as long to write as ten rows to read.
        return [column[0]] if len(column) == 1 else list(column)
    return [column[i : i + 1].reshape(()) for i in range(len(column))]


def is_shape(dims: Sequence[int]) -> bool:
    """Whether dimensions that a client sent are those of an array; a 0 may only be the last."""
    if len(dims) > MAX_DIMENSIONS:
        return False
    outer = elements = 1
    for dim in dims:
        if dim < 0 or elements == 0:
            return False
        outer, elements = elements, elements * dim
    return elements > 0 or outer <= MOST_EMPTY


def check_shape_and_size(dims: Sequence[int], dtype: DataType, byte_size: int) -> None:
    """Check a numeric tensor that came over the wire.

    Args:
        dims: Dimensions as the client sent them.
        dtype: A numeric data type.
        byte_size: Length of the data.

    Raises:
        InvalidInput: It is the shape of no array, or shape x item size is not the data's length.
    """
    if not is_shape(dims):
        raise InvalidInput(f"Tensor check failed: input  shape {excerpt(str(list(dims)))} invalid")
    if prod(dims) * ITEM_SIZE[dtype] != byte_size:
        raise InvalidInput(f"Tensor check failed: input data size {byte_size} invalid")
