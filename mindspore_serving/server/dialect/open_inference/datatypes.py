"""Datatypes as the protocol calls them, and ours."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np

from mindspore_serving.server.dialect.open_inference.messages import RawData
from mindspore_serving.tensor import Array, DataType

BYTES: Final = "BYTES"
BF16: Final = "BF16"
"""The upper two bytes of a float32. Nothing here computes with it: it becomes FP32 as soon as it has arrived."""
BF16_BYTES: Final = 2
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
NUMERIC: Final = MappingProxyType(
    {name: dtype for dtype, name in NAME_OF.items() if dtype and not dtype.is_text}
)
"""Our data type by the name of a datatype that has elements of one size."""
KNOWN_NAMES: Final = (*NUMERIC, BF16, BYTES)


def widened(data: RawData) -> Array:
    """The numbers of a tensor of BF16 as float32, which holds each of them.

    Args:
        data: Two bytes for each element, little-endian.

    Returns:
        One dimension.
    """
    halves = np.frombuffer(data, "<u2")
    return (halves.astype("<u4") << 16).view("<f4")
