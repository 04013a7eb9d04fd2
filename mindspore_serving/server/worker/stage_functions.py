"""Calls of Python stage functions, pipelines and built-ins, so that the error of one instance stays its own.

A function that takes one instance is called per instance. A function that takes a batch is called with a tuple of
instances; if its iterator raises at item k, instance k has failed, and the function is called again with those after k,
as in MindSpore Serving 2.0 (a generator then starts anew). ADR 6 has what a wrong number of results means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from sys import getrefcount
from typing import Any, TypeAlias

import numpy as np

from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    PipelineError,
    ServingError,
    StageError,
    StatusCode,
    text_of,
)
from mindspore_serving.server.host.forked_child import end_forked_child, this_process
from mindspore_serving.server.register.built_in import BUILT_IN_STAGES
from mindspore_serving.server.register.definition import StageDefinition, StageKind
from mindspore_serving.server.worker.ownership import ALONE, own, snapshot
from mindspore_serving.server.worker.traces import Traces
from mindspore_serving.signature import PARTIAL_REPLY_S
from mindspore_serving.tensor import DATA_TYPE_OF, MAX_DIMENSIONS, as_array, encode_value

StageResult: TypeAlias = "tuple[Any, ...] | Failure"
"""Outputs of one instance, or why it has none."""

_ONE_VALUE = (str, bytes, bytearray, memoryview, Mapping, Set)
"""What can be iterated over, and is no series of results: letters, numbers, keys, items without an order."""
TIME_SLICE_S = PARTIAL_REPLY_S
"""After this long, calls per instance make room for other work of the process: results can leave only in between."""
_traces = Traces()


class FunctionRunner:
    """Calls the function of one stage, or of a pipeline.

    Args:
        stage: Its definition; its `function` is set.
        method: Name of the method, for error texts.
        kept: Positions of the inputs that are used again after this stage.
    """

    def __init__(self, stage: StageDefinition, method: str, kept: Sequence[int] = ()) -> None:
        assert stage.function is not None
        self._stage = stage
        self._function: Callable[..., Any] = stage.function
        self._method = method
        self._outputs_count = stage.outputs_count
        self._kept = kept

    def run(self, inputs: Sequence[list[Any]], count: int) -> list[StageResult]:
        """Run k instances, or as many as fit into a time slice.

        Args:
            inputs: Per input, the values of the k instances. Those that are used again are replaced by what they were
                when the function returned.
            count: k, at least 1.

        Returns:
            Outcomes of the first instances, at least of one.
        """
        instances = _instances_of(inputs, count)
        if self._stage.takes_batch:
            results = self._run_batch(instances)
            for i in self._kept:
                inputs[i][:] = map(snapshot, inputs[i])
            return results
        deadline = time.monotonic() + TIME_SLICE_S
        single = self._outputs_count == 1
        results = []
        for instance in instances:
            try:
                returned = self._function(*instance)
                alone = getrefcount(returned) == ALONE
                # The common case, an array that nothing else refers to, is spared two calls.
                if (
                    alone
                    and single
                    and type(returned) is np.ndarray
                    and returned.base is None
                    and returned.dtype in DATA_TYPE_OF
                    and returned.ndim <= MAX_DIMENSIONS
                    and not this_process.forked
                ):
                    results.append((returned,))
                else:
                    results.append(self._outputs(returned, alone))
            except BaseException as error:  # sys.exit() in a stage, too, is this instance's error
                results.append(self._failure(error))
            for i in self._kept:
                inputs[i][len(results) - 1] = snapshot(instance[i])
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
                # A list that nobody else has refers to its items beside the variable that `_collect` has.
                alone = ALONE + (type(returned) in (list, tuple) and getrefcount(returned) == ALONE)
                items = self._items(returned, len(rest))
            except BaseException as error:  # the user's code may raise anything; there is no result at all
                return results + [self._failure(error)] * len(rest)
            results += self._collect(items, len(rest), alone)
        return results

    def _items(self, returned: Any, wanted: int) -> Iterator[Any]:
        """What a batch function returned, one by one.

        Raises:
            StageError: It is one value for all instances, or there are more items than instances: nobody can tell whose
                they are. An iterator is not asked for more than is wanted, since it may compute that, or never end.
        """
        if not isinstance(returned, (list, tuple)) and _is_one_value(returned):
            raise StageError(
                f"The result of function '{self._stage.target}' is one {_described(returned)}, expected a list or "
                f"tuple with one result for each of the {wanted} instances, or an iterator over them; list(result) "
                "makes one result of each item"
            )
        if hasattr(returned, "__len__") and len(returned) > wanted:
            raise self._wrong_number(len(returned), wanted)
        return iter(returned)

    def _collect(self, items: Iterator[Any], wanted: int, alone: int) -> list[StageResult]:
        """Outcomes up to the first instance at which the iterator raises, that one included.

        Args:
            items: What the function returned.
            wanted: Number of instances.
            alone: References to an item that nothing but Serving refers to.
        """
        results: list[StageResult] = []
        while len(results) < wanted:
            try:
                item = next(items)
            except StopIteration:
                if this_process.forked:
                    end_forked_child()
                return [self._failure(self._wrong_number(len(results), wanted))] * wanted
            except BaseException as error:  # sys.exit() in a stage, too, is this instance's error
                return [*results, self._failure(error)]
            try:
                is_alone = getrefcount(item) == alone
                results.append(self._outputs(item, is_alone))
            except BaseException as error:  # of methods of the user's objects
                results.append(self._failure(error))
        return results

    def _wrong_number(self, got: int, wanted: int) -> StageError:
        return StageError(
            f"The number {got} of instances returned by function '{self._stage.target}' is not equal to the number "
            f"{wanted} of instances provided to this function."
        )

    def _outputs(self, returned: Any, alone: bool) -> tuple[Any, ...]:
        """The outputs of one instance, each a value that can be a tensor and that only Serving can change.

        Args:
            returned: What the function returned for the instance.
            alone: Whether nothing but Serving refers to it.
        """
        if this_process.forked:
            end_forked_child()
        several = isinstance(returned, (tuple, list))
        count = len(returned) if several else 1
        if count != self._outputs_count:
            raise StageError(
                f"The outputs number {count} of one instance returned by function '{self._stage.target}' is not "
                f"equal to the outputs number {self._outputs_count}  registered in method {self._method}"
            )
        return _own_items(returned, alone) if several else (_servable(returned, alone),)

    def _failure(self, error: BaseException) -> Failure:
        if this_process.forked:
            end_forked_child(error)
        return stage_failure(self._stage, self._method, error)


class BuiltInRunner:
    """Calls the function of one built-in stage; what it raises itself is reported to the client as it is.

    Args:
        stage: Its definition.
        method: Name of the method, for error texts.
    """

    def __init__(self, stage: StageDefinition, method: str) -> None:
        self._stage = stage
        self._method = method
        self._built_in = BUILT_IN_STAGES[stage.target]

    def run(self, inputs: Sequence[Sequence[Any]], count: int) -> list[StageResult]:
        """Outcomes of all k instances; arguments as for `FunctionRunner.run`."""
        return [self._run_one(instance) for instance in _instances_of(inputs, count)]

    def _run_one(self, instance: tuple[Any, ...]) -> StageResult:
        try:
            returned = self._built_in.function(*instance)
            outputs = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
            if len(outputs) != self._stage.outputs_count:
                raise StageError(
                    f"Built-in stage {self._stage.target} gave {len(outputs)} outputs, expected "
                    f"{self._stage.outputs_count}"
                )
            return _own_items(outputs, False)
        except ServingError as error:
            return error.failure()
        except BaseException as error:  # a built-in that was added may raise anything
            return stage_failure(self._stage, self._method, error)


def stage_failure(stage: StageDefinition, method: str, error: BaseException) -> Failure:
    """What is reported about an error in a stage; of `InvalidInput`, which is the client's fault, its text alone."""
    text = text_of(error)
    if isinstance(error, InvalidInput):
        return Failure(StatusCode.INVALID_INPUTS, text)
    trace = _traces.of(error)
    if stage.kind is StageKind.PIPELINE:
        text = f"Call {stage.tag} Failed, pipeline: '{method}', error msg: {text}"
        return Failure(PipelineError.code, text, PipelineError.http_status, trace, PipelineError.cause)
    text = f"Call {stage.tag} Failed, method: '{method}', stage index(begin with 1): {stage.index}, error msg: {text}"
    return Failure(StageError.code, text, trace=trace, cause=StageError.cause)


def _instances_of(inputs: Sequence[Sequence[Any]], count: int) -> list[tuple[Any, ...]]:
    """Inputs per instance, out of instances per input; a stage may have no inputs."""
    return list(zip(*inputs, strict=True)) if inputs else [()] * count


def _is_one_value(returned: Any) -> bool:
    """Whether it is text, a mapping or an array, and no series of results although it can be iterated over."""
    return isinstance(returned, _ONE_VALUE) or any(
        hasattr(returned, name) for name in ("__array__", "asnumpy", "detach")
    )


def _described(returned: Any) -> str:
    shape = getattr(returned, "shape", None)
    return type(returned).__name__ if shape is None else f"{type(returned).__name__} of shape {list(shape)}"


def _own_items(items: Sequence[Any], alone: bool) -> tuple[Any, ...]:
    """Each item as `_servable` has it.

    Args:
        items: Outputs of one instance, in a tuple or list.
        alone: Whether nothing but Serving refers to the tuple or list.

    Raises:
        StageError: One cannot be sent; the text says which.
    """
    values: list[Any] = []
    try:
        for item in items:
            item_alone = alone and getrefcount(item) == ALONE + 1
            values.append(_servable(item, item_alone))
    except StageError as cause:
        if len(items) == 1:
            raise
        raise StageError(f"{cause}, output {len(values)} of {len(items)}") from cause
    return tuple(values)


def _servable(value: Any, alone: bool) -> Any:
    """The value itself where it can be sent and nothing can change it, or as an array that is Serving's own.

    Args:
        value: One output of one instance.
        alone: Whether nothing but Serving refers to it.

    Raises:
        StageError: It cannot be sent.
    """
    if type(value) is np.ndarray and value.dtype in DATA_TYPE_OF and value.ndim <= MAX_DIMENSIONS:
        return own(value, alone)
    try:
        if isinstance(value, (str, bytes)):
            encode_value(value)
            return value
        if type(value) is int and not -(1 << 63) <= value < 1 << 63:
            raise StageError(f"Get illegal result data with type {type(value)}, {value} is no int64")
        array = as_array(value)
    except StageError as cause:
        raise StageError(f"Push py task result cause exception: {cause}") from cause
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, np.ndarray) and value.dtype in DATA_TYPE_OF:
        return own(value, False)  # later functions get the class that they expect
    made = getrefcount(array) == ALONE
    return own(array, made)
