"""Instances onto a graph that is loaded in this process: batches and padding.

A graph takes arrays of the shapes that its file declares. Instances come as columns. This module bridges the two, for
any backend: it cuts k instances into batches, pads where the graph's batch is fixed, and gives outputs back per
instance. A padded row repeats an instance of its own batch, and its outputs never leave this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mindspore_serving.errors import ServingError, StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.worker.graph_runner import GraphRunner, Outcome
from mindspore_serving.tensor import Array, TensorSpec


class ModelRunner(GraphRunner):
    """Runs instances on a graph that is loaded in this process.

    Args:
        graph: A loaded graph.
        with_batch_dim: Whether its first dimension is the batch.
        without_batch_dim_inputs: Inputs that have no batch dimension although `with_batch_dim` is set.
        max_batch_size: Largest batch, where the first dimension is dynamic.
        concurrency: Most batches that may run at a time.

    Raises:
        StartUpError: The shapes of the graph do not fit these parameters.
    """

    def __init__(
        self,
        graph: LoadedGraph,
        with_batch_dim: bool,
        without_batch_dim_inputs: Sequence[int],
        max_batch_size: int,
        concurrency: int = 1,
    ) -> None:
        self.graph = graph
        self._with_batch_dim = with_batch_dim
        self._shared_inputs = frozenset(without_batch_dim_inputs) if with_batch_dim else frozenset()
        self._max_batch_size = max_batch_size
        super().__init__(
            inputs=[self._per_instance(i, spec) for i, spec in enumerate(graph.signature.inputs)],
            outputs=graph.signature.outputs,
            batch_size=self._find_batch_size(),
            dynamic=with_batch_dim and graph.dynamic_batch,
            concurrency=concurrency,
        )

    def __repr__(self) -> str:
        return f"<ModelRunner batch {self.batch_size}, inputs {self.inputs}>"

    def _run_good(self, blocks: list[tuple[int, Rows]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for begin, count, columns in self._joined(blocks):
            for start, stop, result in self._run_batches(columns, count):
                outcomes.append((begin + start, begin + stop, result))
        return outcomes

    def _joined(self, blocks: list[tuple[int, Rows]]) -> Iterator[tuple[int, int, list[Array]]]:
        """Columns of the graph's per-instance shapes, with their start and number of rows.

        Blocks that follow each other without a gap become one; a gap is an instance that did not fit.
        """
        at = 0
        while at < len(blocks):
            start, block = blocks[at]
            parts = [self._columns(block)]
            stop = start + block.count
            at += 1
            while at < len(blocks) and blocks[at][0] == stop:
                block = blocks[at][1]
                parts.append(self._columns(block))
                stop += block.count
                at += 1
            columns = parts[0] if len(parts) == 1 else [np.concatenate(c) for c in zip(*parts, strict=True)]
            yield start, stop - start, columns

    def _columns(self, block: Rows) -> list[Array]:
        columns = []
        for column, spec, wanted in zip(block.columns, block.specs, self.inputs, strict=True):
            assert not isinstance(column, list)
            same = spec.shape == wanted.shape
            columns.append(column if same else column.reshape(block.count, *wanted.shape))
        return columns

    def _run_batches(self, columns: list[Array], count: int) -> Iterator[Outcome]:
        for start, stop in self._batches(columns, count):
            part = [column[start:stop] for column in columns]
            try:
                yield start, stop, self._run_batch(part, stop - start)
            except ServingError as error:
                yield start, stop, error

    def _batches(self, columns: list[Array], count: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of each batch; instances of a batch agree in the inputs without batch dimension."""
        start = 0
        while start < count:
            stop = min(start + self.batch_size, count)
            for i in self._shared_inputs:
                flat = columns[i][start:stop].reshape(stop - start, -1)
                different = np.flatnonzero((flat != flat[0]).any(axis=1))
                stop = start + int(different[0]) if len(different) else stop
            yield start, stop
            start = stop

    def _run_batch(self, columns: list[Array], count: int) -> list[Array]:
        """Run one batch of at most `batch_size` instances."""
        if not self._with_batch_dim:
            outputs = self.graph.predict([_first_row(column) for column in columns])
            return [output[np.newaxis] for output in outputs]
        arrays = [
            _first_row(column) if i in self._shared_inputs else self._batch(column, count)
            for i, column in enumerate(columns)
        ]
        return [output[:count] for output in self.graph.predict(arrays)]

    def _batch(self, column: Array, count: int) -> Array:
        if self.dynamic or count == self.batch_size:
            return np.ascontiguousarray(column)
        padded = np.empty((self.batch_size, *column.shape[1:]), column.dtype)
        padded[:count] = column
        padded[count:] = column[0]
        return padded

    def _per_instance(self, index: int, spec: TensorSpec) -> TensorSpec:
        if not self._with_batch_dim or index in self._shared_inputs:
            return spec
        return TensorSpec(spec.name, spec.dtype, spec.shape[1:])

    def _find_batch_size(self) -> int:
        """The first dimension on which inputs and outputs agree; 1 where there is no batch dimension."""
        signature = self.graph.signature
        if not self._with_batch_dim:
            for i, spec in enumerate(signature.inputs):
                if -1 in spec.shape:
                    raise StartUpError(
                        f"The shape of model input {i} is invalid, shape: {list(spec.shape)}: a dynamic "
                        "dimension needs with_batch_dim"
                    )
            return 1
        batch = 0
        batched = [(i, spec) for i, spec in enumerate(signature.inputs) if i not in self._shared_inputs]
        for what, specs in (("input", batched), ("output", list(enumerate(signature.outputs)))):
            for i, spec in specs:
                batch = self._agreed(batch, what, i, spec)
        return self._max_batch_size if batch == -1 else batch or 1

    def _agreed(self, batch: int, what: str, index: int, spec: TensorSpec) -> int:
        if not spec.shape:
            raise StartUpError(
                f"The shape of model {what} {index} cannot be empty, when with_batch_dim is true and "
                f"without_batch_dim_inputs is {sorted(self._shared_inputs)}"
            )
        first = spec.shape[0]
        if 0 in spec.shape:
            raise StartUpError(f"The shape of model {what} {index} is invalid, shape: {list(spec.shape)}")
        if batch not in (0, first):
            raise StartUpError(
                f"The shape {list(spec.shape)} of model {what} {index} does not match current batch size {batch}"
            )
        return first


def _first_row(column: Array) -> Array:
    """The first instance's value, contiguous, also where it is 0-d."""
    return np.require(column[:1].reshape(column.shape[1:]), requirements="C")
