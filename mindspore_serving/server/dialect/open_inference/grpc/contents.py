"""Typed contents of a tensor, `InferTensorContents`, to its data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.proto.foreign import open_inference_pb2
from mindspore_serving.server.dialect.open_inference.messages import RawData
from mindspore_serving.server.service.elements import check_shape

FIELD_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
"""The field in which elements of a datatype are sent."""
_NUMPY_OF: Final = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        "INT8": np.dtype("<i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "UINT8": np.dtype("<u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
    }
)
_WIDE_OF: Final = MappingProxyType({"int_contents": np.dtype("<i4"), "uint_contents": np.dtype("<u4")})
"""Type of elements that may be wider than the datatype."""
_RANGE_OF: Final = MappingProxyType(
    {
        "INT8": (-(1 << 7), (1 << 7) - 1),
        "INT16": (-(1 << 15), (1 << 15) - 1),
        "UINT8": (0, (1 << 8) - 1),
        "UINT16": (0, (1 << 16) - 1),
    }
)
_AT_ONCE = 1 << 14
"""Elements that are read without a turn of others: a millisecond."""


def uses_contents(contents: open_inference_pb2.InferTensorContents) -> bool:
    """Whether contents have any element: some clients send an empty message with raw data."""
    return bool(contents.ListFields())


async def data_of(
    name: str,
    datatype: str,
    shape: Sequence[int],
    contents: open_inference_pb2.InferTensorContents | None,
) -> RawData | list[Any]:
    """The data of a tensor that came in typed contents.

    Args:
        name: Of the input.
        datatype: As it was sent.
        shape: As it was sent.
        contents: Its elements; None for none.

    Returns:
        Raw bytes of numbers; of BYTES a list of elements.

    Raises:
        InvalidInput: The datatype has no typed form, the elements are in the field of another one, they are not as
            many as the shape says, or one does not fit the datatype.
    """
    field = FIELD_OF.get(datatype)
    if field is None:
        raise InvalidInput(
            f"Input '{excerpt(name)}' of datatype '{excerpt(datatype)}' has no typed contents, which there are of "
            f"{', '.join(FIELD_OF)}; send it in raw_input_contents"
        )
    if contents is None:
        contents = open_inference_pb2.InferTensorContents()
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidInput(
                f"Input '{excerpt(name)}' of datatype {datatype} has elements in {other.name}, expected {field}"
            )
    elements = getattr(contents, field)
    _check_count(name, shape, len(elements), field)
    if datatype == "BYTES":
        return await _texts(elements)
    return await _numbers(name, datatype, elements, _WIDE_OF.get(field))


async def _texts(elements: Any) -> list[bytes]:
    """Byte strings as a list, which takes the protobuf library longer than anything else of them."""
    texts: list[bytes] = []
    for start in range(0, len(elements), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        texts += elements[start : start + _AT_ONCE]
    return texts


def _check_count(name: str, shape: Sequence[int], count: int, field: str) -> None:
    """Check that there are as many elements as a shape says.

    Raises:
        InvalidInput: There are not, or sizes are not those of an array.
    """
    check_shape(excerpt(name), shape)  # the product of a million sizes would take hours
    expected = prod(shape)
    if count != expected:
        raise InvalidInput(
            f"Input '{excerpt(name)}' has {count} elements in {field}, expected {expected}: its shape is "
            f"{excerpt(str(list(shape)))}"
        )


async def _numbers(name: str, datatype: str, elements: Any, wide: np.dtype[Any] | None) -> bytes:
    """Numbers as raw bytes.

    Raises:
        InvalidInput: One does not fit the datatype.
    """
    dtype = _NUMPY_OF[datatype]
    parts = []
    for start in range(0, len(elements), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        values = np.array(elements[start : start + _AT_ONCE], dtype if wide is None else wide)
        if wide is not None and wide != dtype:
            _check_range(name, datatype, values, start)
        parts.append(values.astype(dtype, copy=False).tobytes())
    return b"".join(parts)


def _check_range(name: str, datatype: str, values: np.ndarray[Any, Any], start: int) -> None:
    least, most = _RANGE_OF[datatype]
    outside = (values < least) | (values > most)
    if outside.any():
        at = int(outside.argmax())
        raise InvalidInput(
            f"Input '{excerpt(name)}' has {values[at]} as element {start + at}, expected {least} to {most}, "
            f"since it is {datatype}"
        )
