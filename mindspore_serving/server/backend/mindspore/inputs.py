"""Arrays as MindSpore's tensors, for one run after the other.

Making and dropping a tensor costs more than the copy of a small array. So on CPU, where a graph reads the memory of its
inputs at each run, the tensors of small inputs are made once and filled anew. Other devices could not be tried: one may
copy an input only when it first sees its tensor, and compute with the first one for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from mindspore_serving.tensor import NUMPY_OF, Array, TensorSpec

_MOST_KEPT_BYTES = 16 * 1024
"""Of all inputs together; a copy of so much takes less time than it saves (ADR 5)."""

Inputs: TypeAlias = Callable[[Sequence[Array]], tuple[Any, ...]]
"""Gives tensors for the C-contiguous arrays of one run; they hold until the next run."""


class NewTensors:
    """Tensors on the memory of the arrays, made for each run.

    Args:
        from_numpy: MindSpore's way from an array to a tensor without a copy.
    """

    def __init__(self, from_numpy: Callable[[Array], Any]) -> None:
        self._from_numpy = from_numpy

    def __call__(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        """New tensors."""
        return tuple(map(self._from_numpy, arrays))


class KeptTensors:
    """The same tensors for each run, on memory that is filled with the arrays.

    Args:
        from_numpy: MindSpore's way from an array to a tensor without a copy.
        specs: Of the inputs; none has a dynamic dimension.
    """

    def __init__(self, from_numpy: Callable[[Array], Any], specs: Sequence[TensorSpec]) -> None:
        self._arrays = [np.zeros(spec.shape, NUMPY_OF[spec.dtype]) for spec in specs]
        self._tensors = tuple(map(from_numpy, self._arrays))

    def __call__(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        """The tensors, filled."""
        for kept, array in zip(self._arrays, arrays, strict=True):
            kept[...] = array
        return self._tensors


def can_be_kept(specs: Sequence[TensorSpec], device_type: str) -> bool:
    """Whether the tensors of these inputs may be kept, and that pays.

    Args:
        specs: Of the inputs.
        device_type: `ascend`, `gpu` or `cpu`.
    """
    if device_type != "cpu" or any(-1 in spec.shape for spec in specs):
        return False
    return sum(_bytes_of(spec) for spec in specs) <= _MOST_KEPT_BYTES


def _bytes_of(spec: TensorSpec) -> int:
    return prod(spec.shape) * NUMPY_OF[spec.dtype].itemsize
