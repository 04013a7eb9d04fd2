"""Methods: what clients call, traced once from a Python function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mindspore_serving import log
from mindspore_serving.check_type import check_and_as_str_tuple_list
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.definition import MethodDefinition, MethodTrace
from mindspore_serving.server.register.method_source import stage_calls_of
from mindspore_serving.server.register.registry import current
from mindspore_serving.server.register.stage import placeholders, refs_of

_F = TypeVar("_F", bound=Callable[..., Any])


def register_method(output_names: str | Sequence[str]) -> Callable[[_F], _F]:
    """Make a function a method of the servable.

    The function runs once, at registration, with placeholders for its parameters. It adds stages with `add_stage`, and
    returns placeholders. Its parameter names are the input names that clients send.

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
            method = _trace(function, names)
            definition.add_method(method)
        log.info("Register method %s", method)
        return function

    return decorate


def _trace(function: Callable[..., Any], output_names: tuple[str, ...]) -> MethodDefinition:
    definition = current()
    input_names = input_names_of(function)
    calls = stage_calls_of(function)
    definition.trace = trace = MethodTrace(function.__name__, input_names, calls)
    try:
        returned = function(*placeholders(trace, 0, len(input_names)))
    finally:
        definition.trace = None
    if calls and len(calls) != len(trace.stages):
        raise RegistrationError(
            f"Failed to parse method {trace.name}, the number of stages obtained through the AST {len(calls)} is "
            f"inconsistent with the running result {len(trace.stages)}. Assign the result of each stage to a name in a "
            "statement of its own, or use 'add_stage'"
        )
    values = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
    outputs = refs_of(trace, values, "Each value returned")
    if len(outputs) != len(output_names):
        raise RegistrationError(
            f"Method return output size {len(outputs)} not match registered {len(output_names)}"
        )
    return MethodDefinition(function.__name__, input_names, output_names, tuple(trace.stages), outputs)


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
