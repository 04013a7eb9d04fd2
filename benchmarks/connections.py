"""Connections of our own load generator: requests that are ready to be sent, and the replies that they should get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from benchmarks.http2 import Done, GrpcConnection, grpc_frame

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
"""Of a request over REST that does not say otherwise."""


@dataclass(frozen=True)
class Exchange:
    """A request, the right reply, and what a full server replies, all as a connection sends and gives them.

    Without a refusal, one that comes is a wrong reply.
    """

    request: bytes
    reply: bytes
    refusal: bytes = b""


class Connection(Protocol):
    """One connection to a server.

    Attributes:
        concurrent: Whether a request may be sent before the last one is answered.
    """

    concurrent: bool

    def send(self, body: bytes, done: Done) -> None:
        """Send a request; `done` is called with the reply, which is empty if there is none."""

    def close(self) -> None:
        """Close."""


class RestConnection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection with one request under way; replies must tell their length."""

    concurrent = False
    statuses: tuple[bytes, ...] = (b"200",)

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._missing = 1  # least number of bytes that the reply still needs
        self._done: Done | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one

    def send(self, body: bytes, done: Done) -> None:
        """Send a request from `rest_exchange`; `done` gets the body of a reply with one of `statuses`, else nothing."""
        if self._closed:
            asyncio.get_running_loop().call_soon(done, b"")
            return
        self._done = done
        self._transport.write(body)

    def close(self) -> None:
        """Close."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        reply = data if len(self._chunks) == 1 else b"".join(self._chunks)
        begin = reply.find(b"\r\n\r\n") + 4
        stop = begin + _content_length(reply[:begin]) if begin >= 4 else len(reply) + 1
        if stop > len(reply):
            self._chunks, self._missing = [reply], stop - len(reply)
            return
        self._chunks, self._missing = [], 1
        self._finish(reply[begin:stop] if reply[9:12] in self.statuses else b"")

    def connection_lost(self, _: Exception | None) -> None:
        self._closed = True
        self._finish(b"")

    def _finish(self, reply: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reply)


class RefusableRestConnection(RestConnection):
    """A connection whose refusals are replies, too."""

    statuses = (b"200", b"429")


def _content_length(head: bytes) -> int:
    _, name, value = head.lower().partition(b"content-length:")
    if not name:
        raise ConnectionError(f"a reply without Content-Length: {head!r}")
    return int(value.partition(b"\r\n")[0])


def grpc_exchange(body: bytes, expected: bytes) -> Exchange:
    """A serialized request and the serialized reply to it."""
    return Exchange(grpc_frame(body), grpc_frame(expected))


def rest_exchange(
    address: str, path: str, body: bytes, expected: bytes, headers: Mapping[str, str] = JSON_HEADERS
) -> Exchange:
    """A POST of a body, and the body of the reply; `headers` come beside `Host` and `Content-Length`."""
    own = {"Host": address, "Content-Length": len(body), **headers}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in own.items())
    return Exchange(f"{head}\r\n".encode() + body, expected)


async def connect(interface: str, address: str, path: str) -> Connection:
    """Open a connection.

    Args:
        interface: `grpc` or `rest`.
        address: `host:port`.
        path: For gRPC, of the method.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    if interface == "grpc":
        _, connection = await loop.create_connection(lambda: GrpcConnection(address, path), host, int(port))
        return connection
    _, plain = await loop.create_connection(RestConnection, host, int(port))
    return plain
