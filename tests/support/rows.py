"""Small blocks of instances for tests."""

from collections.abc import Mapping, Sequence

import numpy as np

from mindspore_serving.rows import Rows
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType, TensorSpec


def rows_of(**columns: Array) -> Rows:
    """Instances from one array of shape [k, ...] per input."""
    specs = tuple(
        TensorSpec(name, DATA_TYPE_OF[array.dtype], array.shape[1:]) for name, array in columns.items()
    )
    return Rows(specs, tuple(columns.values()), len(next(iter(columns.values()))))


def numbered(count: int, start: int = 0) -> Rows:
    """Instances whose input x is their number."""
    return rows_of(x=np.arange(start, start + count, dtype=np.float32))


def texts(values: Sequence[str], name: str = "x") -> Rows:
    """Instances with one STRING input."""
    return Rows(
        (TensorSpec(name, DataType.STRING, ()),), ([value.encode() for value in values],), len(values)
    )


def numbers_in(groups: Sequence[Rows]) -> list[float]:
    """The values of the first column of some blocks, one after the other."""
    return [float(value) for group in groups for value in group.columns[0]]


def model_types(types: Mapping[str, DataType]) -> tuple[TensorType, ...]:
    """Inputs of a method whose data types the files of models tell."""
    return tuple(TensorType(name, dtype) for name, dtype in types.items())
