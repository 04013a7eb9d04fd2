"""Datatypes as the protocol calls them, and ours."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np

from mindspore_serving.server.dialect.open_inference.messages import RawData
from mindspore_serving.server.service.elements import BYTES, NAME_OF
from mindspore_serving.tensor import Array

BF16: Final = "BF16"
"""The upper two bytes of a float32. Nothing here computes with it: it becomes FP32 as soon as it has arrived."""
BF16_BYTES: Final = 2
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


__all__ = ["BF16", "BF16_BYTES", "BYTES", "KNOWN_NAMES", "NAME_OF", "NUMERIC", "widened"]
