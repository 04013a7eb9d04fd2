"""Instances onto a graph that is loaded in this process: batches and padding.

A graph takes arrays of the shapes that its file declares. Instances come as columns. This module bridges the two, for
any backend: it brings instances of one shape together, cuts them into batches, pads where the graph's batch is fixed,
and gives outputs back per instance. A padded row repeats an instance of its own batch, and its outputs never leave this
module. So no instance is ever made longer to fit others, and gets what it would get alone (ADR 57).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mindspore_serving.errors import ServingError, StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.backend.run_errors import run_failed
from mindspore_serving.server.worker.graph_outcomes import Outcome, RowsRun, joined, scattered
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.graph_text import check_text_shape, text_array, texts_of
from mindspore_serving.tensor import Array, ColumnData, TensorSpec


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
        self._text_dimensions: dict[int, int] = {}
        for i, spec in enumerate(graph.signature.outputs):
            if spec.dtype.is_text:
                check_text_shape("output", i, spec, with_batch_dim)
        self._gives_text = any(spec.dtype.is_text for spec in graph.signature.outputs)
        super().__init__(
            inputs=[self._per_instance(i, spec) for i, spec in enumerate(graph.signature.inputs)],
            outputs=graph.signature.outputs,
            batch_size=self._find_batch_size(),
            dynamic=with_batch_dim and graph.dynamic_batch,
            concurrency=concurrency,
        )

    def __repr__(self) -> str:
        return f"<ModelRunner batch {self.batch_size}, inputs {self.inputs}>"

    @property
    def runs_by_shape(self) -> bool:
        """See `GraphRunner`."""
        return self.batch_size > 1 and any(-1 in spec.shape for spec in self.inputs)

    def _run_good(self, blocks: list[tuple[int, Rows]], ran: RowsRun) -> list[Outcome]:
        if len(blocks) == 1:  # nearly always
            [(begin, block)] = blocks
            batches = self._run_batches(self._columns(block), block.count, ran)
            return [(begin + start, begin + stop, result) for start, stop, result in batches]
        outcomes: list[Outcome] = []
        for alike in self._by_shape(blocks):
            outcomes += scattered(self._run_batches(alike.columns(), alike.count, ran), alike.places)
        return joined(sorted(outcomes, key=lambda outcome: outcome[0]))

    def _by_shape(self, blocks: list[tuple[int, Rows]]) -> Iterable[_Alike]:
        """Instances of one shape, wherever they stand; in the order in which the shapes come."""
        found: dict[tuple[tuple[int, ...], ...], _Alike] = {}
        for start, block in blocks:
            columns = self._columns(block)
            shapes = tuple([column.shape[1:] for column in columns])
            found.setdefault(shapes, _Alike()).add(start, block.count, columns)
        return found.values()

    def _columns(self, block: Rows) -> list[Array]:
        """Columns of the graph's per-instance shapes."""
        columns: list[Array] = []
        for index, (column, spec, wanted) in enumerate(
            zip(block.columns, block.specs, self.inputs, strict=True)
        ):
            if isinstance(column, list):
                columns.append(text_array(wanted.dtype, column, self._text_dimensions[index]))
            elif spec.shape == wanted.shape or -1 in wanted.shape:
                columns.append(column)
            else:  # as many elements, in another shape
                columns.append(column.reshape(block.count, *wanted.shape))
        return columns

    def _run_batches(self, columns: list[Array], count: int, ran: RowsRun) -> Iterator[Outcome]:
        for start, stop in self._batches(columns, count):
            part = [column[start:stop] for column in columns]
            ran.add(*self._rows_for(stop - start))
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

    def _run_batch(self, columns: list[Array], count: int) -> list[ColumnData]:
        """Run one batch of at most `batch_size` instances.

        Returns:
            A column per output.

        Raises:
            ServingError: The graph failed.
        """
        if not self._with_batch_dim:
            outputs = self.graph.predict([_first_row(column) for column in columns])
            return self._results([output[np.newaxis] for output in outputs])
        arrays = [
            _first_row(column) if i in self._shared_inputs else self._batch(column, count)
            for i, column in enumerate(columns)
        ]
        outputs = self.graph.predict(arrays)
        rows = count if self.dynamic else self.batch_size
        for i, output in enumerate(outputs):
            if output.shape[:1] != (rows,):
                raise run_failed(
                    f"model output {i} has the shape {list(output.shape)} for a batch of {rows} instances"
                )
        return self._results([output[:count] for output in outputs])

    def _rows_for(self, count: int) -> tuple[int, int]:
        """With how many rows the graph runs for so many instances, and how many of them are padding."""
        if self.dynamic or not self._with_batch_dim:
            return count, 0
        return self.batch_size, self.batch_size - count

    def _results(self, outputs: list[Array]) -> list[ColumnData]:
        if not self._gives_text:
            return outputs  # type: ignore[return-value]  # a list of columns that are all arrays
        return [
            texts_of(i, spec, output) if spec.dtype.is_text else output
            for i, (spec, output) in enumerate(zip(self.outputs, outputs, strict=True))
        ]

    def _batch(self, column: Array, count: int) -> Array:
        if self.dynamic or count == self.batch_size:
            return np.ascontiguousarray(column)
        padded = np.empty((self.batch_size, *column.shape[1:]), column.dtype)
        padded[:count] = column
        padded[count:] = column[0]
        return padded

    def _per_instance(self, index: int, spec: TensorSpec) -> TensorSpec:
        batched = self._with_batch_dim and index not in self._shared_inputs
        shape = spec.shape[1:] if batched else spec.shape
        if spec.dtype.is_text:
            check_text_shape("input", index, spec, batched)
            self._text_dimensions[index] = len(shape)
            shape = ()
        return TensorSpec(spec.name, spec.dtype, shape)

    def _find_batch_size(self) -> int:
        """The first dimension on which inputs and outputs agree; 1 where there is no batch dimension."""
        if not self._with_batch_dim:
            return 1
        signature = self.graph.signature
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
        if what == "output" and first == -1:  # not known before it has run
            return batch or first
        if batch not in (0, first):
            raise StartUpError(
                f"The shape {list(spec.shape)} of model {what} {index} does not match current batch size {batch}"
            )
        return first


class _Alike:
    """Instances of one shape, which may stand apart.

    Attributes:
        places: (start, stop) where they stand, in order.
        count: How many they are.
    """

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []
        self.count = 0
        self._parts: list[list[Array]] = []

    def add(self, start: int, count: int, columns: list[Array]) -> None:
        """Take instances that come behind those before."""
        self.places.append((start, start + count))
        self.count += count
        self._parts.append(columns)

    def columns(self) -> list[Array]:
        """All of them as one column per input."""
        parts = self._parts
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(column) for column in zip(*parts, strict=True)]
        )


def _first_row(column: Array) -> Array:
    """The first instance's value, contiguous, also where it is 0-d."""
    return np.require(column[:1].reshape(column.shape[1:]), requirements="C")
