"""Main's end of the channel: the listening socket, and one connection per worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, StartUpError
from mindspore_serving.private_files import FileNotPrivate, make_private_folder, private_sockets
from mindspore_serving.server.channel.address import master_socket
from mindspore_serving.server.channel.frames import FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Message
from mindspore_serving.server.master.request import Reply
from mindspore_serving.unix_socket import LONGEST_PATH, remove_dead_socket

_BACKLOG = 4096
"""Workers that may connect while this process starts others; one beyond that would be refused."""


class LinkOwner(Protocol):
    """Who acts on what a connection brings."""

    def on_message(self, link: WorkerLink, message: Message) -> None:
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
                self._owner.on_message(self, message_of(kind, body, self.memory, own=True))
        except ChannelError as error:
            log.error("%r is closed: %s", self, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        self._transport = None
        for call in self.calls:
            call.cancel()
        self._owner.on_lost(self)

    def send(self, message: Message) -> None:
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


class ChannelServer:
    """The Unix socket on which workers connect.

    Args:
        directory: Working directory of the main process; the socket lies in `unix_socket_files` in it.
        make_link: Makes the protocol of a new connection.
    """

    def __init__(self, directory: Path, make_link: Callable[[], WorkerLink]) -> None:
        relative = master_socket(os.getpid())
        self._path = directory / relative
        self._folder = self._path.parent
        self._make_link = make_link
        self._server: asyncio.AbstractServer | None = None
        # Workers run in `directory`, so the short relative path reaches the socket where the full one is too long.
        self.address = f"unix:{self._path if len(os.fsencode(self._path)) <= LONGEST_PATH else relative}"

    async def start(self) -> None:
        """Listen, for this user only.

        Raises:
            StartUpError: The socket cannot be made.
        """
        try:
            make_private_folder(self._folder)
            remove_dead_socket(self.address.removeprefix("unix:"))
            loop = asyncio.get_running_loop()
            with private_sockets():
                self._server = await loop.create_unix_server(
                    self._make_link, self.address.removeprefix("unix:"), backlog=_BACKLOG
                )
        except OSError as cause:
            if not isinstance(cause, FileNotPrivate):
                self._remove_folder()
            raise StartUpError(
                f"Serving Error: Master server start failed, create server failed, address {self.address}: {cause}. "
                "The sockets and logs of workers are in the working directory, which must be writable and have space"
            ) from cause

    async def stop(self) -> None:
        """Stop listening and remove the socket; safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self._path.unlink(missing_ok=True)
        self._remove_folder()

    def _remove_folder(self) -> None:
        with contextlib.suppress(OSError):  # other servers may have sockets there
            self._folder.rmdir()
