"""The listening gRPC server. What it answers are methods of dialects, called by `calls`."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import grpc

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.forked_grpc import note_use
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.socket_table import count_established
from mindspore_serving.server.host.unix_socket import place_for_socket
from mindspore_serving.server.service.server_statistics import FrontEndStatistics
from mindspore_serving.server.transport.address import (
    QUIET_S,
    STOP_GRACE_S,
    UNIX_PREFIX,
    parse_socket_address,
    socket_path,
)
from mindspore_serving.server.transport.grpc.calls import CallRouter
from mindspore_serving.server.transport.grpc.choice import new_listener
from mindspore_serving.server.transport.grpc.library import Listener
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.messages import MessageReader
from mindspore_serving.server.transport.grpc.peer import is_own_user
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.observers import Observers
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import SHARE_OF_ONE, UntakenReplies

_TAG = "Serving gRPC"
_LONGEST_HAND_OVER_S = 0.5
_COUNT_EVERY_S = 1.0


def check_grpc_address(address: str) -> None:
    """Check an address of the form `ip:port` or `unix:path`.

    Raises:
        StartUpError: It has neither form.
    """
    if not address.startswith(UNIX_PREFIX):
        parse_socket_address(address, _TAG)
    elif address == UNIX_PREFIX:
        raise StartUpError("Serving Error: Empty grpc server unix domain socket address")


class GrpcServer:
    """One listening gRPC server.

    Args:
        methods: What it answers, of all dialects.
        address: `ip:port`, or `unix:path`.
        limits: What clients may take.
        credentials: TLS; None for plain text.
        guard: Decides who is authenticated; None takes everybody.
        on_failure: Called on the event loop if it can take no more calls, and the process should end.
        observers: Who is told of calls; None for nobody.

    Attributes:
        address: The address with the path as it is bound.
    """

    def __init__(
        self,
        methods: Iterable[GrpcMethod],
        address: str,
        limits: GrpcLimits,
        credentials: grpc.ServerCredentials | None,
        guard: Guard | None = None,
        on_failure: Callable[[], None] = lambda: None,
        observers: Observers | None = None,
    ) -> None:
        on_unix_socket = address.startswith(UNIX_PREFIX)
        self.address = f"{UNIX_PREFIX}{socket_path(address)}" if on_unix_socket else address
        self._given_address = address
        self._credentials = credentials
        connections = TcpConnections()
        self._reader = MessageReader(
            limits.message_bytes, connections, UnfinishedBodies(limits.arriving_bytes)
        )
        self._untaken = UntakenReplies(limits.untaken_bytes, limits.untaken_bytes // SHARE_OF_ONE)
        self._replies = SentReplies(self._untaken, connections)
        self._guard = guard
        self._most_connections = limits.connections
        self._connections = 0
        self._count_again_at = 0.0
        self._calls = CallRouter(
            methods,
            limits.message_bytes,
            self._reader,
            self._replies,
            guard,
            self._is_own_user,
            observers,
            credentials is not None,
        )
        self._options = [("grpc.so_reuseport", 0), *limits.options()]
        self._on_failure = on_failure
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Listen; on a Unix socket, for this user only.

        Raises:
            StartUpError: The address cannot be bound, or key and certificate do not fit together.
        """
        note_use()
        listener = await new_listener(self._calls.find, self._options, self._fail)
        given = self._given_address
        try:
            async with (
                place_for_socket(socket_path(given)) if given.startswith(UNIX_PREFIX) else nullcontext()
            ):
                port = listener.bind(given, self._credentials)
        except OSError as cause:
            raise _not_created(given, f": {cause}") from cause
        except RuntimeError as cause:
            raise _not_created(given) from cause
        if port == 0:
            raise _not_created(given)
        await listener.start()
        self._listener = listener

    def _is_own_user(self, peer: str) -> bool:
        return is_own_user(self.address, peer)

    def _fail(self, reason: BaseException) -> None:
        """Say that no more calls are taken, and have the process end."""
        trace = "".join(traceback.format_exception(reason))
        log.error("The gRPC server has failed, and takes no more calls: %s", trace)
        self._on_failure()

    def statistics(self) -> FrontEndStatistics:
        """Its connections, as of up to a second ago."""
        port = self.address.rpartition(":")[2]
        if self.address.startswith(UNIX_PREFIX) or not port.isdecimal():
            return FrontEndStatistics("grpc", self.address, -1, self._most_connections)
        now = time.monotonic()
        if now >= self._count_again_at:
            self._connections = count_established(int(port))
            self._count_again_at = now + _COUNT_EVERY_S
        return FrontEndStatistics("grpc", self.address, self._connections, self._most_connections)

    @property
    def refused(self) -> dict[str, int]:
        """Calls that were refused before anybody was asked, as of `ServerStatistics.refused`."""
        rejected = 0 if self._guard is None else self._guard.rejected
        return {"unauthorized": rejected, "replies": self._untaken.refused}

    async def hand_over(self) -> None:
        """Let the calls that gRPC has received be refused by their handlers: a server that stops cancels them."""
        for _ in range(round(_LONGEST_HAND_OVER_S / QUIET_S)):
            before = self._calls.unavailable
            await asyncio.sleep(QUIET_S)
            if self._calls.unavailable == before:
                return

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Refuse new calls, let those under way finish shortly, and close. Safe to call twice.

        Args:
            grace_s: How long calls under way may take; a later call with less shortens it.
        """
        listener = self._listener
        if listener is None:
            return
        self._calls.stopping.set()
        await listener.stop(grace_s)
        self._reader.stop()
        self._replies.stop()
        first, self._listener = self._listener is listener, None
        if first and self.address.startswith(UNIX_PREFIX):
            Path(self.address.removeprefix(UNIX_PREFIX)).unlink(missing_ok=True)


def _not_created(address: str, reason: str = "") -> StartUpError:
    return StartUpError(
        f"Serving Error: Serving gRPC server start failed, create server failed, address {address}"
        f"{reason or bind_fault(address)}"
    )
