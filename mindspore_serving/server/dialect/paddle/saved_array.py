r"""Arrays as `numpy.save` writes them, from strangers: never pickled objects, and no memory beyond what was sent.

    \x93NUMPY | version, 2 bytes | size of the header, 2 or 4 bytes, little-endian | header | elements

    {'descr': '<f4', 'fortran_order': False, 'shape': (1, 13), }

The header is text of this form. NumPy reads it as Python, which takes strangers' text for more than it should.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any, Final

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.service.elements import check_shape
from mindspore_serving.tensor import DATA_TYPE_OF, Array

_MAGIC: Final = b"\x93NUMPY"
_SIZE_BYTES: Final = {(1, 0): 2, (2, 0): 4}
"""Bytes of the size of the header, by version."""
_MOST_HEADER: Final = 1000
"""Bytes of a header: that of an array with 32 dimensions has half of it."""
_HEADER: Final = re.compile(
    rb"\{'descr': '([<>|])([a-zA-Z]\d{0,5})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*"
)


def read_saved_array(name: str, data: bytes | memoryview) -> Array:
    """An array.

    Args:
        name: Of the input, for error texts.
        data: As `numpy.save` has written it.

    Returns:
        In C order and little-endian, of a data type that a method may have.

    Raises:
        InvalidInput: It is none, or of objects or another type that no method has.
    """
    header, start = _header_of(name, bytes(data[: _MOST_HEADER + 12]))
    order, kind, fortran, sizes = header.groups()
    dtype = _dtype_of(name, (order + kind).decode())
    shape = [int(size[:20]) for size in sizes.replace(b" ", b"").split(b",") if size]
    check_shape(name, shape)
    if len(data) - start != prod(shape) * dtype.itemsize:
        raise InvalidInput(
            f"Input '{name}' has {len(data) - start} bytes of elements, expected {prod(shape) * dtype.itemsize}: its "
            f"shape is {excerpt(str(shape))}"
        )
    flat: Array = np.frombuffer(data, dtype, offset=start)
    if dtype.kind == "b" and flat.size and flat.view(np.uint8).max() > 1:
        raise InvalidInput(f"Input '{name}' has a bool that is neither 0 nor 1")
    array = flat.reshape(shape, order="F" if fortran == b"True" else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("<")).reshape(shape)


def _header_of(name: str, beginning: bytes) -> tuple[re.Match[bytes], int]:
    """The header, and where the elements begin.

    Raises:
        InvalidInput: There is none.
    """
    version = tuple(beginning[6:8])
    if not beginning.startswith(_MAGIC) or version not in _SIZE_BYTES:
        raise InvalidInput(
            f"Input '{name}' is no array as numpy.save writes it: it begins with {beginning[:8]!r}"
        )
    begin = 8 + _SIZE_BYTES[version]
    start = begin + int.from_bytes(beginning[8:begin], "little")
    found = _HEADER.fullmatch(beginning, begin, start) if start <= len(beginning) else None
    if found is None:
        raise InvalidInput(
            f"Input '{name}' is no array as numpy.save writes it: its header is {beginning[begin : begin + 80]!r}"
        )
    return found, start


def _dtype_of(name: str, text: str) -> np.dtype[Any]:
    """The type of elements.

    Raises:
        InvalidInput: No method has it.
    """
    try:
        dtype = np.dtype(text)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.newbyteorder("<") not in DATA_TYPE_OF:
        raise InvalidInput(
            f"Input '{name}' is an array of '{text}', expected numbers or bool: objects and text are not read"
        )
    return dtype
