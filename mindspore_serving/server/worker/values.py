"""One value of many instances inside a worker, as a column for models or as objects for Python functions.

A value starts as one of the two and becomes the other when a stage needs it. Objects that a Python function returned
are handed to later Python functions as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, cast

import numpy as np

from mindspore_serving.errors import ServingError, StageError, text_of
from mindspore_serving.rows import Rows
from mindspore_serving.tensor import (
    DATA_TYPE_OF,
    Array,
    ColumnData,
    TensorSpec,
    encode_value,
    join_columns,
    python_values,
    runs_of_equal,
)

_SMALL_ARRAY_BYTES = 1024


class Values:
    """One value of k instances.

    Args:
        count: k.
        spec: Dtype and shape, if all instances agree and `column` is given; the name is not used.
        column: The values as a column.
        objects: The values as Python objects; one of `column` and `objects` must be given.
    """

    __slots__ = ("_objects", "column", "count", "spec")

    def __init__(
        self,
        count: int,
        spec: TensorSpec | None = None,
        column: ColumnData | None = None,
        objects: list[Any] | None = None,
    ) -> None:
        self.count = count
        self.spec = spec
        self.column = column
        self._objects = objects

    def __repr__(self) -> str:
        return f"<Values of {self.count} instances, {self.spec or 'objects'}>"

    def objects(self) -> list[Any]:
        """The values as stage functions see them, the very same objects at every call."""
        if self._objects is None:
            assert self.spec is not None and self.column is not None
            self._objects = python_values(self.spec, self.column)
        return self._objects

    def with_objects(self, objects: list[Any]) -> Values:
        """The same values as other objects; text and bytes, which functions cannot change, keep their column."""
        if isinstance(self.column, list):
            return Values(self.count, self.spec, self.column, objects)
        return Values(self.count, objects=objects)

    def take(self, start: int, stop: int) -> Values:
        """Values of instances start..stop-1."""
        if start == 0 and stop == self.count:
            return self
        column = None if self.column is None else self.column[start:stop]
        objects = None if self._objects is None else self._objects[start:stop]
        return Values(stop - start, self.spec, column, objects)


def join_values(parts: Sequence[Values]) -> Values:
    """One value out of several, in order."""
    first = parts[0]
    if len(parts) == 1:
        return first
    count = sum(part.count for part in parts)
    columns = [part.column for part in parts if part.column is not None]
    if len(columns) == len(parts) and all(part.spec == first.spec for part in parts):
        untouched = all(part._objects is None for part in parts)
        objects = None if untouched else [value for part in parts for value in part.objects()]
        return Values(count, first.spec, join_columns(columns), objects)
    return Values(count, objects=[value for part in parts for value in part.objects()])


def as_rows(names: Sequence[str], values: Sequence[Values], count: int) -> list[Rows]:
    """Values of the same instances as blocks of columns.

    Args:
        names: Name of each value.
        values: The values, each of `count` instances.
        count: Number of instances.

    Returns:
        Blocks in order; neighbours that agree in dtypes and shapes share one.

    Raises:
        StageError: A Python object cannot be a tensor.
    """
    runs = list(map(_runs_of, names, values))
    if sum(map(len, runs)) == len(runs):  # one each, the common case
        specs, columns = zip(*chain.from_iterable(runs), strict=True) if runs else ((), ())
        return [Rows(specs, columns, count)]
    return _split_at_runs(runs, count)


def rows_or_errors(
    names: Sequence[str], values: Sequence[Values], count: int
) -> Sequence[Rows | ServingError]:
    """As `as_rows`, but where a value cannot be a tensor, or its methods raise, only its own instance has an error.

    Returns:
        Blocks, and errors of one instance each, in order.
    """
    try:
        return as_rows(names, values, count)
    except BaseException as error:  # methods of the user's objects are called, which may raise anything
        if count == 1:
            return [_told(error)]
    return [
        outcome
        for i in range(count)
        for outcome in rows_or_errors(names, [value.take(i, i + 1) for value in values], 1)
    ]


def _told(error: BaseException) -> ServingError:
    if isinstance(error, ServingError):
        return error
    told = StageError(f"Get illegal result data, {text_of(error)}")
    told.__cause__ = error
    return told


def _named(name: str, spec: TensorSpec | None) -> TensorSpec:
    assert spec is not None
    return spec if spec.name == name else TensorSpec(name, spec.dtype, spec.shape)


def _runs_of(name: str, value: Values) -> list[tuple[TensorSpec, ColumnData]]:
    """One value as runs of neighbours that agree in dtype and shape."""
    if value.column is not None:
        return [(_named(name, value.spec), value.column)]
    alike = _arrays_alike(value.objects())
    if alike is not None:
        return [(TensorSpec(name, DATA_TYPE_OF[alike.dtype], alike.shape[1:]), alike)]
    encoded = [encode_value(item) for item in value.objects()]
    specs = [TensorSpec(name, dtype, shape) for dtype, shape, _ in encoded]
    runs = []
    for start, stop in runs_of_equal(specs):
        data: list[Any] = [item[2] for item in encoded[start:stop]]
        runs.append((specs[start], data if specs[start].dtype.is_text else np.stack(data)))
    return runs


def _arrays_alike(objects: Sequence[Any]) -> Array | None:
    """Arrays of one dtype and shape as one column, the common case; None for anything else."""
    if type(objects[0]) is not np.ndarray:
        return None
    first: Array = objects[0]
    dtype, shape = first.dtype, first.shape
    if dtype not in DATA_TYPE_OF:
        return None
    if len(objects) == 1:
        return first.reshape(1, *shape)
    if any(type(item) is not np.ndarray or item.dtype != dtype or item.shape != shape for item in objects):
        return None
    if first.nbytes > _SMALL_ARRAY_BYTES:
        return cast("Array", np.stack(objects))
    # For small arrays, copying bytes twice is cheaper than what np.stack does for each array.
    data = bytearray().join([item.tobytes() for item in objects])  # writable, unlike bytes
    return np.frombuffer(data, dtype).reshape(len(objects), *shape)


def _split_at_runs(columns: Sequence[Sequence[tuple[TensorSpec, ColumnData]]], count: int) -> list[Rows]:
    """Blocks that end wherever one of the columns changes its dtype or shape."""
    ends = {count}
    for runs in columns:
        at = 0
        for _, data in runs:
            at += len(data)
            ends.add(at)
    blocks, start = [], 0
    for stop in sorted(ends):
        cells = [_cell(runs, start, stop) for runs in columns]
        blocks.append(Rows(tuple(spec for spec, _ in cells), tuple(data for _, data in cells), stop - start))
        start = stop
    return blocks


def _cell(
    runs: Sequence[tuple[TensorSpec, ColumnData]], start: int, stop: int
) -> tuple[TensorSpec, ColumnData]:
    """Rows start..stop-1 of a column; they lie within one run."""
    at = 0
    for spec, data in runs:
        if start < at + len(data):
            return spec, data[start - at : stop - at]
        at += len(data)
    raise IndexError(f"rows {start} to {stop} lie outside a column of {at}")
