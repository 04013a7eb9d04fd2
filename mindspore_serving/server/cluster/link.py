"""What both ends of a connection between the master of a cluster and a worker have in common."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar, cast

from mindspore_serving import log
from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.frames import (
    LARGEST_FRAME,
    FrameSplitter,
    Incoming,
    Message,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.messages import Alive
from mindspore_serving.server.host.peer_user import stranger_at

ALIVE_EVERY_S = 1.0
HANDSHAKE_S = 10.0
LARGEST_GREETING = 1 << 20
"""Bytes of a frame from a peer that has not proved that it knows the token."""


_Expected = TypeVar("_Expected")


class ClusterLink(asyncio.Protocol, ABC, Generic[_Expected]):
    """One end of a connection. Subclasses act on messages.

    Args:
        incoming: The messages that belong to the conversation; the connection ends if another one comes.

    Attributes:
        peer: `ip:port` of the other end.
        joined: Whether both ends have proved that they know the token.
        fault: Why the connection has ended.
        alive_at: When the other end last said that it lives, in seconds of `time.monotonic`.
    """

    def __init__(self, incoming: Incoming[_Expected]) -> None:
        self.peer = ""
        self.joined = False
        self.fault = "the connection was closed"
        self.alive_at = time.monotonic()
        self._incoming = incoming
        self._heard = True
        self._missed = 0
        self._closed = False
        self._splitter = FrameSplitter(LARGEST_GREETING)
        self._transport: asyncio.Transport | None = None

    @abstractmethod
    def on_message(self, message: _Expected) -> None:
        """Act on a message.

        Raises:
            ChannelError: It does not belong here; the connection is closed.
        """

    def on_open(self) -> None:
        """Learn that the connection stands."""

    def on_lost(self) -> None:
        """Learn that the connection has ended; no message follows."""

    def trust(self) -> None:
        """Take the peer for one that knows the token."""
        self.joined = True
        self._splitter.largest = LARGEST_FRAME

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else "unknown"
        self.on_open()

    def stranger(self) -> int | None:
        """The user at the other end, if that is on this machine and somebody else; see `stranger_at`."""
        if self._transport is None:
            return None
        return stranger_at(*(self._transport.get_extra_info(end) for end in ("sockname", "peername")))

    def data_received(self, data: bytes) -> None:
        """Act on all messages that are complete; a peer that breaks the protocol is cut off."""
        self._heard = True
        if self._closed:  # TLS passes on what has come before the end
            return
        try:
            for kind, body in self._splitter.feed(data):
                message = message_of(kind, body, self._incoming)
                if isinstance(message, Alive):
                    self.alive_at = time.monotonic()
                else:
                    self.on_message(message)
                if self._transport is None or self._closed:
                    return
        except ChannelError as error:
            log.error("Connection with %s is closed: %s", self.peer, error)
            self.fault = str(error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the subclass."""
        self._transport = None
        self.on_lost()

    def send(self, message: Message) -> None:
        """Write one message; after the connection has ended it is dropped."""
        if self._transport is not None:
            self._transport.write(frame_of(message))

    def send_frame(self, frame: bytes) -> None:
        """Write a message whose frame is made already, for several peers; after the end it is dropped."""
        if self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        """End the connection once everything is written, and take nothing more; safe to call twice."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once; safe to call twice."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def beat(self) -> float:
        """Show that this end lives; call it every `ALIVE_EVERY_S`.

        Returns:
            Seconds for which nothing has come from the peer.
        """
        self.send(Alive())
        self._missed = 0 if self._heard else self._missed + 1
        self._heard = False
        return self._missed * ALIVE_EVERY_S
