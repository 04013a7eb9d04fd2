"""Main's end of the channel: one connection per worker.

It is half of a pair of sockets, whose other half the worker inherits. Nobody else can connect, and no file is needed
that somebody might remove (ADR 35). Control messages go to supervision. Results go straight to the copy in dispatch:
there is at least one for every batch.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

from mindspore_serving import log
from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.frames import FROM_WORKER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import FromWorker, Result, ToWorker


class LinkOwner(Protocol):
    """Who acts on what a connection brings."""

    def on_message(self, link: WorkerLink, message: FromWorker) -> None:
        """Take one message that is no result."""

    def on_lost(self, link: WorkerLink) -> None:
        """Learn that the connection has ended; no message follows."""


class Cancellable(Protocol):
    """A call under way."""

    def cancel(self) -> object:
        """Give it up."""


class WorkerLink(asyncio.Protocol):
    """One connection from a worker.

    Args:
        owner: Who acts on control messages.
        number: Number of the worker.
        memory: Shared memory of the worker; None where there is none.

    Attributes:
        number: As given.
        heard: Set whenever something arrives.
        calls: What the worker has called and waits for.
    """

    def __init__(self, owner: LinkOwner, number: int, memory: SharedMemory | None = None) -> None:
        self.number = number
        self.heard = True
        self.calls: set[Cancellable] = set()
        self._owner = owner
        self._memory = memory
        self._take_result: Callable[[Result], None] = self._refuse_result
        self._splitter = FrameSplitter()
        self._transport: asyncio.WriteTransport | None = None

    def __repr__(self) -> str:
        return f"<WorkerLink of worker {self.number}>"

    def give_results_to(self, take_result: Callable[[Result], None]) -> None:
        """Pass results on from now on; before, they break the protocol.

        Args:
            take_result: Takes one, and raises ChannelError where it does not fit.
        """
        self._take_result = take_result

    def _refuse_result(self, _: Result) -> None:
        raise ChannelError("it has sent a result before it has registered")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Act on all messages that are complete; a peer that breaks the protocol is cut off."""
        self.heard = True
        try:
            for kind, body in self._splitter.feed(data):
                message = message_of(kind, body, FROM_WORKER, self._memory, own=True)
                if isinstance(message, Result):
                    self._take_result(message)
                else:
                    self._owner.on_message(self, message)
        except ChannelError as error:
            log.error("%r is closed: %s", self, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        self._transport = None
        for call in list(self.calls):  # the end of one may be that of another
            call.cancel()
        self._owner.on_lost(self)

    def send(self, message: ToWorker) -> None:
        """Write one message; after the connection has ended it is dropped.

        Raises:
            OSError: Shared memory cannot be had.
        """
        frame = frame_of(message, self._memory)
        if self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        """End the connection at once; safe to call twice."""
        if self._transport is not None:
            self._transport.abort()


async def open_link(channel: socket.socket, link: WorkerLink) -> None:
    """Serve main's end of a channel from now on.

    Args:
        channel: The socket, which the link closes in its time.
        link: Who serves it.

    Raises:
        OSError: That cannot be done.
    """
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=channel)
