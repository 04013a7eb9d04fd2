"""Outputs of a method become what its servable_config.py declares, so that what metadata says of them is true.

Functions give back bytes as they got them, as arrays of uint8, and lists of Python floats, which are float64 by
themselves. Each of these has a declared counterpart. What has none fails, with both in the text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mindspore_serving.errors import StageError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.worker.values import Values
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import NUMPY_OF, Array, ColumnData, DataType, Specs, TensorSpec


def bytes_as_declared(values: Sequence[Values], types: Sequence[TensorType]) -> list[Values]:
    """Values with bytes or text where these are declared, and where they are 1-D arrays of uint8.

    Args:
        values: One for each output.
        types: What is declared of each.
    """
    return [
        Values(value.count, objects=list(map(_READERS[known.dtype], value.objects())))
        if known.dtype in _READERS and not isinstance(value.column, list)
        else value
        for value, known in zip(values, types, strict=True)
    ]


def _as_bytes(value: Any) -> Any:
    is_content = type(value) is np.ndarray and value.dtype == np.uint8 and value.ndim == 1
    return value.tobytes() if is_content else value


def _as_text(value: Any) -> Any:
    """The text of UTF-8; what is no UTF-8 stays what it is."""
    content = _as_bytes(value)
    if isinstance(content, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode()
    return value


_READERS = {DataType.BYTES: _as_bytes, DataType.STRING: _as_text}


def rows_as_declared(rows: Rows, types: Sequence[TensorType]) -> Group:
    """Rows with the numbers that are declared, or their failure.

    Args:
        rows: Outputs of a method.
        types: What is declared of each.
    """
    if _fit(rows.specs, types):
        return rows
    specs, columns = [], []
    try:
        for spec, column, known in zip(rows.specs, rows.columns, types, strict=True):
            converted = column if _fits(spec, known) else _converted(spec, column, known)
            specs.append(spec._replace(dtype=known.dtype) if converted is not column else spec)
            columns.append(converted)
    except StageError as error:
        return FailedRows(error.failure(), rows.count)
    return Rows(tuple(specs), tuple(columns), rows.count)


def _fit(specs: Specs, types: Sequence[TensorType]) -> bool:
    return all(map(_fits, specs, types))


def _fits(spec: TensorSpec, known: TensorType) -> bool:
    return not known.declared or (spec.dtype is known.dtype and known.takes(spec.shape))


def _converted(spec: TensorSpec, column: ColumnData, known: TensorType) -> Array:
    """A column of numbers as those that are declared: of the same kind, or of one that holds all of them.

    Raises:
        StageError: They are something else, of another shape, or too large.
    """
    got = TensorType(*spec).text
    if isinstance(column, list) or known.dtype.is_text or not known.takes(spec.shape):
        raise StageError(f"Output '{spec.name}' is {got}, but is declared as {known.text}")
    dtype = NUMPY_OF[known.dtype]
    if not np.can_cast(column.dtype, dtype, "same_kind"):
        raise StageError(f"Output '{spec.name}' is {got}, but is declared as {known.text}")
    with np.errstate(over="ignore"):
        converted: Array = column.astype(dtype)
    if _changed(column, converted):
        raise StageError(
            f"Output '{spec.name}' is {got}, and has numbers that are too large for {known.text}, as it is declared"
        )
    return converted


def _changed(before: Array, after: Array) -> bool:
    """Whether a number became another one, but for rounding."""
    if after.dtype.kind in "iu":
        return bool((before != after).any())
    return bool((np.isfinite(before) & ~np.isfinite(after)).any())
