"""Whether arrays are what a graph takes: a strict check before a backend runs them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType, TensorSpec, fits

_TEXT = np.dtype(object)
_LONGEST_SHAPE = 100
_LONGEST_NAME = 100


class WrongInput(InvalidInput):
    """An input of a model is not what the model takes.

    Its text begins with that of MindSpore Serving, and goes on with what was got, what is expected and what to do.

    Args:
        index: Which input of the model.
        problem: What is wrong, in the words of MindSpore Serving.
        got: Dtype and shape that were given.
        expected: Dtype and shape that the model takes; its name is the model's for the input.
    """

    def __init__(self, index: int, problem: str, got: TensorSpec, expected: TensorSpec) -> None:
        self.index = index
        self._problem = problem
        self._got = got
        self._expected = expected
        super().__init__(self._text(expected.name))

    def text_for_client(self, name: str) -> str:
        """What a client reads that gave the value as this input of a method."""
        as_json = (self._got.dtype, self._expected.dtype) == (DataType.INT32, DataType.FLOAT32)
        return self._text(name) + ", or in JSON 1.0 instead of 1" * as_json

    def text_for_servable(self, giver: str) -> str:
        """What is reported where a stage gave the value.

        Args:
            giver: The stage.
        """
        return self._text(self._expected.name, f" from {giver}")

    def _text(self, name: str, given: str = "") -> str:
        name = excerpt(name, _LONGEST_NAME)
        remedy = _remedy(self._got, self._expected, name if name.isidentifier() else "x")
        return (
            f"{self._problem}; input {self.index} '{name}' is {_kind(self._got)}{given}, expected "
            f"{_kind(self._expected)}{remedy}"
        )


class InputCheck:
    """Checks the arrays of one call against a signature.

    Args:
        signature: The graph's signature; -1 takes a dimension of any size from 1 on.
        max_batch_size: Most rows where the first dimension is dynamic.
        without_batch: Indices of inputs whose first dimension does not count rows, from `LoadRequest.without_batch`.
    """

    def __init__(
        self, signature: GraphSignature, max_batch_size: int, without_batch: Collection[int] = ()
    ) -> None:
        self._inputs = [(numpy_of(spec.dtype), spec.shape, spec) for spec in signature.inputs]
        self._max_batch_size = max_batch_size
        self._without_batch = without_batch

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
                raise wrong_dtype(index, _spec_of(array), spec)
            if array.shape != shape:
                rows = self._dynamic_rows(index, array, spec, rows)
        return rows

    def _dynamic_rows(self, index: int, array: Array, spec: TensorSpec, rows: int) -> int:
        batched = spec.shape[:1] == (-1,) and index not in self._without_batch
        own, wanted = (array.shape[1:], spec.shape[1:]) if batched else (array.shape, spec.shape)
        if array.ndim != len(spec.shape) or not takes(wanted, own):
            raise wrong_shape(index, _spec_of(array), spec)
        if not batched:
            return rows
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


def takes(wanted: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a model takes a shape: in a dynamic dimension it takes any size but 0, of which many kernels crash."""
    return shape == wanted or (0 not in shape and fits(shape, wanted))


def numpy_of(dtype: DataType) -> np.dtype[Any]:
    """The dtype of arrays that a graph takes and gives; text is an object each, `str` or `bytes`."""
    return _TEXT if dtype.is_text else NUMPY_OF[dtype]


def contiguous(arrays: Sequence[Array]) -> list[Array]:
    """The arrays in the layout that libraries take: C-contiguous, aligned and writable, copied only where need be."""
    return [array if array.flags.carray else np.require(array, requirements=["C", "A"]) for array in arrays]


def wrong_dtype(index: int, got: TensorSpec, expected: TensorSpec) -> WrongInput:
    """An input of another data type than the model's."""
    problem = (
        f"Given model input {index} data type {got.dtype.label} not match the data type {expected.dtype.label} defined "
        "in model"
    )
    return WrongInput(index, problem, got, expected)


def wrong_shape(index: int, got: TensorSpec, expected: TensorSpec) -> WrongInput:
    """An input of another shape than the model's."""
    problem = f"Given model input {index} shape {_shape(got)} not match the shape {_shape(expected)} defined in model"
    return WrongInput(index, problem, got, expected)


def _spec_of(array: Array) -> TensorSpec:
    return TensorSpec("", DATA_TYPE_OF.get(array.dtype, DataType.UNKNOWN), array.shape)


def _kind(spec: TensorSpec) -> str:
    """Dtype and shape as users write them: `float32 [2, 3]`."""
    if spec.dtype.is_text:
        return "str" if spec.dtype is DataType.STRING else "bytes"
    return f"{spec.dtype.name.lower()} {_shape(spec)}"


def _shape(spec: TensorSpec) -> str:
    """A shape in an error text; -1 is a dimension of any size."""
    return excerpt(str(list(spec.shape)), _LONGEST_SHAPE)


def _remedy(got: TensorSpec, expected: TensorSpec, name: str) -> str:
    """What to do about it; "" where there is no general advice."""
    if got.dtype.is_text or expected.dtype.is_text:
        return ""
    if got.dtype is not expected.dtype:
        return f"; give {name}.astype(np.{NUMPY_OF[expected.dtype].type.__name__})"
    if fits(got.shape[1:], expected.shape):
        return "; an instance has no batch dimension: give each row as an instance of its own"
    return ""
