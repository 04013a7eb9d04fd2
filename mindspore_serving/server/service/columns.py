"""Instances whose inputs came as whole tensors, and outputs that leave as such, in dialects that know tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.service.elements import NAME_OF
from mindspore_serving.tensor import ColumnData, TensorSpec, join_columns

_MOST_REPEATED: Final = 1 << 29
"""Bytes that a value of all rows may come to: as many as the largest message has."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input of all instances of a request.

    Attributes:
        spec: What one instance's value looks like.
        data: The values.
        count: Instances; None where they have one value in common, of which `data` holds one.
    """

    spec: TensorSpec
    data: ColumnData
    count: int | None


def rows_of(columns: Sequence[Column]) -> Rows:
    """All instances of a request; of count 0 where the tensors have no rows.

    Args:
        columns: Of all inputs, in the order of the method.

    Raises:
        InvalidInput: The inputs disagree, or a value that instances have in common would be too large for each.
    """
    count = _count_of(columns)
    return Rows(
        tuple([column.spec for column in columns]),
        tuple([column.data if column.count is not None else _repeated(column, count) for column in columns]),
        count,
    )


def output_column(blocks: Sequence[Rows], place: int, name: str) -> tuple[TensorSpec, ColumnData]:
    """All rows of one output.

    Args:
        blocks: The results in order, at least one block.
        place: Which output of the method it is.
        name: What it is called.

    Raises:
        InvalidInput: They differ.
    """
    first = blocks[0].specs[place]
    if len(blocks) == 1:  # nearly always
        return first, blocks[0].columns[place]
    row = 0
    for block in blocks:
        spec = block.specs[place]
        if spec != first:
            raise InvalidInput(
                f"Output '{name}' is {_described(first)} in row 0, but {_described(spec)} in row {row}: one "
                "tensor cannot hold both; send these rows in different requests"
            )
        row += block.count
    return first, join_columns([block.columns[place] for block in blocks])


def _count_of(columns: Sequence[Column]) -> int:
    """How many instances there are.

    Raises:
        InvalidInput: The inputs disagree.
    """
    counts = {column.count for column in columns if column.count is not None}
    if len(counts) > 1:
        rows = ", ".join(
            f"'{column.spec.name}' has {column.count}" for column in columns if column.count is not None
        )
        raise InvalidInput(f"The inputs should have the same number of rows, but {rows}")
    return counts.pop() if counts else 1


def _repeated(column: Column, count: int) -> ColumnData:
    """A value that all instances have in common, once for each of them, without a copy.

    Raises:
        InvalidInput: They would be too large for the workers.
    """
    [value] = column.data
    size = count * (len(value) if isinstance(value, bytes) else value.nbytes)
    if size > _MOST_REPEATED:
        raise InvalidInput(
            f"Input '{column.spec.name}' is one value for {count} rows, which come to {size} bytes, expected are at "
            f"most {_MOST_REPEATED}; send fewer rows"
        )
    if isinstance(column.data, list):
        return column.data * count
    return np.broadcast_to(column.data[0], (count, *column.spec.shape))


def _described(spec: TensorSpec) -> str:
    return f"{NAME_OF[spec.dtype]} {list(spec.shape)}"
