"""Parameters of requests: those that the protocol knows, and those that are for the stages of a method."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.server.dialect.open_inference.messages import Parameter

_LARGEST_NUMBER: Final = (1 << 64) - 1
_MOST_SECONDS: Final = 86_400.0
"""One day; a longer time is as good as that."""
_RESERVED: Final = frozenset(("headers", "binary_data_output"))
"""What transports read, or the protocol keeps for itself."""
_RESERVED_PREFIX: Final = "triton_"
_SEQUENCES: Final = frozenset(("sequence_id", "sequence_start", "sequence_end"))
_NOTHING: Final[Mapping[str, Parameter]] = MappingProxyType({})


class Options(NamedTuple):
    """What the parameters of a request say.

    Attributes:
        method: Method that is asked for; "" where none is.
        priority: 1 for the most urgent ones; 0 for the default.
        timeout_s: Seconds until the reply; None for no limit.
        others: For the stages of the method.
    """

    method: str = ""
    priority: int = 0
    timeout_s: float | None = None
    others: Mapping[str, Parameter] = _NOTHING


_NONE: Final = Options()


def options_of(parameters: Mapping[str, Parameter]) -> Options:
    """What the parameters of a request say.

    Args:
        parameters: As they were sent.

    Raises:
        InvalidInput: One has no value that it may have, or asks for what is not done here.
    """
    if not parameters:
        return _NONE
    method, priority, timeout_s = "", 0, None
    others: dict[str, Parameter] = {}
    for name, value in parameters.items():
        if name == "method":
            method = _method_of(value)
        elif name == "priority":
            priority = _whole_number(name, value)
        elif name == "timeout":
            microseconds = _whole_number(name, value)
            timeout_s = min(microseconds / 1e6, _MOST_SECONDS) if microseconds else None
        elif name in _SEQUENCES:
            _check_no_sequence(name, value)
        elif name not in _RESERVED and not name.startswith(_RESERVED_PREFIX):
            others[name] = value
    return Options(method, priority, timeout_s, others)


def sooner(one_s: float | None, other_s: float | None) -> float | None:
    """The shorter of two times; None stands for no limit."""
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)


def _method_of(value: Parameter) -> str:
    if type(value) is not str or not value:
        raise InvalidInput(f"Parameter method should be the name of a method, but is {_quoted(value)}")
    return value


def _whole_number(name: str, value: Parameter) -> int:
    if type(value) is not int or not 0 <= value <= _LARGEST_NUMBER:
        raise InvalidInput(
            f"Parameter {name} should be a whole number from 0 to {_LARGEST_NUMBER}, but is {_quoted(value)}"
        )
    return value


def _check_no_sequence(name: str, value: Parameter) -> None:
    """Refuse what belongs to a sequence: to answer it as any other request would be a wrong answer.

    Raises:
        InvalidInput: It does.
    """
    if value in (0, "", False):
        return
    raise InvalidInput(
        f"Parameter {name} is {_quoted(value)}, but this server keeps nothing from request to request: it has no "
        "sequences; leave the parameter out"
    )


def _quoted(value: object) -> str:
    return excerpt(repr(value))
