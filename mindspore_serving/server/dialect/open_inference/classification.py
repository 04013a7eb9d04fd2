"""The classification extension: the k largest values of each row, and where in the row they are.

A row becomes k strings `value:index`, the largest value first. Of more than there are values, all are given.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np

from mindspore_serving.server.host.other_thread import in_thread
from mindspore_serving.tensor import Array

_AT_ONCE = 1 << 14
"""Values that are sorted without a turn of others: about a millisecond."""


async def classes_of(values: Array, most: int) -> list[bytes]:
    """The classes of rows.

    Args:
        values: Numbers of shape [rows, values of a row].
        most: How many classes each row gets at most.

    Returns:
        For each row in order, as many as it has.
    """
    texts: list[bytes] = []
    rows = max(1, _AT_ONCE // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        if start:
            await asyncio.sleep(0)
        part = values[start : start + rows]
        if part.shape[1] > _AT_ONCE:  # a row that takes longer than a turn is sorted beside the event loop
            order = await in_thread(partial(_descending, part))
        else:
            order = _descending(part)
        for row, indices in zip(part, order[:, :most], strict=True):
            for at in range(0, len(indices), _AT_ONCE):
                if at:
                    await asyncio.sleep(0)
                found = indices[at : at + _AT_ONCE]
                texts += [_text(value, index) for value, index in zip(row[found], found, strict=True)]
    return texts


def _descending(values: Array) -> Array:
    """Indices of each row from the largest value to the smallest; of equals the first one first, NaN behind all."""
    if values.dtype.kind == "f":
        return np.argsort(-values, axis=1, kind="stable")  # NumPy has NaN last
    # Sorted upwards from behind, and read from behind: so equals keep their order.
    return values.shape[1] - 1 - np.argsort(values[:, ::-1], axis=1, kind="stable")[:, ::-1]


def _text(value: Any, index: int) -> bytes:
    number = f"{value:f}" if value.dtype.kind == "f" else str(int(value))
    return f"{number}:{index}".encode()
