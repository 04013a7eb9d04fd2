"""Instances onto one graph of a model, wherever that is loaded: what fits is run, what does not fails alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import InvalidInput, ServingError
from mindspore_serving.rows import Rows
from mindspore_serving.server.backend.input_check import WrongInput, takes, wrong_dtype, wrong_shape
from mindspore_serving.server.worker.graph_outcomes import Outcome, RowsRun
from mindspore_serving.server.worker.values import Values, rows_or_errors
from mindspore_serving.signature import CALL_PREFIX
from mindspore_serving.tensor import ColumnData, TensorSpec, python_values

_MOST_WARNINGS = 100
"""Most methods and shapes that a graph warns of: clients choose shapes."""


def _no_method(_: int) -> str:
    return ""


class GraphRunner(ABC):
    """Runs instances on one graph of a model, wherever that is loaded.

    Args:
        inputs: What one instance brings; -1 stands for a dimension of any size, text has the shape ().
        outputs: As the graph declares them.
        batch_size: Most instances that run together.
        dynamic: Whether fewer instances run without padding.
        concurrency: Most batches that may run at a time.

    Attributes:
        strict_shape: Whether a shape with as many elements as the graph's is refused.
        is_remote: Whether another worker runs it, which is told for which batch.
    """

    strict_shape = False
    is_remote = False

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
        self._warned: set[tuple[str, int, tuple[int, ...]]] = set()

    @property
    def runs_by_shape(self) -> bool:
        """Whether only instances of one shape run together here."""
        return False

    @property
    def outputs_count(self) -> int:
        """Number of outputs."""
        return len(self.outputs)

    def run(
        self,
        values: Sequence[Values],
        count: int,
        method_of: Callable[[int], str] = _no_method,
        ran: RowsRun | None = None,
    ) -> list[Outcome]:
        """Run k instances.

        Args:
            values: One per input of the graph.
            count: k.
            method_of: Tells the method of the instance with this index, for warnings; "" for none.
            ran: Counts the rows with which the graph is run.

        Returns:
            Outcomes in order that cover all instances.
        """
        ran = ran or RowsRun()
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
            return self._run_good(good, ran)
        return sorted([*outcomes, *self._run_good(good, ran)], key=lambda outcome: outcome[0])

    @abstractmethod
    def _run_good(self, blocks: list[tuple[int, Rows]], ran: RowsRun) -> list[Outcome]:
        """Run instances that fit.

        Args:
            blocks: In order, each with the index of its first instance.
            ran: Counts the rows with which the graph is run.

        Returns:
            Outcomes in order that cover these instances.
        """

    def _check(self, block: Rows, start: int, method_of: Callable[[int], str]) -> None:
        """Check instances with equal specs.

        Raises:
            WrongInput: They do not fit.
        """
        for i, (spec, wanted) in enumerate(zip(block.specs, self.inputs, strict=True)):
            if spec.dtype is not wanted.dtype or spec.shape != wanted.shape:
                self._check_other(i, spec, wanted, start, method_of)

    def _check_other(
        self, index: int, spec: TensorSpec, wanted: TensorSpec, start: int, method_of: Callable[[int], str]
    ) -> None:
        """Check an input that has not the very type and shape of the graph's.

        A graph without dynamic dimensions takes whatever has its dtype and size, as in MindSpore Serving 2.0, with a
        warning, unless `strict_shape` is set. A dynamic dimension takes any size, but then the others must be right:
        what has more dimensions, or fewer, could be read in several ways.

        Raises:
            WrongInput: It does not fit.
        """
        is_dynamic = -1 in wanted.shape
        size = 0 if is_dynamic else wanted.byte_size
        if not is_dynamic and not wanted.dtype.is_text and spec.byte_size != size:
            problem = (
                f"Given model input {index} size {spec.byte_size} not match the size {size} defined in model"
            )
            raise WrongInput(index, problem, spec, wanted)
        if spec.dtype is not wanted.dtype:
            raise wrong_dtype(index, spec, wanted)
        if wanted.dtype.is_text:  # clients may send one text as a list of one
            return
        if not is_dynamic:
            self._other_shape(index, spec, wanted, method_of(start))
        elif not takes(wanted.shape, spec.shape):
            raise wrong_shape(index, spec, wanted)

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
            results += zip(*map(self._python_values, self.outputs, outputs), strict=True)
        return results

    def _python_values(self, spec: TensorSpec, column: ColumnData) -> Iterable[Any]:
        return python_values(spec, column) if isinstance(column, list) else column
