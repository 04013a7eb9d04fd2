"""Main's end of the channel: one connection per worker.

It is half of a pair of sockets, whose other half the worker inherits. Nobody else can connect, and no file is needed
that somebody might remove.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from mindspore_serving import log
from mindspore_serving.errors import ChannelError
from mindspore_serving.rows import Reply
from mindspore_serving.server.channel.frames import FROM_WORKER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import FromWorker, ToWorker


class LinkOwner(Protocol):
    """Who acts on what a connection brings."""

    def on_message(self, link: WorkerLink, message: FromWorker) -> None:
        """Take one message."""

    def on_lost(self, link: WorkerLink) -> None:
        """Learn that the connection has ended; no message follows."""


class WorkerLink(asyncio.Protocol):
    """One connection from a worker.

    Args:
        owner: Who acts on messages.

    Attributes:
        worker: Number of the worker, once it has registered.
        memory: Shared memory of the worker, once it is known.
        heard: Set whenever something arrives.
        alive_at: When the worker last said that it lives, in seconds of `time.monotonic`; 0 before it has registered.
        calls: Answers that the worker waits for.
    """

    def __init__(self, owner: LinkOwner) -> None:
        self.worker: int | None = None
        self.memory: SharedMemory | None = None
        self.heard = True
        self.alive_at = 0.0
        self.calls: set[asyncio.Future[Reply]] = set()
        self._owner = owner
        self._splitter = FrameSplitter()
        self._transport: asyncio.WriteTransport | None = None

    def __repr__(self) -> str:
        return f"<WorkerLink of worker {self.worker}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Act on all messages that are complete; a peer that breaks the protocol is cut off."""
        self.heard = True
        try:
            for kind, body in self._splitter.feed(data):
                self._owner.on_message(self, message_of(kind, body, FROM_WORKER, self.memory, own=True))
        except ChannelError as error:
            log.error("%r is closed: %s", self, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        self._transport = None
        for call in self.calls:
            call.cancel()
        self._owner.on_lost(self)

    def send(self, message: ToWorker) -> None:
        """Write one message; after the connection has ended it is dropped.

        Raises:
            OSError: Shared memory cannot be had.
        """
        frame = frame_of(message, self.memory)
        if self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        """End the connection at once; safe to call twice."""
        if self._transport is not None:
            self._transport.abort()


async def open_link(channel: socket.socket, owner: LinkOwner) -> WorkerLink:
    """Serve main's end of a channel from now on.

    Args:
        channel: The socket, which the link closes in its time.
        owner: Who acts on messages.

    Raises:
        OSError: That cannot be done.
    """
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: WorkerLink(owner), sock=channel)
    return link
