"""What instances and requests get that dispatch cannot serve: the texts and codes, in one place.

503 says that nothing was done and that a request can be sent again. So what a worker has had gets 500 with the same
text, and is told that it may have been run (ADR 7).
"""

from __future__ import annotations

from collections.abc import Iterable

from mindspore_serving.errors import (
    DeadlineExceeded,
    Failure,
    Interrupted,
    Outcome,
    ServableUnavailable,
    StatusCode,
    SystemFailure,
    excerpt,
)
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.request import Piece
from mindspore_serving.signature import CALL_PREFIX

MAY_HAVE_RUN = ": a worker had this instance, which may have been run"
"""What is added where a text alone would say that nothing was done."""


def request_spec(name: str, method: str, version: int) -> str:
    """How a request's target reads in error texts.

    Args:
        name: Servable name.
        method: Method name.
        version: Version number; 0 for none.
    """
    spec = f"servable({excerpt(name)}) method({excerpt(method)}) "
    return f"{spec} version({version}) " if version else spec


def deadline_exceeded(name: str, method: str, version: int, timeout_s: float) -> DeadlineExceeded:
    """What a request gets whose client gave it too little time.

    Args:
        name: Servable name.
        method: Method name.
        version: Version number.
        timeout_s: The time, in seconds.
    """
    spec = request_spec(name, method, version)
    return DeadlineExceeded(f"Request {spec}, deadline of {1000 * timeout_s:.15g} ms exceeded")


def unavailable(name: str, method: str, version: int, *, reached: bool = False) -> Failure:
    """What instances get of a method that no copy runs.

    Args:
        name: Servable name.
        method: Method name.
        version: Version number.
        reached: Whether a worker has held the instances. Those of a model that another worker calls are part of
            instances that this one holds.
    """
    calls_model = method.startswith(CALL_PREFIX)
    if calls_model:
        text = "There are no available inference processes that occupy devices"
    else:
        text = f"Request {request_spec(name, method, version)}, servable is not available"
    return (
        Interrupted(text + MAY_HAVE_RUN).failure()
        if reached or calls_model
        else ServableUnavailable(text).failure()
    )


def workers_lost(name: str, method: str, version: int, attempts: int) -> Failure:
    """What an instance gets with which workers were lost.

    Args:
        name: Servable name.
        method: Method name.
        version: Version number.
        attempts: How many.
    """
    spec = request_spec(name, method, version)
    text = f"Request {spec}, {attempts} workers were lost while they served this instance"
    return Failure(SystemFailure.code, text, cause=Outcome.LOST)


def no_memory(cause: OSError, *, reached: bool) -> Failure:
    """What instances get for which shared memory cannot be had.

    Args:
        cause: Why not.
        reached: Whether a worker has held them before.
    """
    text = f"No memory for the instances of this request: {cause}"
    return (
        Failure(StatusCode.FAILED, text + MAY_HAVE_RUN) if reached else Failure(StatusCode.FAILED, text, 503)
    )


def not_passed_on(cause: Exception) -> Failure:
    """What instances get that cannot be written to a worker, for a reason that nobody expects."""
    return SystemFailure(f"The instances cannot be passed on: {cause!r}").failure()


def fail_all(pieces: Iterable[Piece], failure: Failure) -> None:
    """Give instances the same failure as their outcome."""
    for piece in pieces:
        piece.settle(FailedRows(failure, piece.rows.count))
