"""Methods: what clients call, traced once from a Python function."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mindspore_serving import log
from mindspore_serving.check_type import check_and_as_str_tuple_list
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.declared_type import (
    DeclaredInputs,
    DeclaredType,
    Parameters,
    declared_inputs,
    declared_outputs,
)
from mindspore_serving.server.register.definition import MethodDefinition, MethodTrace, ValueRef
from mindspore_serving.server.register.example import checked_examples
from mindspore_serving.server.register.method_call import with_ways
from mindspore_serving.server.register.method_source import stage_calls_of
from mindspore_serving.server.register.registry import current
from mindspore_serving.server.register.stage import placeholders, refs_of

_F = TypeVar("_F", bound=Callable[..., Any])
_LONGEST_DESCRIPTION = 1 << 13
"""Characters of a docstring that clients are shown."""


def register_method(
    output_names: str | Sequence[str],
    *,
    inputs: Mapping[str, DeclaredType | Parameters] | None = None,
    outputs: Mapping[str, DeclaredType] | None = None,
    examples: Sequence[Mapping[str, Any]] | None = None,
) -> Callable[[_F], _F]:
    """Make a function a method of the servable.

    The function runs once, at registration, with placeholders for its parameters. It adds stages with `add_stage`, and
    returns placeholders. Its parameter names are the input names that clients send. Its docstring is the description
    that clients can ask for.

    What goes straight into a model has the type that the model's file says, and what comes straight from one, too.
    `inputs` and `outputs` say it of others, and may leave out any. Requests that do not fit are refused.

    Args:
        output_names: Names of the outputs in a reply, as many as the function returns.
        inputs: What an instance brings, by parameter: `TensorSpec`, `Text`, `Bytes` or `Image`. `Parameters()` marks a
            parameter that clients send no input for: it is fed from the parameters of the request.
        outputs: What an instance's result is, by output.
        examples: Instances, each a value for every input. A worker runs them before it is ready, and does not start if
            one fails. They show the types of outputs for which nothing else tells them, and are shown to clients if
            they are small.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        RuntimeError: `output_names` is no str or list of str; or, from the decorator, another parameter is wrong.
    """
    names = check_and_as_str_tuple_list("output_names", output_names)

    def decorate(function: _F) -> _F:
        definition = current()
        with definition.registering(function.__name__):
            parameters = input_names_of(function)
            described = declared_inputs(function.__name__, parameters, inputs)
            method = _trace(function, parameters, described, names)
            method = dataclasses.replace(
                method,
                output_types=declared_outputs(method.name, names, outputs),
                description=description_of(function),
                examples=checked_examples(method.name, described, examples),
            )
            definition.add_method(method)
        log.info("Register method %s", method)
        return function

    return decorate


def _trace(
    function: Callable[..., Any],
    parameters: tuple[str, ...],
    described: DeclaredInputs,
    output_names: tuple[str, ...],
) -> MethodDefinition:
    definition = current()
    input_names = tuple(one.name for one in described.types)
    calls = stage_calls_of(function)
    definition.trace = trace = MethodTrace(function.__name__, input_names, calls)
    values = dict(
        zip((*input_names, described.parameters), placeholders(trace, 0, len(input_names) + 1), strict=True)
    )
    try:
        returned = function(*[values[name] for name in parameters])
    finally:
        definition.trace = None
    if calls and len(calls) != len(trace.stages):
        raise RegistrationError(
            f"Failed to parse method {trace.name}, the number of stages obtained through the AST {len(calls)} is "
            f"inconsistent with the running result {len(trace.stages)}. Assign the result of each stage to a name in a "
            "statement of its own, or use 'add_stage'"
        )
    outputs = _outputs_of(trace, returned, output_names)
    return MethodDefinition(
        function.__name__,
        input_names,
        output_names,
        with_ways(trace.stages, outputs),
        outputs,
        input_types=described.types,
        parameters=described.parameters,
    )


def _outputs_of(trace: MethodTrace, returned: Any, output_names: tuple[str, ...]) -> tuple[ValueRef, ...]:
    """Where what a method returned comes from."""
    values = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
    outputs = refs_of(trace, values, "Each value returned")
    if len(outputs) != len(output_names):
        raise RegistrationError(
            f"Method return output size {len(outputs)} not match registered {len(output_names)}"
        )
    if trace.parameters in outputs:
        raise RegistrationError(
            f"Check failed in method '{trace.name}', the parameters of requests cannot be an output, expected outputs "
            "of stages, or inputs"
        )
    return outputs


def description_of(function: Callable[..., Any]) -> str:
    """The docstring of the function of a method or pipeline, without its indentation; "" where it has none."""
    return (inspect.getdoc(function) or "")[:_LONGEST_DESCRIPTION]


def input_names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Parameter names of the function of a method or pipeline.

    Raises:
        RegistrationError: A parameter cannot be an input.
    """
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise RegistrationError(
                f"'{function.__name__}' input {parameter.name} cannot be {parameter.kind.name} !"
            )
    return tuple(parameter.name for parameter in parameters)
