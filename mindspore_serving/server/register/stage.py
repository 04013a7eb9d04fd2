"""Stages: the placeholders that stand for data while a method is traced, and `add_stage`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mindspore_serving.check_type import check_int, check_str
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.built_in import BUILT_IN_STAGES
from mindspore_serving.server.register.definition import (
    FunctionUse,
    MethodTrace,
    ServableDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.register.model import Model
from mindspore_serving.server.register.registry import current


class _TensorDef:
    """Placeholder for one value of a method while it is traced.

    Args:
        trace: The method.
        tag: Index of the stage that makes the value, 0 for the inputs of the method.
        tensor_index: Which output of that stage.
    """

    def __init__(self, trace: MethodTrace, tag: int, tensor_index: int) -> None:
        self.trace = trace
        self.tag = tag
        self.tensor_index = tensor_index

    @property
    def ref(self) -> ValueRef:
        """The value as data."""
        return ValueRef(self.tag, self.tensor_index)


def placeholders(trace: MethodTrace, stage: int, count: int) -> tuple[_TensorDef, ...]:
    """Stand-ins for the outputs of a stage."""
    return tuple(_TensorDef(trace, stage, i) for i in range(count))


def refs_of(trace: MethodTrace, values: Any, what: str) -> tuple[ValueRef, ...]:
    """The placeholders of a sequence as data.

    Raises:
        RegistrationError: One of the values is no placeholder, or one of another method.
    """
    if any(not isinstance(value, _TensorDef) or value.trace is not trace for value in values):
        raise RegistrationError(
            f"{what} is a placeholder for data and must come from the method inputs or the outputs of add_stage"
        )
    return tuple(value.ref for value in values)


def add_stage(
    stage: Callable[..., Any] | Model | str,
    *args: Any,
    outputs_count: int,
    batch_size: int | None = None,
    tag: str | None = None,
) -> Any:
    """Add a step to the method that is being registered.

    Args:
        stage: A Python function, a `Model`, or the name of a built-in stage.
        args: Its inputs: inputs of the method, or outputs of earlier stages.
        outputs_count: Number of its outputs, at least 1.
        batch_size: None: the function is called with the inputs of one instance. Otherwise it is called with a tuple of
            up to `batch_size` instances, each a tuple of inputs, and returns or yields the outputs of each; 0 takes the
            batch size of the method's models.
        tag: How error texts call the stage; by default the name of the function or model.

    Returns:
        One placeholder for each output: a single one, or a tuple if `outputs_count` is above 1.

    Raises:
        RuntimeError: A parameter is wrong; the text names it and the method.
    """
    current_trace("add_stage")
    if tag is not None:
        check_str("tag", tag)
    check_int("outputs_count", outputs_count, 1)
    if batch_size is not None:
        check_int("batch_size", batch_size, 0)
    return append_stage(stage, args, outputs_count, batch_size=batch_size, tag=tag)


def current_trace(interface: str) -> tuple[ServableDefinition, MethodTrace]:
    """The servable and the method that is being registered.

    Args:
        interface: Who asks, for the error text.

    Raises:
        RegistrationError: No method is.
    """
    definition = current()
    if definition.trace is None:
        raise RegistrationError(
            f"'{interface}' can only be called in a function that is decorated with 'register_method'"
        )
    return definition, definition.trace


def append_stage(
    stage: Callable[..., Any] | Model | str,
    args: Sequence[Any],
    outputs_count: int,
    *,
    batch_size: int | None = None,
    tag: str | None = None,
    subgraph: int = 0,
) -> Any:
    """Add a checked stage to the method that is being registered; parameters and result as of `add_stage`.

    Args:
        stage: A Python function, a `Model`, or the name of a built-in stage.
        args: Its inputs.
        outputs_count: Number of its outputs.
        batch_size: None for a function that takes one instance.
        tag: How error texts call the stage.
        subgraph: Which file of the model.

    Raises:
        RegistrationError: The stage does not fit its inputs, or how it is used elsewhere.
    """
    definition, trace = current_trace("add_stage")
    inputs = refs_of(trace, args, "Each value of parameter *args")
    kind, target, function = _resolve(stage, definition, trace)
    if trace.parameters in inputs and kind is not StageKind.FUNCTION:
        raise RegistrationError(
            f"Check failed in method '{trace.name}', the parameters of requests go to Python functions only, now they "
            f"go to {kind.value} '{target}'"
        )
    if kind is StageKind.MODEL:
        definition.check_model_stage(trace.name, target, subgraph, len(inputs), outputs_count)
    elif function is not None:
        if batch_size is None:
            _check_arity(function, len(inputs))
        definition.check_function_stage(
            trace.name, function, FunctionUse(batch_size is not None, len(inputs), outputs_count)
        )
    elif kind is StageKind.BUILT_IN:
        BUILT_IN_STAGES[target].check_counts(len(inputs), outputs_count)
    default_tag = f"Model '{target}'" if kind is StageKind.MODEL else f"Function '{target}'"
    trace.stages.append(
        StageDefinition(
            index=len(trace.stages) + 1,
            kind=kind,
            target=target,
            function=function,
            inputs=inputs,
            outputs_count=outputs_count,
            takes_batch=batch_size is not None and kind is StageKind.FUNCTION,
            batch_size=batch_size or 0,
            tag=tag or default_tag,
            subgraph=subgraph,
        )
    )
    outputs = placeholders(trace, len(trace.stages), outputs_count)
    return outputs[0] if outputs_count == 1 else outputs


def _resolve(
    stage: object, definition: ServableDefinition, trace: MethodTrace
) -> tuple[StageKind, str, Callable[..., Any] | None]:
    """Kind, printed name and function of what was given as a stage."""
    if isinstance(stage, Model):
        if stage.model_key not in definition.models:
            raise RegistrationError(
                f"Check failed in method '{trace.name}', the parameter 'stage' of add_stage must be function or Model "
                "returned by declare_model, and ensure that interface 'declare_model' can take effect when importing "
                "servable_config.py by the serving server"
            )
        return StageKind.MODEL, stage.model_key, None
    if isinstance(stage, str):
        if stage not in BUILT_IN_STAGES:
            raise RegistrationError(f"Function '{stage}' is not defined")
        return StageKind.BUILT_IN, stage, None
    if inspect.isfunction(stage):
        return StageKind.FUNCTION, f"{definition.name}.{stage.__name__}", stage
    raise RegistrationError(
        f"Check failed in method '{trace.name}', the parameter 'stage' of add_stage must be function or Model "
        f"returned by declare_model, now is {type(stage)}"
    )


def _check_arity(function: Callable[..., Any], expected: int) -> None:
    """Check that a function of one instance takes as many inputs as it is given.

    A decorator with `functools.wraps` shows the signature of the function behind it. What is called is the decorator's
    function, so that other one counts only where this one takes any number.

    Raises:
        RegistrationError: It does not.
    """
    positional = _positional(function, follow_wrapped=False)
    if positional is None:
        positional = _positional(function, follow_wrapped=True)
    if positional is None:
        return
    required = sum(parameter.default is parameter.empty for parameter in positional)
    if not required <= expected <= len(positional):
        raise RegistrationError(
            f"function {function.__name__} input args count {len(positional)} not match the count {expected} "
            "registered in method"
        )


def _positional(function: Callable[..., Any], *, follow_wrapped: bool) -> list[inspect.Parameter] | None:
    """Parameters for the inputs of an instance; None where there may be any number of them."""
    parameters = inspect.signature(function, follow_wrapped=follow_wrapped).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
