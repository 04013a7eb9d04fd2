"""Arrays as JSON text, while others have their turns. What is not finite is `NaN`, `Infinity` or `-Infinity`."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
import orjson

from mindspore_serving.json_text import float_text
from mindspore_serving.tensor import Array

_AT_ONCE: Final = 1 << 14
"""Elements that are written without a turn of others: a millisecond."""


async def array_text(array: Array) -> bytes:
    """Nested lists of numbers, as deep as the array has dimensions."""
    if array.size <= _AT_ONCE:
        return _text_of(array)
    if len(array) == 1:
        return b"[" + await array_text(array[0]) + b"]"
    step = max(1, _AT_ONCE * len(array) // array.size)
    parts = []
    for start in range(0, len(array), step):
        if step == 1:
            parts.append(await array_text(array[start]))
        else:
            parts.append(_text_of(array[start : start + step])[1:-1])
        await asyncio.sleep(0)
    return b"[" + b",".join(parts) + b"]"


def _text_of(array: Array) -> bytes:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return orjson.dumps(float_text(np.ascontiguousarray(array).reshape(array.shape)))
    if not array.ndim:
        return orjson.dumps(
            array.item() if array.dtype.kind != "f" else array[()], option=orjson.OPT_SERIALIZE_NUMPY
        )
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
