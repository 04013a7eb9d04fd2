"""Instances onto a loaded graph: checks, batches, padding.

A graph takes arrays of the shapes that its file declares. Instances come as columns. This module bridges the two, for
any backend: it checks what an instance brings, cuts k instances into batches, pads where the graph's batch is fixed,
and gives outputs back per instance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mindspore_serving import log
from mindspore_serving.errors import InvalidInput, ServingError, StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.backend.input_check import WrongInput, wrong_dtype, wrong_shape
from mindspore_serving.server.worker.values import Values, rows_or_errors
from mindspore_serving.signature import CALL_PREFIX
from mindspore_serving.tensor import Array, TensorSpec

Outcome = tuple[int, int, "list[Array] | ServingError"]
"""(start, stop) of neighbouring instances, and their outputs as columns, or why they have none."""
_MOST_WARNINGS = 100
"""Most methods and shapes that a graph warns of: clients choose shapes."""


def _no_method(_: int) -> str:
    return ""


class GraphRunner(ABC):
    """Runs instances on one graph of a model, wherever that is loaded.

    Args:
        inputs: What one instance brings.
        outputs: As the graph declares them.
        batch_size: Most instances that run together.
        dynamic: Whether fewer instances run without padding.
        concurrency: Most batches that may run at a time.

    Attributes:
        strict_shape: Whether a shape with as many elements as the graph's is refused.
    """

    strict_shape = False

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        batch_size: int,
        dynamic: bool,
        concurrency: int = 1,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.batch_size = batch_size
        self.dynamic = dynamic
        self.concurrency = concurrency
        self._input_bytes = [spec.byte_size for spec in self.inputs]
        self._warned: set[tuple[str, int, tuple[int, ...]]] = set()

    @property
    def outputs_count(self) -> int:
        """Number of outputs."""
        return len(self.outputs)

    def run(
        self, values: Sequence[Values], count: int, method_of: Callable[[int], str] = _no_method
    ) -> list[Outcome]:
        """Run k instances.

        Args:
            values: One per input of the graph.
            count: k.
            method_of: Tells the method of the instance with this index, for warnings; "" for none.

        Returns:
            Outcomes in order that cover all instances.
        """
        outcomes: list[Outcome] = []
        good: list[tuple[int, Rows]] = []
        start = 0
        for block in rows_or_errors([spec.name for spec in self.inputs], values, count):
            if isinstance(block, ServingError):  # of one instance
                outcomes.append((start, start + 1, block))
                start += 1
                continue
            try:
                self._check(block, start, method_of)
                good.append((start, block))
            except WrongInput as error:
                outcomes.append((start, start + block.count, error))
            start += block.count
        if not outcomes:
            return self._run_good(good)
        return sorted([*outcomes, *self._run_good(good)], key=lambda outcome: outcome[0])

    @abstractmethod
    def _run_good(self, blocks: list[tuple[int, Rows]]) -> list[Outcome]:
        """Run instances that fit.

        Args:
            blocks: In order, each with the index of its first instance.

        Returns:
            Outcomes in order that cover these instances.
        """

    def _check(self, block: Rows, start: int, method_of: Callable[[int], str]) -> None:
        """Check instances with equal specs.

        Only dtype and size count, as in the original: a shape of the same size is taken for the graph's, with a
        warning, unless `strict_shape` is set.

        Raises:
            WrongInput: They do not fit.
        """
        for i, (spec, wanted, size) in enumerate(
            zip(block.specs, self.inputs, self._input_bytes, strict=True)
        ):
            if spec.byte_size != size or spec.dtype.is_text:
                problem = (
                    f"Given model input {i} size {spec.byte_size} not match the size {size} defined in model"
                )
                raise WrongInput(i, problem, spec, wanted)
            if spec.dtype is not wanted.dtype:
                raise wrong_dtype(i, spec, wanted)
            if spec.shape != wanted.shape:
                self._other_shape(i, spec, wanted, method_of(start))

    def _other_shape(self, index: int, spec: TensorSpec, wanted: TensorSpec, method: str) -> None:
        """Refuse, or warn of, a shape with as many elements as the graph's: the data may lie in another order."""
        if self.strict_shape:
            raise wrong_shape(index, spec, wanted)
        key = method, index, spec.shape
        if key in self._warned or len(self._warned) >= _MOST_WARNINGS or method.startswith(CALL_PREFIX):
            return
        self._warned.add(key)
        log.warning(
            "%s gives model input %s '%s' the shape %s, and the model takes %s: as many elements, which are taken as "
            "they lie. declare_model(..., strict_shape=True) refuses that",
            f"Method {method}" if method else "Model.call",
            index,
            wanted.name,
            list(spec.shape),
            list(wanted.shape),
        )

    def call(self, instances: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Run instances given as Python values, for `Model.call`.

        Raises:
            ServingError: An instance does not fit, or the graph failed; nothing is returned then.
        """
        for i, instance in enumerate(instances):
            if len(instance) != len(self.inputs):
                raise InvalidInput(
                    f"The inputs count {len(instance)} of instance {i} is not equal to the inputs count "
                    f"{len(self.inputs)} of the model"
                )
        count = len(instances)
        values = [Values(count, objects=list(column)) for column in zip(*instances, strict=True)]
        results: list[tuple[Any, ...]] = []
        for _, _, outputs in self.run(values, count):
            if isinstance(outputs, ServingError):
                raise outputs
            results += zip(*outputs, strict=True)
        return results


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
