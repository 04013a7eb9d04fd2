"""The listener on gRPC's C core. Begin with `core_poller` for the way of a call; why the core: ADR 49."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from mindspore_serving import log
from mindspore_serving.server.transport.grpc.core_poller import Poller
from mindspore_serving.server.transport.grpc.core_surface import core, credentials_of
from mindspore_serving.server.transport.grpc.library import FindHandler

_CUT_OFF_S: Final = 5.0
"""Time for what is to end at once."""


class CoreListener:
    """A `Listener` on the C core. To be made on the event loop.

    Args:
        find: Finds what answers a call. Called by the thread that polls.
        options: Of gRPC, by its names.
        on_failure: Called on the loop, with the reason, if that thread has failed: no more calls are taken.
    """

    def __init__(
        self,
        find: FindHandler,
        options: Sequence[tuple[str, int]],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._queue: Any = core.CompletionQueue()
        self._server: Any = core.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        _never_free(self._queue)
        _never_free(self._server)
        self._poller = Poller(self._server, self._queue, find, on_failure, asyncio.get_running_loop())
        self._stopping = False

    def __repr__(self) -> str:
        return f"<CoreListener {self._poller}>"

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Bind; see `Listener`."""
        given = None if credentials is None else credentials_of(credentials)
        port: int = self._server.add_http2_port(address.encode(), given)
        return port

    async def start(self) -> None:
        """Take calls from now on."""
        self._server.start()
        self._poller.start()

    async def stop(self, grace_s: float) -> None:
        """Close; see `Listener`."""
        poller = self._poller
        if not self._stopping:
            self._stopping = True
            self._server.shutdown(self._queue, poller.note_closed)
        if not await _is_set(poller.closed, grace_s):
            self._server.cancel_all_calls()
            if not await _is_set(poller.closed, _CUT_OFF_S):
                log.error("The gRPC server was not closed within %s s: %r", _CUT_OFF_S, poller)
                return
        if poller.is_ending:
            return
        poller.end_calls()
        poller.is_ending = True
        if await _is_set(poller.ended, _CUT_OFF_S):
            poller.join()
            _free(self._queue)
            _free(self._server)


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event, and say whether it came in time."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except asyncio.TimeoutError:
        return False
    return True


def _never_free(thing: object) -> None:
    """Keep an object for as long as the process lives, if its server is not stopped in order.

    The core's objects wait for its threads when they are freed. In a forked child there are none: the wait had no end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _free(thing: object) -> None:
    """Take back `_never_free`."""
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(thing))
