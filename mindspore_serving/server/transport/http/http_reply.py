"""Replies of HTTP as bytes: heads are made once per second and kind, not once per request."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

KEPT: Final = b""
"""The connection stays open, which HTTP/1.1 does not have to say."""
KEPT_1_0: Final = b"Connection: keep-alive\r\n"
CLOSED: Final = b"Connection: close\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class HttpReply(NamedTuple):
    """An answer: status, body, further header lines with their line ends, `X-Request-Id` or b"", type of the body."""

    status: int
    body: bytes
    fields: bytes = b""
    request_id: bytes = b""
    content_type: str = "application/json"


class ReplyHeads:
    """The heads of replies up to the number of `Content-Length`.

    Args:
        now: Seconds since the epoch.
    """

    __slots__ = ("_date", "_heads")

    def __init__(self, now: float) -> None:
        self._heads: dict[tuple[int, bytes, bytes, str], bytes] = {}
        self.set_time(now)

    def set_time(self, now: float) -> None:
        """Say this time in the heads from now on.

        Args:
            now: Seconds since the epoch.
        """
        self._date = formatdate(now, usegmt=True)
        self._heads.clear()

    def head(self, reply: HttpReply, connection: bytes) -> bytes:
        """All of a reply but the body.

        Args:
            reply: What is answered.
            connection: KEPT, KEPT_1_0 or CLOSED.
        """
        kind = (reply.status, connection, reply.fields, reply.content_type)
        start = self._heads.get(kind)
        if start is None:
            start = self._heads[kind] = self._start(*kind)
        if reply.request_id:  # differs from reply to reply, so it is no part of what is kept
            return b"%b%d\r\nX-Request-Id: %b\r\n\r\n" % (start, len(reply.body), reply.request_id)
        return b"%b%d\r\n\r\n" % (start, len(reply.body))

    def _start(self, status: int, connection: bytes, fields: bytes, content_type: str) -> bytes:
        lines = f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\n"
        if content_type:
            lines += f"Content-Type: {content_type}\r\n"
        lines += f"Date: {self._date}\r\n"
        return lines.encode() + connection + fields + b"Content-Length: "
