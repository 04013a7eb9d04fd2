"""Replies of `:predict`, in the form in which the request came.

| form | one output | several |
|---|---|---|
| row | `{"predictions": [value, ...]}` | `{"predictions": [{"y": value, "z": value}, ...]}` |
| column | `{"outputs": [value, ...]}` | `{"outputs": {"y": [value, ...], "z": [value, ...]}}` |

A number of float32 is written with as many digits as it needs. What is not finite is `NaN`, `Infinity` or `-Infinity`:
no JSON, but what TensorFlow Serving writes. Bytes, and all text of an output whose name ends in `_bytes`, are
`{"b64": string}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
import pybase64

from mindspore_serving.json_text import float_text
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.kserve_v1.request_body import ROW_FORM
from mindspore_serving.tensor import ColumnData, DataType, TensorSpec

BYTES_SUFFIX: Final = "_bytes"
_FLOATS: Final = frozenset((DataType.FLOAT16, DataType.FLOAT32, DataType.FLOAT64))
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def encode_reply(blocks: Sequence[Rows], form: str) -> bytes:
    """The body of a reply.

    Args:
        blocks: The results of all rows, in order.
        form: `ROW_FORM` or `COLUMN_FORM`.
    """
    columns: dict[str, list[Any]] = {spec.name: [] for spec in blocks[0].specs}
    for block in blocks:
        for spec, column in zip(block.specs, block.columns, strict=True):
            columns[spec.name] += _json_values(spec, column)
    count = sum(block.count for block in blocks)
    document = {form: _by_row(columns, count) if form == ROW_FORM else _by_column(columns)}
    return orjson.dumps(document, option=_OPTIONS)


def _by_row(columns: dict[str, list[Any]], count: int) -> list[Any]:
    if len(columns) == 1:
        return next(iter(columns.values()))
    if not columns:
        return [{} for _ in range(count)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _by_column(columns: dict[str, list[Any]]) -> Any:
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _json_values(spec: TensorSpec, column: ColumnData) -> list[Any]:
    """What orjson writes for the value of each row."""
    if isinstance(column, list):
        return _texts(spec, column)
    values = list(np.ascontiguousarray(column))
    if spec.dtype in _FLOATS:
        finite = np.isfinite(column).reshape(len(column), -1).all(axis=1)
        for at in np.flatnonzero(~finite).tolist():
            values[at] = float_text(np.asarray(values[at]))
    return values


def _texts(spec: TensorSpec, column: Sequence[bytes]) -> list[Any]:
    values: list[Any]
    if spec.dtype is DataType.BYTES or spec.name.endswith(BYTES_SUFFIX):
        values = [{"b64": pybase64.b64encode_as_string(value)} for value in column]
    else:
        values = [value.decode() for value in column]
    return [[value] for value in values] if spec.shape else values
