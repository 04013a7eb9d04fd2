"""Names of earlier releases that still work: each use says which name took their place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mindspore_serving import log

_P = ParamSpec("_P")
_R = TypeVar("_R")


def deprecated(version: str, substitute: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Log a warning at each call of a function.

    Args:
        version: Release that deprecated it.
        substitute: Full name of what to use instead.

    Returns:
        A decorator that leaves the signature as it is.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def warned(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            log.warning(
                "'%s' is deprecated from version %s and will be removed in a future version, use '%s' instead.",
                function.__name__,
                version,
                substitute,
            )
            return function(*args, **kwargs)

        return warned

    return decorate
