"""Calls of Python stage functions, pipelines and built-ins, so that the error of one instance stays its own.

A function that takes one instance is called per instance. A function that takes a batch is called with a tuple of
instances; if its iterator raises at item k, instance k has failed, and the function is called again with those after k,
as in the original (a generator then starts anew).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from mindspore_serving.errors import (
    LONGEST_TEXT,
    Failure,
    PipelineError,
    ServingError,
    StageError,
    StatusCode,
    shortened,
)
from mindspore_serving.server.forked_child import end_forked_child, this_process
from mindspore_serving.server.register.built_in import BUILT_IN_STAGES
from mindspore_serving.server.register.definition import StageDefinition, StageKind
from mindspore_serving.server.worker.traces import Traces
from mindspore_serving.tensor import DATA_TYPE_OF, as_array, encode_value

StageResult: TypeAlias = "tuple[Any, ...] | Failure"
"""Outputs of one instance, or why it has none."""

TIME_SLICE_S = 0.005
"""After this long, calls per instance make room for other work of the process."""
_traces = Traces()


class FunctionCalls:
    """Calls the function of one stage, or of a pipeline.

    Args:
        stage: Its definition; its `function` is set.
        method: Name of the method, for error texts.
    """

    def __init__(self, stage: StageDefinition, method: str) -> None:
        assert stage.function is not None
        self._stage = stage
        self._function: Callable[..., Any] = stage.function
        self._method = method
        self._outputs_count = stage.outputs_count

    def run(self, inputs: Sequence[Sequence[Any]], count: int) -> list[StageResult]:
        """Run k instances, or as many as fit into a time slice.

        Args:
            inputs: Per input, the values of the k instances.
            count: k, at least 1.

        Returns:
            Outcomes of the first instances, at least of one.
        """
        instances = list(zip(*inputs, strict=True)) if inputs else [()] * count
        if self._stage.takes_batch:
            return self._run_batch(instances)
        deadline = time.monotonic() + TIME_SLICE_S
        results: list[StageResult] = []
        for instance in instances:
            try:
                results.append(self._outputs(self._function(*instance)))
            except BaseException as error:  # sys.exit() in a stage, too, is this instance's error
                results.append(self._failure(error))
            if time.monotonic() > deadline:
                break
        return results

    def _run_batch(self, instances: Sequence[tuple[Any, ...]]) -> list[StageResult]:
        results: list[StageResult] = []
        while len(results) < len(instances):
            rest = tuple(instances[len(results) :])
            try:
                returned = self._function(rest)
                if this_process.forked and not isinstance(returned, Generator):
                    end_forked_child()
                items: Iterator[Any] = iter(returned)
            except (
                BaseException
            ) as error:  # the user's code may raise anything; the call has no result at all
                return results + [self._failure(error)] * len(rest)
            results += self._collect(items, len(rest))
        return results

    def _collect(self, items: Iterator[Any], wanted: int) -> list[StageResult]:
        """Outcomes up to the first instance at which the iterator raises, that one included."""
        results: list[StageResult] = []
        while len(results) < wanted:
            try:
                item = next(items)
            except StopIteration:
                if this_process.forked:
                    end_forked_child()
                return [self._too_few(len(results), wanted)] * wanted
            except BaseException as error:  # sys.exit() in a stage, too, is this instance's error
                return [*results, self._failure(error)]
            try:
                results.append(self._outputs(item))
            except Exception as error:  # methods of the user's objects are called, which may raise anything
                results.append(self._failure(error))
        return results

    def _too_few(self, got: int, wanted: int) -> Failure:
        return self._failure(
            StageError(
                f"The number {got} of instances returned by function '{self._stage.target}' is not equal to the number "
                f"{wanted} of instances provided to this function."
            )
        )

    def _outputs(self, returned: Any) -> tuple[Any, ...]:
        """The outputs of one instance, each a value that can be a tensor."""
        if this_process.forked:
            end_forked_child()
        outputs = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
        if len(outputs) != self._outputs_count:
            raise StageError(
                f"The outputs number {len(outputs)} of one instance returned by function '{self._stage.target}' is not "
                f"equal to the outputs number {self._outputs_count}  registered in method {self._method}"
            )
        return (_servable(outputs[0]),) if len(outputs) == 1 else tuple(map(_servable, outputs))

    def _failure(self, error: BaseException) -> Failure:
        if this_process.forked:
            end_forked_child(error)
        return stage_failure(self._stage, self._method, error)


class BuiltInCalls:
    """Calls the function of one built-in stage; what it raises itself is told to the client as it is.

    Args:
        stage: Its definition.
        method: Name of the method, for error texts.
    """

    def __init__(self, stage: StageDefinition, method: str) -> None:
        self._stage = stage
        self._method = method
        self._built_in = BUILT_IN_STAGES[stage.target]

    def run(self, inputs: Sequence[Sequence[Any]], count: int) -> list[StageResult]:
        """Outcomes of all k instances; arguments as for `FunctionCalls.run`."""
        return [self._run_one(instance) for instance in zip(*inputs, strict=True)]

    def _run_one(self, instance: tuple[Any, ...]) -> StageResult:
        try:
            returned = self._built_in.function(*instance)
            outputs = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
            if len(outputs) != self._stage.outputs_count:
                raise StageError(
                    f"Built-in stage {self._stage.target} gave {len(outputs)} outputs, expected "
                    f"{self._stage.outputs_count}"
                )
            return tuple(map(_servable, outputs))
        except ServingError as error:
            return error.failure()
        except Exception as error:  # a built-in that was added may raise anything
            return stage_failure(self._stage, self._method, error)


def stage_failure(stage: StageDefinition, method: str, error: BaseException) -> Failure:
    """What is told about an error in a stage."""
    try:
        text = shortened(str(error), LONGEST_TEXT).encode(errors="replace").decode()
    except Exception:  # the user's error may not even tell its text
        text = type(error).__name__
    trace = _traces.of(error)
    if stage.kind is StageKind.PIPELINE:
        text = f"Call {stage.tag} Failed, pipeline: '{method}', error msg: {text}"
        return Failure(PipelineError.code, text, PipelineError.http_status, trace)
    text = f"Call {stage.tag} Failed, method: '{method}', stage index(begin with 1): {stage.index}, error msg: {text}"
    return Failure(StatusCode.SYSTEM_ERROR, text, trace=trace)


def _servable(value: Any) -> Any:
    """The value itself where it can be sent, or as an array.

    Raises:
        StageError: It cannot be sent.
    """
    if isinstance(value, np.ndarray) and value.dtype in DATA_TYPE_OF:
        return value
    try:
        if isinstance(value, (str, bytes)):
            encode_value(value)
            return value
        if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            raise StageError(f"Get illegal result data with type {type(value)}, {value} is no int64")
        array = as_array(value)
    except StageError as cause:
        raise StageError(f"Push py task result cause exception: {cause}") from cause
    return value if isinstance(value, (bool, int, float)) else array
