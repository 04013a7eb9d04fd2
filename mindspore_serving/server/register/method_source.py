"""What the source of a method says about its `call_*` stages.

`call_preprocess` and its kin are not told how many outputs they have: it is the number of names that the result is
assigned to, which only the source knows. Only plain statements at the top of the body can be counted so. A `return`
and an expression whose value is dropped count for nothing, and neither does an assignment of anything but a call.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mindspore_serving.errors import RegistrationError

CALL_SERVABLE = "call_servable"
FUNCTION_CALLS = (
    "call_preprocess",
    "call_preprocess_pipeline",
    "call_postprocess",
    "call_postprocess_pipeline",
)
CALLS = (CALL_SERVABLE, *FUNCTION_CALLS)


@dataclass(frozen=True, slots=True)
class StageCall:
    """One `call_*` whose result is assigned.

    Attributes:
        name: Which one.
        outputs_count: Number of names that its result is assigned to.
    """

    name: str
    outputs_count: int


def stage_calls_of(function: Callable[..., Any]) -> tuple[StageCall, ...]:
    """Read the `call_*` stages of a method from its source, before the method is traced.

    Args:
        function: The function of the method.

    Returns:
        The calls in order; none where the method has none, or its source cannot be read.

    Raises:
        RegistrationError: The method has such calls, and other statements too; or a call without inputs; or no
            `call_servable`.
    """
    source, body = _body_of(function)
    method = function.__name__
    calls: list[StageCall] = []
    complex_statement: ast.stmt | None = None
    for statement in body:
        if isinstance(statement, (ast.Return, ast.Expr)):
            continue
        if not isinstance(statement, ast.Assign):
            complex_statement = complex_statement or statement
        elif isinstance(statement.value, ast.Call):
            name = _called_name(statement.value)
            if name in CALLS:
                _check_inputs(method, name, statement.value)
                calls.append(StageCall(name, _names_assigned(statement.targets[0])))
            else:
                complex_statement = complex_statement or statement
    if calls and complex_statement is not None:
        raise complex_method(method, [call.name for call in calls], _told(method, source, complex_statement))
    if calls and all(call.name != CALL_SERVABLE for call in calls):
        raise RegistrationError(
            f"Failed to parse method '{method}', Not find the invoke of '{CALL_SERVABLE}'"
        )
    return tuple(calls)


def complex_method(method: str, names: list[str], where: str = "") -> RegistrationError:
    """The error of a method whose `call_*` stages cannot be counted.

    Args:
        method: Its name.
        names: The interfaces that it uses.
        where: The statement that is to blame, if it is known.
    """
    used = ";".join(dict.fromkeys(names))
    return RegistrationError(
        f"Failed to parse method '{method}', complex statements such as conditions and loops are not supported in "
        f"register_method when the interface '{used}' is used, use 'add_stage' to replace '{used}'{where}"
    )


def _body_of(function: Callable[..., Any]) -> tuple[str, list[ast.stmt]]:
    """Source of a function and its top statements; nothing where there is no source, as for code made by `exec`."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return "", []
    definition = tree.body[0]
    return source, definition.body if isinstance(definition, ast.FunctionDef) else []


def _called_name(call: ast.Call) -> str:
    """`f` of both `f(...)` and `module.f(...)`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _check_inputs(method: str, name: str, call: ast.Call) -> None:
    inputs_count = len(call.args) - (name in FUNCTION_CALLS)
    if inputs_count <= 0:
        raise RegistrationError(
            f"Failed to parse method '{method}', Invalid '{name}' invoke args: expected one input or more"
        )


def _names_assigned(target: ast.expr) -> int:
    return len(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else 1


def _told(method: str, source: str, statement: ast.stmt) -> str:
    code = source.splitlines()[statement.lineno - 1].strip()
    return f", code {type(statement).__name__}: line {statement.lineno} in {method}, code: {code}"
