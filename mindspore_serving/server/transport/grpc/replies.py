"""What gRPC holds for clients that do not take their replies, and the end of their connections."""

from __future__ import annotations

import asyncio

from mindspore_serving import log
from mindspore_serving.server.host.heap import give_back_freed_memory
from mindspore_serving.server.transport.grpc.library import ServerCall
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.untaken_replies import UntakenReplies

_LOOK_EVERY_S = 1.0
_SMALL_BYTES = 1 << 10
"""A smaller reply takes less memory than gRPC takes for its call in any case; the number of calls has its own limit."""
_COPIES = 2
"""gRPC copies a reply, and its Python layer keeps the bytes that were copied until all of them have left."""


class SentReplies:
    """Counts the replies of one server, and closes connections that hold too much.

    Args:
        untaken: Says which these are.
        connections: Closes them.
    """

    def __init__(self, untaken: UntakenReplies, connections: TcpConnections) -> None:
        self._untaken = untaken
        self._connections = connections
        self._next_look: asyncio.TimerHandle | None = None
        self._crowded = False

    @property
    def refusal(self) -> str:
        """What a client is told whose call is not answered."""
        return self._untaken.refusal

    def has_room(self, peer: str) -> bool:
        """Whether a call of a connection may be answered."""
        return self._untaken.has_room(peer)

    def add(self, call: ServerCall, size: int) -> None:
        """Count a reply that is about to be sent, until it has left or its call has ended; small ones are not counted.

        Args:
            call: Which it answers.
            size: Bytes.
        """
        if size < _SMALL_BYTES:
            return
        peer, held = call.peer, _COPIES * size
        self.hold(peer, held)
        call.when_done(lambda: self.release(peer, held))

    def hold(self, peer: str, size: int) -> None:
        """Count bytes that are held for a connection, until they are released.

        Args:
            peer: Address of its client.
            size: Bytes.
        """
        self._untaken.add(peer, size)
        if self._next_look is None and self._untaken.crowded:
            self._crowded = True
            self._look_later()

    def release(self, peer: str, size: int) -> None:
        """Count bytes no more that were held.

        Args:
            peer: As of `hold`.
            size: Bytes.
        """
        self._untaken.taken(peer, size)

    def stop(self) -> None:
        """Close nothing any more; safe to call twice."""
        if self._next_look is not None:
            self._next_look.cancel()

    def _look_later(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._next_look = None
        was_crowded, self._crowded = self._crowded, self._untaken.crowded
        if was_crowded and not self._crowded:  # replies were taken, or their connections have ended
            give_back_freed_memory()
        for peer in self._untaken.stalled():
            if self._connections.close(str(peer)):
                log.warning("Connection of %s was closed, its client does not take its replies", peer)
        if self._crowded:
            self._look_later()
