"""Models with dynamic dimensions, and what to try a model with while it loads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, TensorSpec

SIZES_TO_TRY = (16, 64, 224, 1)
"""Sizes of a dynamic dimension that is not the batch, best first: a sequence, or a side of a picture. A model may not
run with each of them, as with a picture that is smaller than its kernels: that is no reason not to serve it."""


def varies(spec: TensorSpec) -> bool:
    """Whether the first dimension of an input or output is dynamic."""
    return spec.shape[:1] == (-1,)


def batch_varies(inputs: Sequence[TensorSpec], unbatched: Collection[int]) -> bool:
    """Whether a model takes batches of any size.

    Args:
        inputs: Of the model.
        unbatched: Indices of inputs whose first dimension is no batch.
    """
    return any(varies(spec) and index not in unbatched for index, spec in enumerate(inputs))


def check_only_batch_varies(inputs: Sequence[TensorSpec], request: LoadRequest, library: str) -> None:
    """Refuse dynamic dimensions other than the batch, for a library that cannot be trusted with them.

    Args:
        inputs: Of the model.
        request: How it is declared.
        library: Its name.

    Raises:
        StartUpError: There is one; names the input and its shape, and what to do.
    """
    without_batch = request.without_batch(len(inputs))
    for index, spec in enumerate(inputs):
        if -1 in spec.shape[index not in without_batch :]:
            raise StartUpError(
                f"The shape of model input {index} is invalid, shape: {list(spec.shape)}, a dynamic dimension must be "
                f"the batch in {library}, but with_batch_dim is {request.with_batch_dim} and without_batch_dim_inputs "
                f"is {list(request.without_batch_dim_inputs)}; export the model with fixed sizes, or run it with "
                "MindSpore or ONNX Runtime, which take any size: model_format='MindIR' or 'ONNX', without enable_lite"
            )


def rows_to_try(max_batch_size: int) -> list[int]:
    """Rows of the batches to try a model with whose batch is dynamic: only several runs tell what varies."""
    return sorted({1, min(2, max_batch_size)})


def sample_of(spec: TensorSpec, rows: int, size: int = 1, batched: bool = True) -> Array:
    """Values that suit most models: fractions below 1, in no order, for floats; 0, always a good index, for others.

    Args:
        spec: The input.
        rows: First dimension where that varies and is the batch.
        size: Size of all other dynamic dimensions, one of `SIZES_TO_TRY`.
        batched: Whether its first dimension is the batch.
    """
    sizes = [rows if batched else size, *[size] * len(spec.shape)]
    shape = [given if dim == -1 else dim for dim, given in zip(spec.shape, sizes, strict=False)]
    if spec.dtype.is_text:
        return np.full(shape, "text" if spec.dtype is DataType.STRING else b"text", object)
    dtype = NUMPY_OF[spec.dtype]
    if dtype.kind != "f":
        return np.zeros(shape, dtype)
    return np.asarray(np.random.default_rng(0).random(shape)).astype(dtype)


def agree(one: Array, other: Array) -> bool:
    """Whether two outputs are the same but for rounding."""
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)
