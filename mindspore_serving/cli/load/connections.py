"""Connections that send requests which are ready, with as little work for each as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, cast

Done: TypeAlias = Callable[[bytes], None]
"""Takes a reply; empty if there is none, and then `failure` of the connection says why."""
_ERROR_BYTES = 2000
_RECONNECT_S = 0.1


class Connection(Protocol):
    """One connection to a server."""

    @property
    def concurrent(self) -> bool:
        """Whether a request may be sent before the last one is answered."""

    @property
    def lasting(self) -> bool:
        """Whether requests may be sent after one that had no reply."""

    @property
    def failure(self) -> str:
        """Why the last call of `done` had no reply."""

    @property
    def error_body(self) -> bytes:
        """What the server has said then."""

    @property
    def head(self) -> bytes:
        """The head of the last reply of HTTP."""

    def send(self, body: bytes, done: Done) -> None:
        """Send a request; `done` is called with the reply."""

    def close(self) -> None:
        """Close."""


class RestConnection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection with one request under way."""

    concurrent = False
    lasting = False
    statuses: tuple[bytes, ...] = (b"200",)

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._missing = 1  # least number of bytes that the reply still needs
        self._done: Done | None = None
        self.closed = False
        self.failure = ""
        self.error_body = b""
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the open connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one

    def send(self, body: bytes, done: Done) -> None:
        """Send a request from `http_request`; `done` gets the body of a reply with one of `statuses`, else nothing."""
        if self.closed:
            self.failure = "connection closed"
            asyncio.get_running_loop().call_soon(done, b"")
            return
        self._done = done
        self._transport.write(body)

    def close(self) -> None:
        """Close."""
        self.closed = True
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take some of a reply."""
        self._chunks.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        reply = data if len(self._chunks) == 1 else b"".join(self._chunks)
        begin = reply.find(b"\r\n\r\n") + 4
        if begin < 4:
            self._chunks, self._missing = [reply], 1
            return
        head = reply[:begin]
        small = head.lower()
        size = _content_length(small)
        if size is None:
            body = _unchunked(reply, begin) if b"transfer-encoding: chunked" in small else b""
            if body is None:
                self._chunks, self._missing = [reply], 1
                return
        elif begin + size > len(reply):
            self._chunks, self._missing = [reply], begin + size - len(reply)
            return
        else:
            body = reply[begin : begin + size]
        self._chunks, self._missing = [], 1
        if b"\r\nconnection: close" in small:
            self.close()
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        self.head = head
        if head[9:12] in self.statuses and body:
            self._finish(body)
            return
        self.failure, self.error_body = f"HTTP {head[9:12].decode(errors='replace')}", body[:_ERROR_BYTES]
        self._finish(b"")

    def connection_lost(self, _: Exception | None) -> None:
        """Let the request under way fail."""
        self.closed = True
        self.failure, self.error_body = "connection lost", b""
        self._finish(b"")

    def _finish(self, reply: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(reply)


def _content_length(small_head: bytes) -> int | None:
    _, name, value = small_head.partition(b"\r\ncontent-length:")
    return int(value.partition(b"\r\n")[0]) if name else None


def _unchunked(reply: bytes, begin: int) -> bytes | None:
    """The body of a chunked reply; None while some of it is missing."""
    parts: list[bytes] = []
    at = begin
    while (end := reply.find(b"\r\n", at)) >= 0:
        size = int(reply[at:end].partition(b";")[0], 16)
        if not size:
            return b"".join(parts) if reply.find(b"\r\n", end + 2) >= 0 else None
        part = reply[end + 2 : end + 2 + size]
        at = end + 4 + size
        if at > len(reply):
            return None
        parts.append(part)
    return None


def http_request(
    authority: str, path: str, body: bytes, headers: Mapping[str, str], verb: str = "POST"
) -> bytes:
    """A request of HTTP/1.1 as bytes.

    Args:
        authority: `host:port`.
        path: Of the request.
        body: Its body.
        headers: Beside `Host` and `Content-Length`.
        verb: Of the request.
    """
    own = {"Host": authority, "Content-Length": len(body), **headers}
    head = f"{verb} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in own.items())
    return f"{head}\r\n".encode() + body


class LastingConnection:
    """A connection of HTTP that is made anew when the server has closed it.

    Args:
        connect: Makes one.
    """

    concurrent = False
    lasting = True

    def __init__(self, connect: Callable[[], Awaitable[RestConnection]]) -> None:
        self._connect = connect
        self._inner: RestConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._own_failure = ""

    @property
    def failure(self) -> str:
        """Why the last request had no reply."""
        return self._own_failure or (self._inner.failure if self._inner else "")

    @property
    def error_body(self) -> bytes:
        """What the server has said then."""
        return b"" if self._own_failure or self._inner is None else self._inner.error_body

    @property
    def head(self) -> bytes:
        """The head of the last reply."""
        return self._inner.head if self._inner else b""

    def send(self, body: bytes, done: Done) -> None:
        """Send a request from `http_request`."""
        self._own_failure = ""
        if self._inner is not None and not self._inner.closed:
            self._inner.send(body, done)
            return
        task = asyncio.get_running_loop().create_task(self._send_anew(body, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_anew(self, body: bytes, done: Done) -> None:
        try:
            self._inner = await self._connect()
        except OSError as error:
            await asyncio.sleep(_RECONNECT_S)  # or all that a loop does is to fail
            self._own_failure = f"no connection: {error.strerror or error}"
            done(b"")
            return
        self._inner.send(body, done)

    def close(self) -> None:
        """Close."""
        for task in self._tasks:
            task.cancel()
        if self._inner is not None:
            self._inner.close()
