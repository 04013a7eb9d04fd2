"""Whether arrays are what a graph takes: a strict check before a backend runs them."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.errors import InvalidInput
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType, TensorSpec


class InputCheck:
    """Checks the arrays of one call against a signature.

    Args:
        signature: The graph's signature; -1 as first dimension takes any number of rows.
        max_batch_size: Most rows where the first dimension is dynamic.
    """

    def __init__(self, signature: GraphSignature, max_batch_size: int) -> None:
        self._inputs = [(NUMPY_OF[spec.dtype], spec.shape, spec) for spec in signature.inputs]
        self._max_batch_size = max_batch_size

    def rows_of(self, arrays: Sequence[Array]) -> int:
        """Check dtypes and shapes.

        Args:
            arrays: One per input.

        Returns:
            Number of rows of the dynamic batch; 0 where no first dimension is dynamic.

        Raises:
            InvalidInput: An array does not fit; names the input, what it is and what was expected.
        """
        if len(arrays) != len(self._inputs):
            raise InvalidInput(
                f"Given model inputs size {len(arrays)} not match the inputs size {len(self._inputs)} defined in model"
            )
        rows = 0
        for index, (array, (dtype, shape, spec)) in enumerate(zip(arrays, self._inputs, strict=True)):
            if array.dtype != dtype:
                raise _wrong_dtype(index, array, spec)
            if array.shape != shape:
                rows = self._dynamic_rows(index, array, spec, rows)
        return rows

    def _dynamic_rows(self, index: int, array: Array, spec: TensorSpec, rows: int) -> int:
        if spec.shape[:1] != (-1,) or array.ndim != len(spec.shape) or array.shape[1:] != spec.shape[1:]:
            raise InvalidInput(
                f"Given model input {index} shape {list(array.shape)} not match the shape {list(spec.shape)} "
                "defined in model"
            )
        count = array.shape[0]
        if not 1 <= count <= self._max_batch_size:
            raise InvalidInput(
                f"Given model input {index} has {count} rows, expected 1 to {self._max_batch_size}"
            )
        if rows not in (0, count):
            raise InvalidInput(
                f"Given model input {index} has {count} rows, but an input before it has {rows}"
            )
        return count


def _wrong_dtype(index: int, array: Array, spec: TensorSpec) -> InvalidInput:
    given = DATA_TYPE_OF.get(array.dtype, DataType.UNKNOWN).label
    return InvalidInput(
        f"Given model input {index} data type {given} not match the data type {spec.dtype.label} defined in model"
    )
