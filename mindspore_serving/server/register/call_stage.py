"""Stages in the manner of earlier releases: preprocess, one model, postprocess, in this order.

Each of these adds the same kind of stage as `add_stage` does. How many outputs it has is read from the source of the
method (`method_source`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mindspore_serving.check_type import check_int
from mindspore_serving.deprecation import deprecated
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.definition import MethodTrace, ServableDefinition
from mindspore_serving.server.register.method_source import CALL_SERVABLE, complex_method
from mindspore_serving.server.register.model import Model
from mindspore_serving.server.register.stage import append_stage, current_trace

_VERSION = "1.5.0"
_SUBSTITUTE = "mindspore_serving.server.register.add_stage"
_PREPROCESS, _SERVABLE, _POSTPROCESS = "Preprocess", "Servable", "Postprocess"
_EITHER = {
    _PREPROCESS: "call_preprocess or call_preprocess_pipeline",
    _SERVABLE: CALL_SERVABLE,
    _POSTPROCESS: "call_postprocess or call_postprocess_pipeline",
}


@deprecated(_VERSION, _SUBSTITUTE)
def call_preprocess(preprocess_fun: Callable[..., Any] | str, *args: Any) -> Any:
    """Add a function that prepares one instance for the model.

    Args:
        preprocess_fun: A Python function that takes the inputs of one instance, or the name of a built-in stage.
        args: Its inputs: inputs of the method.

    Returns:
        One placeholder for each name that the result is assigned to.

    Raises:
        RuntimeError: The stages of the method are in a wrong order, or a parameter is wrong.
    """
    return _call_function("call_preprocess", _PREPROCESS, preprocess_fun, args, None)


@deprecated(_VERSION, _SUBSTITUTE)
def call_preprocess_pipeline(preprocess_fun: Callable[..., Any] | str, *args: Any) -> Any:
    """Add a function that prepares a batch of instances for the model.

    Args:
        preprocess_fun: A Python function that takes a tuple of instances, each a tuple of inputs, and returns or yields
            the outputs of each; or the name of a built-in stage.
        args: The inputs of one instance: inputs of the method.

    Returns:
        One placeholder for each name that the result is assigned to.

    Raises:
        RuntimeError: The stages of the method are in a wrong order, or a parameter is wrong.
    """
    return _call_function("call_preprocess_pipeline", _PREPROCESS, preprocess_fun, args, 0)


@deprecated(_VERSION, _SUBSTITUTE)
def call_servable(*args: Any, subgraph: int = 0) -> Any:
    """Add the model of the servable; there must be exactly one.

    Args:
        args: Its inputs: inputs of the method, or outputs of the preprocess stage.
        subgraph: Which file of the model, from 0 on.

    Returns:
        One placeholder for each name that the result is assigned to.

    Raises:
        RuntimeError: The stages of the method are in a wrong order, the servable has no model or several, or a
            parameter is wrong.
    """
    definition, trace = current_trace(CALL_SERVABLE)
    check_int("subgraph", subgraph, 0)
    outputs_count = _outputs_count(trace, CALL_SERVABLE)
    _check_order(trace, _SERVABLE, CALL_SERVABLE)
    return append_stage(Model(_only_model(definition)), args, outputs_count, subgraph=subgraph)


@deprecated(_VERSION, _SUBSTITUTE)
def call_postprocess(postprocess_fun: Callable[..., Any] | str, *args: Any) -> Any:
    """Add a function that turns what the model gave for one instance into the reply.

    Args:
        postprocess_fun: A Python function that takes the inputs of one instance, or the name of a built-in stage.
        args: Its inputs: inputs of the method, or outputs of earlier stages.

    Returns:
        One placeholder for each name that the result is assigned to.

    Raises:
        RuntimeError: The stages of the method are in a wrong order, or a parameter is wrong.
    """
    return _call_function("call_postprocess", _POSTPROCESS, postprocess_fun, args, None)


@deprecated(_VERSION, _SUBSTITUTE)
def call_postprocess_pipeline(postprocess_fun: Callable[..., Any] | str, *args: Any) -> Any:
    """Add a function that turns what the model gave for a batch of instances into replies.

    Args:
        postprocess_fun: A Python function that takes a tuple of instances, each a tuple of inputs, and returns or
            yields the outputs of each; or the name of a built-in stage.
        args: The inputs of one instance: inputs of the method, or outputs of earlier stages.

    Returns:
        One placeholder for each name that the result is assigned to.

    Raises:
        RuntimeError: The stages of the method are in a wrong order, or a parameter is wrong.
    """
    return _call_function("call_postprocess_pipeline", _POSTPROCESS, postprocess_fun, args, 0)


def _call_function(
    name: str, role: str, function: Callable[..., Any] | str, args: tuple[Any, ...], batch_size: int | None
) -> Any:
    _, trace = current_trace(name)
    outputs_count = _outputs_count(trace, name)
    _check_order(trace, role, name)
    if not isinstance(function, str) and not inspect.isfunction(function):
        raise RegistrationError(
            f"Check failed in method '{trace.name}', the parameter '{role.lower()}_fun' of {name} must be function or "
            f"str, now is {type(function)}"
        )
    return append_stage(function, args, outputs_count, batch_size=batch_size, tag=role)


def _check_order(trace: MethodTrace, role: str, name: str) -> None:
    """Check that the stages of a method come in order, and note this one.

    Raises:
        RegistrationError: There is such a stage already, or one that belongs after it.
    """
    problem = ""
    if role in trace.roles:
        problem = f"{_EITHER[role]} should not be invoked more than once"
    else:
        later = (_SERVABLE, _POSTPROCESS) if role == _PREPROCESS else (_POSTPROCESS,)
        too_early = next((other for other in later if other in trace.roles), None)
        if too_early is not None:
            problem = f"{_EITHER[too_early]} should be invoked after {name}"
    if problem:
        raise RegistrationError(f"Check failed in method '{trace.name}', {problem}")
    trace.roles.append(role)


def _outputs_count(trace: MethodTrace, name: str) -> int:
    """Outputs of the call of this name in the source; 1 for one whose result is not assigned.

    Raises:
        RegistrationError: The source shows no such calls at all.
    """
    if not trace.calls:
        raise complex_method(trace.name, [name])
    return next((call.outputs_count for call in trace.calls if call.name == name), 1)


def _only_model(definition: ServableDefinition) -> str:
    """Key of the only model.

    Raises:
        RegistrationError: There is none, or more than one.
    """
    if not definition.models:
        raise RegistrationError("There is no model declared, you can use declare_model to declare models.")
    if len(definition.models) > 1:
        raise RegistrationError(
            "There are more than one servable declared when the interface 'call_servable' is used, use 'add_stage' to "
            "replace 'call_servable'"
        )
    return next(iter(definition.models))
