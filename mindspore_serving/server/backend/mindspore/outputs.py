"""What a graph gave, as arrays that share memory with nothing else.

`Tensor.asnumpy` copies nothing, but builds the array from a format string that NumPy parses in Python: 25 us, more
than the copy of a small output. So small outputs are read by `Tensor.get_bytes`, and only large ones by `asnumpy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mindspore_serving.tensor import NUMPY_OF, Array, TensorSpec

_MOST_COPIED_BYTES = 128 * 1024
"""Up to here two copies cost less than `asnumpy` (ADR 5)."""


class OutputReader:
    """Reads the tensors of a run.

    Args:
        outputs: Signature of the outputs, to which the graph keeps.
        constant: Which outputs are constants of the graph: the next run gives the same memory.
        by_bytes: Whether `get_bytes` gives what `asnumpy` gives.
    """

    def __init__(self, outputs: Sequence[TensorSpec], constant: Sequence[bool], by_bytes: bool) -> None:
        self.by_bytes = by_bytes
        self._dtypes = [NUMPY_OF[spec.dtype] for spec in outputs]
        self._constant = constant
        self._most_copied_bytes = _MOST_COPIED_BYTES if by_bytes else -1

    @classmethod
    def tried(
        cls, outputs: Sequence[TensorSpec], first: Sequence[Any], second: Sequence[Any]
    ) -> OutputReader:
        """A reader for a graph, by what two runs of it gave for the same arrays.

        Args:
            outputs: Signature of the outputs, to which the graph keeps.
            first: Tensors of one run.
            second: Tensors of the next run.
        """
        constant = [
            np.shares_memory(one.asnumpy(), two.asnumpy()) for one, two in zip(first, second, strict=True)
        ]
        reader = cls(outputs, constant, by_bytes=True)
        return reader if reader._is_right(second) else cls(outputs, constant, by_bytes=False)

    def read(self, tensors: Sequence[Any], arrays: Sequence[Array]) -> list[Array]:
        """Read the tensors before the next run.

        Args:
            tensors: One per output.
            arrays: What the graph was run with.

        Returns:
            One C-contiguous array per output, which shares memory neither with `arrays` nor with the graph.
        """
        outputs = []
        for tensor, dtype, constant in zip(tensors, self._dtypes, self._constant, strict=True):
            if tensor.nbytes <= self._most_copied_bytes:
                output: Array = np.ndarray(tensor.shape, dtype, bytearray(tensor.get_bytes()))
            else:
                output = tensor.asnumpy()
                # MindSpore gives an input, or a constant of the graph, out as it is, without a copy.
                if constant or any(np.may_share_memory(output, array) for array in arrays):
                    output = output.copy()
            outputs.append(output)
        return outputs

    def _is_right(self, tensors: Sequence[Any]) -> bool:
        """Whether reading gives the bytes that `asnumpy` gives."""
        try:
            outputs = self.read(tensors, [])
        except Exception:  # a release of MindSpore without these methods, or with others, may raise anything
            return False
        return all(map(_same, outputs, (tensor.asnumpy() for tensor in tensors)))


def tensors_of(result: Any) -> list[Any]:
    """All tensors of a result, which may be a tensor, or tuples and lists of tensors at any depth."""
    if isinstance(result, (tuple, list)):
        return [tensor for item in result for tensor in tensors_of(item)]
    return [result]


def _same(one: Array, other: Array) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
