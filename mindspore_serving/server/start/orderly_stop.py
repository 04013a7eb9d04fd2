"""How the server lets requests finish before it stops, and waits for its parts to end; a second signal hurries both."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures

from mindspore_serving import log
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.standard_output import say
from mindspore_serving.server.host.stop_request import StopRequest
from mindspore_serving.server.supervision.reaper import STOP_GRACE_S as WORKER_GRACE_S
from mindspore_serving.server.supervision.supervisor import Supervisor
from mindspore_serving.server.transport.address import STOP_GRACE_S
from mindspore_serving.server.transport.grpc.server import GrpcServer
from mindspore_serving.server.transport.http.rest_gateway import RestServer

SIGNAL_POLL_S = 0.1
"""Signals are looked at this often by who waits for something else."""
_STOP_TIMEOUT_S = 30.0
_SILENT_S = 1.0
"""A stop that takes longer says what it waits for."""


async def finish_requests(
    dispatcher: Dispatcher, grpc: GrpcServer | None, rest: RestServer | None, timeout_s: float
) -> None:
    """Refuse new requests, let those that were admitted be answered, and let their replies leave.

    Both front ends listen until then: to close them is to lose what the system has accepted for them.
    """
    deadline = time.monotonic() + timeout_s
    if rest is not None:
        rest.drain()
    if not await dispatcher.drain(timeout_s):
        return
    front_ends = [front_end for front_end in (grpc, rest) if front_end is not None]
    await asyncio.gather(*(front_end.hand_over() for front_end in front_ends))
    grace_s = max(STOP_GRACE_S, deadline - time.monotonic())
    await asyncio.gather(*(front_end.stop(grace_s) for front_end in front_ends))


def wait_for_requests(
    drained: Future[None], dispatcher: Dispatcher, request: StopRequest, pending: int, timeout_s: float
) -> None:
    """Wait until `finish_requests` is over, and say what is waited for.

    Args:
        drained: `finish_requests`, on the loop.
        dispatcher: Whose requests are to finish.
        request: The wish to stop; one that is urgent ends the wait.
        pending: How many requests there were when it began.
        timeout_s: The time that they have.
    """
    if pending:
        say(f"Serving: stopping, {pending} requests have {timeout_s:g} s to finish{_how_to_hurry(request)}")
    while not drained.done() and not request.is_urgent():
        wait_for_futures([drained], SIGNAL_POLL_S)
    if drained.done() and drained.exception() is not None:
        log.error("Requests were not waited for: %r", drained.exception())
    if dispatcher.requests:
        say(f"Serving: stopping, {dispatcher.requests} requests have not finished and get an error")


def wait_for_end(
    stopping: Future[None], part: object, request: StopRequest, supervisor: Supervisor | None
) -> None:
    """Wait in slices until a part of the server has stopped, so that a second signal is acted on.

    Args:
        stopping: The stop of the part, on the loop.
        part: The part; for the supervisor it is said which workers are waited for.
        request: The wish to stop.
        supervisor: Whose workers are hurried when the wish is urgent.
    """
    begun = time.monotonic()
    said = False
    while not stopping.done() and time.monotonic() < begun + _STOP_TIMEOUT_S:
        wait_for_futures([stopping], SIGNAL_POLL_S)
        if supervisor is None:
            continue
        if part is supervisor and not said and time.monotonic() > begun + _SILENT_S:
            said = True
            _say_workers(supervisor.awaited(), request)
        if request.is_urgent():
            supervisor.hurry()
    if stopping.done():
        stopping.result()
    else:
        log.error("%r was not stopped within %s s", part, _STOP_TIMEOUT_S)


def _say_workers(awaited: list[str], request: StopRequest) -> None:
    if awaited:
        more = f" and {len(awaited) - 1} more" if awaited[1:] else ""
        say(
            f"Serving: stopping, waiting for {awaited[0]}{more}, which are killed {WORKER_GRACE_S:g} s after they were "
            f"told to end{_how_to_hurry(request)}"
        )


def _how_to_hurry(request: StopRequest) -> str:
    """What ends the wait; a script that stops the server itself would have to be interrupted twice."""
    return ". Ctrl+C or SIGTERM once more ends this at once" if request.wanted else ""
