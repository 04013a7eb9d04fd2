"""The bytes of one HTTP/1.1 connection to requests, on the parser llhttp, within limits of what a client may send."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from mindspore_serving import log
from mindspore_serving.server.access.guard import KEY_FIELDS, Door
from mindspore_serving.server.transport.http.http_reply import CLOSED, KEPT, KEPT_1_0

BAD_REQUEST: Final = 400
TIMED_OUT: Final = 408
TOO_LARGE: Final = 413
UNAUTHORIZED: Final = 401
HEAD_TOO_LARGE: Final = 431
BUSY: Final = 503
VERSION_UNKNOWN: Final = 505
_TIMEOUT = b"x-request-timeout-ms"
_ID = b"x-request-id"
_HOST = b"host"
_TYPE = b"content-type"
_FIELDS = frozenset(
    (_HOST, b"content-length", b"transfer-encoding", b"content-encoding", b"expect", _TIMEOUT, _ID, _TYPE)
)


class HttpRequest(NamedTuple):
    """A request, or what is known of one that is refused.

    Attributes:
        method: Verb; b"" if not even that is known.
        target: As it was sent.
        coding: `Content-Encoding`, b"" where there is none.
        body: As it was sent.
        timeout_ms: `X-Request-Timeout-Ms`, None where there is none.
        given_id: `X-Request-Id`, b"" where there is none.
        stranger: Whether it comes from somebody who is not let in, and asks what everybody may ask.
        content_type: `Content-Type`, b"" where there is none.
    """

    method: bytes
    target: bytes
    coding: bytes
    body: bytes
    timeout_ms: bytes | None = None
    given_id: bytes = b""
    stranger: bool = False
    content_type: bytes = b""


class Refusal(NamedTuple):
    """What is not read as a request.

    Attributes:
        status: What HTTP says to it.
        text: Why.
        request: What is known of it.
    """

    status: int
    text: str
    request: HttpRequest


class Turn(NamedTuple):
    """What is answered when those before it have been.

    Attributes:
        question: What was read.
        connection: KEPT, KEPT_1_0 or CLOSED.
        has_body: Whether the reply has its body.
    """

    question: HttpRequest | Refusal
    connection: bytes
    has_body: bool


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client may take.

    Attributes:
        body_bytes: Largest body.
        connections: Most connections of a server.
        head_bytes: Most bytes of a request that bring neither the end of its headers nor any of its body.
        headers: Most headers of a request.
        receive_s: Time for a request to arrive, from its first byte.
        idle_s: Time without a request, and time in which a client may take nothing of its reply.
        linger_s: Time for which a client that was refused may go on sending.
    """

    body_bytes: int
    connections: int = 10000
    head_bytes: int = 1 << 16
    headers: int = 256
    receive_s: float = 100.0
    idle_s: float = 100.0
    linger_s: float = 10.0


class _Stop(Exception):
    """Leaves the parser, which reads no further byte."""


class HttpReader:
    """Reads requests.

    Args:
        limits: What a client may send.

    Attributes:
        turns: What was read, in order; the owner takes from its left.
        started: Part of a request was read.
        ended: Nothing more will be read.
        unread: It has ended where the client may not have: more was sent, or may come.
        size: Bytes of the body that is being read; 0 between requests.
    """

    __slots__ = (
        "_connection",
        "_door",
        "_fields",
        "_headed",
        "_header_count",
        "_interim",
        "_limits",
        "_method",
        "_names",
        "_parser",
        "_pieces",
        "_silent",
        "_stranger",
        "_target",
        "_upgrading",
        "ended",
        "size",
        "started",
        "turns",
        "unread",
    )

    def __init__(self, limits: HttpLimits) -> None:
        self.turns: deque[Turn] = deque()
        self.started = False
        self.ended = False
        self.unread = False
        self._limits = limits
        self._door: Door | None = None
        self._names = _FIELDS
        self._parser = HttpRequestParser(self)
        self._silent = 0
        self._pieces: list[bytes] = []
        self.size = 0
        self.on_message_begin()
        self.started = False

    def guard(self, door: Door) -> None:
        """Refuse requests that are not let in, as soon as their headers are read.

        Args:
            door: Decides.
        """
        self._door = door
        self._names = _FIELDS | KEY_FIELDS

    def take_continue(self) -> bool:
        """Whether the client waits for leave to send its body; true once for a request."""
        if not self._headed or self.size or not self._interim:
            return False
        return self._fields.pop(b"expect", b"").lower() == b"100-continue"

    def feed(self, data: bytes) -> None:
        """Read bytes; never raises."""
        most = self._limits.head_bytes
        if len(data) < most - self._silent:
            self._silent += len(data)
            self._parse(data)
            return
        rest = memoryview(data)
        while rest and not self.ended:
            room = most - self._silent
            piece, rest = rest[:room], rest[room:]
            self._silent += len(piece)
            self._parse(piece)
            if self._silent >= most and not self.ended:
                self.end(HEAD_TOO_LARGE, f"headers of more than {most} bytes")
        if rest:
            self.unread = True

    def end(self, status: int, text: str) -> None:
        """Refuse what is being read, and read nothing more."""
        if status not in (TIMED_OUT, TOO_LARGE, UNAUTHORIZED, BUSY):
            text = f"http message invalid, {text}"
        self._pieces.clear()
        self.size = 0
        known = self._request(b"") if self.started else HttpRequest(b"", b"", b"", b"")
        refusal = Refusal(status, text, known)
        self.turns.append(Turn(refusal, CLOSED, self._method != b"HEAD"))
        self.started = False
        self.ended = self.unread = True

    def drop(self) -> None:
        """Forget all that was read; nothing more will be. The parser, which knows this reader, is let go."""
        self.turns.clear()
        self._pieces.clear()
        self.size = 0
        self.ended = True
        del self._parser

    def _parse(self, data: bytes | memoryview) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
                self._decline_upgrade()
            except HttpParserError as error:
                if self.ended:  # left on purpose, or by bytes behind the last request
                    self.unread = True
                else:
                    self._end_at(error)
                return

    def _end_at(self, error: HttpParserError) -> None:
        if isinstance(error.__context__, Exception):
            log.error("HTTP request could not be read: %r", error.__context__, exc_info=True)
        self.end(VERSION_UNKNOWN if "HTTP version" in str(error) else BAD_REQUEST, str(error))

    def _decline_upgrade(self) -> None:
        """Read the request as if its client had not offered another protocol.

        The parser takes the offer as accepted, and what follows for no HTTP. Another one begins with the same head.
        """
        fields = {**self._fields, b"connection": b"close" if self._connection is CLOSED else b"keep-alive"}
        lines = [b"%b %b HTTP/%b" % (self._method, self._target, self._parser.get_http_version().encode())]
        lines += [b"%b: %b" % field for field in fields.items()]
        self._parser = HttpRequestParser(self)
        self._parse(b"\r\n".join((*lines, b"", b"")))

    # --- What the parser calls ---

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self.started = True
        self._headed = self._upgrading = False
        self._method = self._target = b""
        self._interim = True
        self._stranger = False
        self._connection = KEPT
        self._fields: dict[bytes, bytes] = {}
        self._header_count = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that matters; those behind the body do not."""
        self._header_count += 1
        if self._header_count > self._limits.headers:
            self.end(HEAD_TOO_LARGE, f"more than {self._limits.headers} headers")
            raise _Stop
        name = name.lower()
        if name in self._names and not self._headed:
            before = self._fields.get(name)
            if before is None:
                self._fields[name] = value
            elif name == _HOST:
                self.end(BAD_REQUEST, "more than one header Host")
                raise _Stop
            else:
                self._fields[name] = before + b", " + value

    def on_headers_complete(self) -> None:
        """Refuse what shall not be read to its end."""
        parser = self._parser
        self._headed = True
        self._silent = 0
        self._method = parser.get_method()
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self.end(VERSION_UNKNOWN, f"HTTP version {version} is not supported")
            raise _Stop
        self._interim = version == "1.1"
        if self._interim and _HOST not in self._fields:
            self.end(BAD_REQUEST, "header Host is missing")
            raise _Stop
        if not parser.should_keep_alive():
            self._connection = CLOSED
        elif not self._interim:
            self._connection = KEPT_1_0
        if self._door is not None and not self._door.admits(self._fields):
            self._meet_stranger(self._door)
        length = self._fields.get(b"content-length")
        if length is None:
            self._check_coding(version)
        elif int(length) > self._limits.body_bytes:
            self._end_too_large()
        if parser.should_upgrade():
            self._offered()

    def _meet_stranger(self, door: Door) -> None:
        """Refuse somebody who is not let in, but for a question that everybody may ask."""
        if not door.admits_stranger(self._method, self._target, self._fields):
            self.end(UNAUTHORIZED, door.refusal)
            raise _Stop
        self._stranger = True

    def _check_coding(self, version: str) -> None:
        """Refuse what the parser reads as chunks, and others on the way may read otherwise."""
        coding = self._fields.get(b"transfer-encoding")
        if coding is not None and (coding.strip().lower() != b"chunked" or version == "1.0"):
            shown = coding.decode("latin-1")
            self.end(
                BAD_REQUEST,
                f"Transfer-Encoding should be chunked, in HTTP/1.1, but got {shown}, in HTTP/{version}",
            )
            raise _Stop

    def _offered(self) -> None:
        """The client wants to speak another protocol."""
        if self._method == b"CONNECT":  # there is no way to go on
            self._connection = CLOSED
            self.on_message_complete()
            self.unread = True
            raise _Stop
        self._upgrading = True

    def on_body(self, piece: bytes) -> None:
        """Take a part of the body."""
        self._silent = 0
        self.size += len(piece)
        if self.size > self._limits.body_bytes:
            self._end_too_large()
        self._pieces.append(piece)

    def _end_too_large(self) -> None:
        self.end(TOO_LARGE, f"http message is bigger than {self._limits.body_bytes}")
        raise _Stop

    def on_message_complete(self) -> None:
        """The request is read."""
        if self._upgrading:
            return
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.turns.append(Turn(self._request(body), self._connection, self._method != b"HEAD"))
        pieces.clear()
        self.size = self._silent = 0
        self.started = False
        self.ended = self._connection is CLOSED

    def _request(self, body: bytes) -> HttpRequest:
        fields = self._fields
        coding = fields.get(b"content-encoding", b"")
        return HttpRequest(
            self._method,
            self._target,
            coding,
            body,
            fields.get(_TIMEOUT),
            fields.get(_ID, b""),
            self._stranger,
            fields.get(_TYPE, b""),
        )
