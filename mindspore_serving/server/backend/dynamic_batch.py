"""Models whose first dimension varies, and what to try a model with while it loads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.tensor import NUMPY_OF, Array, TensorSpec


def varies(spec: TensorSpec) -> bool:
    """Whether the first dimension of an input or output is dynamic."""
    return spec.shape[:1] == (-1,)


def check_dynamic_inputs(inputs: Sequence[TensorSpec], request: LoadRequest) -> None:
    """Refuse a dynamic first dimension that is not the batch: its size would be anybody's guess.

    Raises:
        StartUpError: There is one; names the input and its shape.
    """
    for index, spec in enumerate(inputs):
        if varies(spec) and (not request.with_batch_dim or index in request.without_batch_dim_inputs):
            raise StartUpError(
                f"The shape of model input {index} is invalid, shape: {list(spec.shape)}, a dynamic dimension must be "
                f"the batch, but with_batch_dim is {request.with_batch_dim} and without_batch_dim_inputs is "
                f"{list(request.without_batch_dim_inputs)}"
            )


def rows_to_try(max_batch_size: int) -> list[int]:
    """Rows of the batches to try a model with whose batch is dynamic: only several runs tell what varies."""
    return sorted({1, min(2, max_batch_size)})


def sample_of(spec: TensorSpec, rows: int) -> Array:
    """Values that suit most models: fractions below 1, in no order, for floats; 0, always a good index, for others.

    Args:
        spec: The input.
        rows: First dimension where that varies.
    """
    shape = (rows, *spec.shape[1:]) if varies(spec) else spec.shape
    dtype = NUMPY_OF[spec.dtype]
    if dtype.kind != "f":
        return np.zeros(shape, dtype)
    return np.asarray(np.random.default_rng(0).random(shape)).astype(dtype)


def agree(one: Array, other: Array) -> bool:
    """Whether two outputs are the same but for rounding."""
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
