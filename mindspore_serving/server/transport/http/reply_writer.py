"""The writing side of a connection: replies that are large, and clients that do not take them.

A small reply is one write, which the connection does by itself. What has not left counts with the replies that clients
of all connections have not taken.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from mindspore_serving.server.transport.http.gateway import Gateway
from mindspore_serving.server.transport.http.life import Life

LARGE_REPLY_BYTES = 1 << 16
"""Bytes of a reply up to which it is one write."""
_BUFFERED_BYTES = 1 << 16
"""Bytes that a transport may hold while it takes more; that of TLS would hold much more."""
_PIECE_BYTES = 1 << 19
_NOTHING = memoryview(b"")


class ReplyWriter:
    """What is being written to the client of one connection.

    Methods that wait are told the connection: a writer that knew it would keep it alive.

    Args:
        link: The transport.
        gateway: What all connections share.
        life: Of the connection.

    Attributes:
        unsent: The end of a large reply, which the transport has not been given yet.
    """

    __slots__ = ("_gateway", "_life", "_link", "_seen_bytes", "unsent")

    def __init__(self, link: asyncio.Transport, gateway: Gateway, life: Life) -> None:
        link.set_write_buffer_limits(_BUFFERED_BYTES)
        self._link = link
        self._gateway = gateway
        self._life = life
        self.unsent = _NOTHING
        self._seen_bytes = 0  # had not left at the last look

    def __repr__(self) -> str:
        return f"<ReplyWriter {self.bytes_left} bytes left>"

    @property
    def bytes_left(self) -> int:
        """Bytes of replies that have not left."""
        return self._link.get_write_buffer_size() + len(self.unsent)

    async def small_taken(self, connection: web.RequestHandler, size: int) -> None:
        """Wait until the client takes more, after a small reply that has filled the transport.

        Args:
            connection: Whose reply.
            size: Its bytes.
        """
        untaken = self._gateway.untaken
        untaken.add(connection, size)
        await self.until_taken(connection)
        untaken.taken(connection, size)

    async def write_large(self, connection: web.RequestHandler, head: bytes, body: bytes) -> None:
        """Give the transport a large reply piece by piece, as its client takes it.

        A piece has left once the transport takes more.

        Args:
            connection: Whose reply.
            head: Its head.
            body: Its body.
        """
        untaken = self._gateway.untaken
        view = memoryview(body)
        piece, self.unsent = view[:_PIECE_BYTES], view[_PIECE_BYTES:]
        untaken.add(connection, len(head) + len(body))
        self._link.writelines((head, piece))  # no copy
        passed = len(head) + len(piece)
        while True:
            if connection.writing_paused:
                await self.until_taken(connection)
            untaken.taken(connection, passed)
            if not self.unsent:
                break
            # An empty view would keep all of the reply.
            piece, self.unsent = self.unsent[:_PIECE_BYTES], self.unsent[_PIECE_BYTES:] or _NOTHING
            passed = len(piece)
            self._link.write(piece)

    async def until_taken(self, connection: web.RequestHandler) -> None:
        """Wait until the client has taken so much that the transport takes more."""
        self._seen_bytes = 0
        self._life.since = self._gateway.now()
        await connection._drain_helper()

    def makes_progress(self, now: float) -> bool:
        """Whether the client takes something of what is written to it, or not for long does not.

        Args:
            now: Time of the clock.
        """
        left = self.bytes_left
        if left != self._seen_bytes:
            self._seen_bytes = left
            self._life.since = now
            return True
        return now - self._life.since <= self._gateway.limits.idle_s

    def give_all(self) -> None:
        """Give the transport, which will close by itself, all that is left of a large reply."""
        if self.unsent:
            rest, self.unsent = self.unsent, _NOTHING
            self._link.write(rest)

    def close(self) -> None:
        """Let go of everything: the connection is gone."""
        self.unsent = _NOTHING
