"""What a graph is tried with while it loads: batches of made-up values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import SIZES_TO_TRY, rows_to_try, sample_of, varies
from mindspore_serving.server.backend.runtime_options import Number, OptionKind, check_options
from mindspore_serving.tensor import Array, TensorSpec

_SIZE = "sample_size"
OPTIONS: Mapping[str, OptionKind] = {_SIZE: Number(1)}
"""The options of `declare_model(..., runtime_options=...)` for MindIR models; docs/servable-config.md says what they
do."""


class Samples:
    """Batches for one graph.

    Args:
        inputs: Of the graph.
        request: How it is declared.

    Attributes:
        dynamic_batch: Whether the first dimension varies, and is the batch.
        dynamic: Whether any dimension varies.
        rows: Rows of each batch; 0 stands for the fixed shapes.
        sizes: Sizes of dynamic dimensions that are not the batch, to try in this order: which ones the graph takes is
            not known before it has run.

    Raises:
        StartUpError: An option is not known, or not right.
    """

    def __init__(self, inputs: Sequence[TensorSpec], request: LoadRequest) -> None:
        options = check_options(request.options, OPTIONS, "MindSpore")
        unbatched = request.without_batch(len(inputs))
        self._inputs = [(spec, index not in unbatched) for index, spec in enumerate(inputs)]
        self.dynamic = any(-1 in spec.shape for spec in inputs)
        self.dynamic_batch = any(batched and varies(spec) for spec, batched in self._inputs)
        self.rows = rows_to_try(request.max_batch_size) if self.dynamic_batch else [0]
        self.sizes: Sequence[int] = (1,)
        if any(-1 in spec.shape[batched:] for spec, batched in self._inputs):
            self.sizes = (int(options[_SIZE]),) if _SIZE in options else SIZES_TO_TRY

    def batches(self, size: int) -> list[list[Array]]:
        """Arrays for each number of rows, with one of `sizes`."""
        return [
            [sample_of(spec, rows, size, batched) for spec, batched in self._inputs] for rows in self.rows
        ]
