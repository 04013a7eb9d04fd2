"""The heads of replies as bytes: they are made once per second and kind, not once per request."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from mindspore_serving.server.transport.http_routes import VERSION_HEADER, HttpReply

KEPT: Final = b""
"""The connection stays open, which HTTP/1.1 does not have to say."""
KEPT_1_0: Final = b"Connection: keep-alive\r\n"
LAST: Final = b"Connection: close\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class ReplyHeads:
    """The heads of replies.

    Args:
        now: Seconds since the epoch.
    """

    __slots__ = ("_date", "_starts")

    def __init__(self, now: float) -> None:
        self._starts: dict[tuple[int, str, bytes, int], bytes] = {}
        self.set_time(now)

    def set_time(self, now: float) -> None:
        """Say this time in the heads from now on.

        Args:
            now: Seconds since the epoch.
        """
        self._date = formatdate(now, usegmt=True)
        self._starts.clear()

    def head(self, reply: HttpReply, connection: bytes) -> bytes:
        """All of a reply but the body.

        Args:
            reply: What is answered.
            connection: KEPT, KEPT_1_0 or LAST.
        """
        kind = (reply.status, reply.content_type, connection, reply.version)
        start = self._starts.get(kind)
        if start is None:
            start = self._starts[kind] = self._start(*kind)
        if reply.headers:
            lines = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
            return b"%b%d\r\n%b\r\n" % (start, len(reply.body), lines.encode())
        return b"%b%d\r\n\r\n" % (start, len(reply.body))

    def _start(self, status: int, content_type: str, connection: bytes, version: int) -> bytes:
        content = f"Content-Type: {content_type}\r\n" if content_type else ""
        lines = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n{content}Date: {self._date}\r\n"
        answered = f"{VERSION_HEADER}: {version}\r\n".encode() if version else b""
        return lines.encode() + connection + answered + b"Content-Length: "
