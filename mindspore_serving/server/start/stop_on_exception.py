"""What happens to the server when a function that starts something fails."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mindspore_serving import log
from mindspore_serving.errors import ServingError
from mindspore_serving.server.start.server import server_of_process

_P = ParamSpec("_P")
_R = TypeVar("_R")


def stop_on_exception(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Stop the whole server when a start function raises, as MindSpore Serving 2.0 does."""

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if server_of_process.running:
                log.error("%s failed, the server is stopped: %s", function.__name__, error)
            server_of_process.stop()
            if isinstance(error, ServingError):
                raise _without_traces(error) from error.__cause__
            raise

    return guarded


def _without_traces(error: ServingError) -> ServingError:
    """An error whose text tells all: where in Serving it was raised is for the log only."""
    log.debug("%s was raised here:", type(error).__name__, exc_info=error)
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each.__suppress_context__ = True
        each = each.__cause__
    return error
