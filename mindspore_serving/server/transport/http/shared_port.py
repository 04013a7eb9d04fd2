"""One port for HTTP/1.1 and gRPC: the first bytes of a connection tell the two apart.

gRPC speaks HTTP/2, of which every connection begins with `PRI * HTTP/2.0`; no request of HTTP/1.1 does. Such a
connection is passed on, byte by byte, to the gRPC server, which listens on a Unix socket for this user alone. Each side
is read only as fast as the other one takes it, and ends with it.

The gRPC server does not see who its clients are: all of them come by its socket, as processes of its own user. So it
must not be asked who somebody is where a port is shared: shared memory of clients is refused there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from mindspore_serving import log

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_ENOUGH: Final = 16
"""Bytes of the preface after which it can be nothing else."""
_DECIDED_WITHIN_S: Final = 20.0
"""How long a client may take to send them; as long as for a TLS handshake."""

_TAKEN_WITHIN_S: Final = 20.0
"""How long a client may take for the last bytes of a connection that has ended."""


class SharedPort:
    """What the connections of one port have in common.

    Args:
        grpc_path: Unix socket on which the gRPC server listens.
        http: Makes the protocol of a connection of HTTP/1.1.
        most: Most connections that are yet to be told apart, or that are passed on; one more is closed at once.
    """

    def __init__(self, grpc_path: str, http: Callable[[], asyncio.Protocol], most: int) -> None:
        self.grpc_path = grpc_path
        self.http = http
        self._most = most
        self._open: set[asyncio.Transport] = set()

    def __repr__(self) -> str:
        return f"<SharedPort {len(self._open)} of {self._most} connections undecided or of gRPC>"

    def connection(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _FirstBytes(self)

    def enter(self, transport: asyncio.Transport) -> bool:
        """Count a connection; returns whether there is room for it."""
        if len(self._open) >= self._most:
            return False
        self._open.add(transport)
        return True

    def leave(self, transport: asyncio.Transport) -> None:
        """A connection is HTTP's, or has ended."""
        self._open.discard(transport)

    def close(self) -> None:
        """End all connections that are not HTTP's."""
        for transport in tuple(self._open):
            transport.close()


class _FirstBytes(asyncio.Protocol):
    """A connection of which nobody knows yet what it speaks.

    Args:
        port: Where it came.
    """

    def __init__(self, port: SharedPort) -> None:
        self._port = port
        self._seen = b""
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None
        self._passing_on: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its first bytes."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._port.enter(self._transport):
            self._transport.abort()
            return
        self._late = asyncio.get_running_loop().call_later(_DECIDED_WITHIN_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Look at its first bytes."""
        assert self._transport is not None  # since it is made
        self._seen += data
        if not _PREFACE.startswith(self._seen[:_ENOUGH]):
            self._become_http(self._transport)
        elif len(self._seen) >= _ENOUGH and self._passing_on is None:
            self._transport.pause_reading()
            self._passing_on = asyncio.get_running_loop().create_task(self._pass_on(self._transport))

    def eof_received(self) -> None:
        """End: it has said too little."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._stop_waiting()
        if self._passing_on is not None:
            self._passing_on.cancel()
        if self._transport is not None:
            self._port.leave(self._transport)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _become_http(self, transport: asyncio.Transport) -> None:
        self._stop_waiting()
        self._port.leave(transport)
        protocol = self._port.http()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._seen)

    async def _pass_on(self, client: asyncio.Transport) -> None:
        """Connect it with the gRPC server."""
        self._stop_waiting()
        try:
            # The server speaks first, perhaps before this coroutine goes on: its side knows the client from the start.
            server, _ = await asyncio.get_running_loop().create_unix_connection(
                lambda: _Side(self._port, client, client), self._port.grpc_path
            )
        except OSError as error:
            log.error("A client of gRPC is not served, the gRPC server cannot be reached: %s", error)
            client.abort()
            return
        if client.is_closing():
            server.abort()
            return
        self._passing_on = None
        client.set_protocol(_Side(self._port, client, server))
        server.write(self._seen)
        client.resume_reading()


class _Side(asyncio.Protocol):
    """One end of a connection that is passed on.

    Args:
        port: Where it came.
        client: Transport of the client, by which it is counted.
        other: Transport of the other end.
    """

    def __init__(self, port: SharedPort, client: asyncio.Transport, other: asyncio.Transport) -> None:
        self._port = port
        self._client = client
        self._other = other

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._other.write(data)

    def eof_received(self) -> None:
        """End both directions: HTTP/2 has no use for one alone, and the gRPC server ends it likewise."""
        self._end_client()

    def pause_writing(self) -> None:
        """This end is not taken any more: read no more of the other one."""
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        """This end is taken again."""
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the other end: the client once it has taken what was passed on, the server at once."""
        if self._other is self._client:
            self._end_client()
        else:
            self._port.leave(self._client)
            self._other.abort()  # it may wait for a client that is gone

    def _end_client(self) -> None:
        """Close the client's end; at the latest after some time, for one that takes nothing."""
        self._client.close()
        asyncio.get_running_loop().call_later(_TAKEN_WITHIN_S, self._client.abort)
