"""Values for who gives none: they have the right type and shape, and no meaning."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from mindspore_serving.cli.asking.wire import Value
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType

_SIDE = 64
"""Pixels of a side of the picture."""


def made_up(wanted: TensorType, size: int = 1, seed: int = 0) -> Value:
    """A value that an input takes.

    Args:
        wanted: The input; a number is made where its type is not known.
        size: Size of each dimension that may have any.
        seed: Of the numbers.
    """
    if wanted.content == "image":
        return picture()
    if wanted.dtype is DataType.BYTES:
        return b"bytes"
    if wanted.dtype is DataType.STRING:
        return "text"
    shape = [size if dim == -1 else dim for dim in wanted.shape or ()]
    dtype = NUMPY_OF[wanted.dtype or DataType.FLOAT32]
    if dtype.kind != "f":
        return np.zeros(shape, dtype)  # always a good index
    return np.asarray(np.random.default_rng(seed).random(shape)).astype(dtype)


def picture() -> bytes:
    """A PNG in three colours."""
    rows = b"".join(
        b"\0" + bytes(channel for x in range(_SIDE) for channel in (4 * x, 4 * y, 128)) for y in range(_SIDE)
    )
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
