"""Pipelines: functions that clients call like a method, and that run methods of the servable as often as they like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from mindspore_serving import log
from mindspore_serving.check_type import check_and_as_str_tuple_list, check_int, check_str
from mindspore_serving.errors import PipelineError, ServingError
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.register.method import description_of, input_names_of
from mindspore_serving.server.register.registry import current, current_or_none
from mindspore_serving.signature import CalledMethod

_F = TypeVar("_F", bound=Callable[..., Any])

Instances: TypeAlias = Sequence[Sequence[Any]]
MethodRuntime: TypeAlias = Callable[["str | CalledMethod", Instances], list[tuple[Any, ...]]]
"""Runs instances on a method of this servable by its name, or on one of another servable: to the outputs of each."""

_runtime: MethodRuntime | None = None


def set_method_runtime(runtime: MethodRuntime | None) -> None:
    """Connect `PipelineServable.run` to the methods of this process, and through it to those of other servables."""
    global _runtime
    _runtime = runtime


class PipelineServable:
    """Handle of a method, for pipelines to run.

    Args:
        servable_name: Name of the servable whose servable_config.py this is; or of another servable that the same
            server starts: then the handle has to be made at the top of servable_config.py, not in a function.
        method: Name of a method that is registered with `register_method`; of another servable also of a pipeline.
        version_number: Version of another servable, 0 for the highest one that runs. Of this servable it is always the
            version that runs.

    Raises:
        RuntimeError: A parameter is wrong.
    """

    def __init__(self, servable_name: str, method: str, version_number: int = 0) -> None:
        check_str("servable_name", servable_name)
        check_str("method", method)
        check_int("version_number", version_number, 0)
        self.servable_name = servable_name
        self.method = method
        self.version_number = version_number
        self._called = self._elsewhere()

    def __repr__(self) -> str:
        return f"<PipelineServable {self.servable_name}.{self.method}>"

    def _elsewhere(self) -> CalledMethod | None:
        """What is to be called of another servable; None for a method of this one."""
        definition = current_or_none()
        if definition is None or definition.name == self.servable_name:
            return None
        called = CalledMethod("", self.servable_name, self.method, self.version_number)
        definition.called_by_pipelines.append(called)
        return called

    def run(self, *args: Any) -> Any:
        """Run the method, and wait for the result.

        Args:
            args: The inputs of one instance; or exactly one list, each item of which is the only input of one instance.
                Inputs are what stage functions return.

        Returns:
            For one instance, its output, or a tuple of its outputs. For several, a list of tuples of outputs.

        Raises:
            RuntimeError: `Run failed: ` and the reason. If one of several instances fails, all do.
        """
        several = len(args) == 1 and isinstance(args[0], list)
        instances = [(value,) for value in args[0]] if several else [args]
        if _runtime is None:
            raise PipelineError(f"Run failed: method '{self.method}' runs only while the servable is served")
        try:
            outputs = _runtime(self._called or self.method, instances)
        except ServingError as cause:
            raise PipelineError(f"Run failed: {cause}") from cause
        if several:
            return outputs
        return outputs[0][0] if len(outputs[0]) == 1 else outputs[0]


def register_pipeline(output_names: str | Sequence[str]) -> Callable[[_F], _F]:
    """Make a function a pipeline of the servable.

    The function runs for every instance that clients send, in a thread of its own. It may hold any Python code, and
    runs methods of the servable by `PipelineServable.run`. Its parameter names are the input names that clients send.

    Args:
        output_names: Names of the outputs in a reply, as many as the function returns.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        RuntimeError: `output_names` is no str or list of str.
    """
    names = check_and_as_str_tuple_list("output_names", output_names)

    def decorate(function: _F) -> _F:
        definition = current()
        with definition.registering(function.__name__):
            pipeline = _pipeline_of(f"{definition.name}.{function.__name__}", function, names)
            definition.add_pipeline(pipeline)
        log.info("Register pipeline %s", pipeline)
        return function

    return decorate


def _pipeline_of(
    target: str, function: Callable[..., Any], output_names: tuple[str, ...]
) -> MethodDefinition:
    """A method whose only stage is the function."""
    input_names = input_names_of(function)
    stage = StageDefinition(
        index=1,
        kind=StageKind.PIPELINE,
        target=target,
        function=function,
        inputs=tuple(ValueRef(0, i) for i in range(len(input_names))),
        outputs_count=len(output_names),
        takes_batch=False,
        batch_size=0,
        tag="Pipeline",
    )
    outputs = tuple(ValueRef(1, i) for i in range(len(output_names)))
    return MethodDefinition(
        function.__name__,
        input_names,
        output_names,
        (stage,),
        outputs,
        description=description_of(function),
    )
