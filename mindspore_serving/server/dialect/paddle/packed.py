"""Packed fields of protobuf, to arrays and back, without an object for each element.

Numbers of fixed size lie there as in memory. Integers and bools are varints: seven bits in each byte, the lowest first,
and in all bytes but the last the eighth bit. A negative one is written as the 64 bits of its two's complement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from mindspore_serving.tensor import Array

_AT_ONCE: Final = 1 << 16
"""Bytes of varints that are read without a turn of others, and elements that are written: a millisecond or two."""
_LONGEST: Final = 10
_MORE: Final = 0x80


def decoded_varints(data: bytes | memoryview) -> Iterator[Array]:
    """The integers of a packed field, some at a time.

    Args:
        data: Varints.

    Yields:
        uint64, in order. Those of a negative number are its two's complement.

    Raises:
        ValueError: The last one is cut short, or one has more than ten bytes.
    """
    all_bytes = np.frombuffer(data, np.uint8)
    start = 0
    while start < len(all_bytes):
        part = all_bytes[start : start + _AT_ONCE]
        ends = np.flatnonzero(part < _MORE)
        if not len(ends):
            raise ValueError("a varint without an end")
        part = part[: ends[-1] + 1]
        begins = np.concatenate(([0], ends[:-1] + 1))
        lengths = ends - begins + 1
        if lengths.max() > _LONGEST:
            raise ValueError("a varint of more than ten bytes")
        numbers = np.zeros(len(ends), np.uint64)
        for place in range(int(lengths.max())):
            has = lengths > place
            bits = (part[begins[has] + place] & 0x7F).astype(np.uint64)
            numbers[has] |= bits << np.uint64(7 * place)
        yield numbers
        start += len(part)


def encoded_varints(numbers: Array) -> Iterator[bytes]:
    """Integers as varints, some at a time.

    Args:
        numbers: Integers or bools of one dimension, signed ones of any size.

    Yields:
        Bytes of a packed field.
    """
    wide: Any = np.int64 if numbers.dtype.kind == "i" else np.uint64
    for start in range(0, len(numbers), _AT_ONCE):
        part = numbers[start : start + _AT_ONCE].astype(wide).view(np.uint64)
        most = int(part.max())
        places = max(1, -(-most.bit_length() // 7))
        shifts = np.arange(places, dtype=np.uint64) * np.uint64(7)
        digits = part[:, np.newaxis] >> shifts
        written = (digits & np.uint64(0x7F)).astype(np.uint8)
        more = np.zeros(digits.shape, np.bool_)
        more[:, :-1] = digits[:, 1:] > 0
        written[more] |= _MORE
        kept = np.ones(digits.shape, np.bool_)
        kept[:, 1:] = digits[:, 1:] > 0
        yield written[kept].tobytes()
