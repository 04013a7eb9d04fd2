"""HTTP/1.1 with exact headers and bodies, and a limit for every wait."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

from oip_conformance.check import Deviation, NoReply
from oip_conformance.trail import Trail, shown

MAX_REPLY_BYTES = 256 << 20
_CHUNK = 64 << 10
JSON_TYPE = "application/json"
HEADER_LENGTH = "Inference-Header-Content-Length"


def quoted(name: str) -> str:
    """Return the name as one segment of a path."""
    return quote(name, safe="")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parse_json(data: bytes) -> Any:
    """Parse strict JSON, UTF-8, without NaN and Infinity.

    Raises:
        Deviation: It is not JSON.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Deviation("a JSON body", f"{shown(data, 200)!r} ({error})") from error


@dataclass(frozen=True)
class Reply:
    """One HTTP reply; ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body.

        Raises:
            Deviation: It is not JSON.
        """
        return parse_json(self.body)

    def __str__(self) -> str:
        return f"{self.status} {shown(self.body, 200)}"

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()


class _BoundedReader(io.RawIOBase):
    """Reads a socket until a deadline, and not more than a limit."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._left = MAX_REPLY_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the reply did not end in time")
        self._sock.settimeout(remaining)
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError(f"the reply is larger than {MAX_REPLY_BYTES} bytes")
        return count


class _KeptReader(io.BufferedReader):
    """Stays open when ``http.client`` closes it at the end of a reply: the next reply follows."""

    def close(self) -> None:
        pass


class _ReadSide:
    """What ``http.client.HTTPResponse`` asks of a socket."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self._reader


class Connection:
    """One TCP connection, for one or more requests."""

    def __init__(self, client: RestClient) -> None:
        self._client = client
        self._deadline = time.monotonic() + client.timeout_s
        self._sock = client.connect()
        self._reader = _KeptReader(_BoundedReader(self._sock, self._deadline))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.settimeout(max(self._deadline - time.monotonic(), 0.001))
        self._sock.sendall(data)

    def leave(self) -> None:
        """End the sending side, and wait until the server has noticed, or a second."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(min(1.0, self._client.timeout_s))
            while self._sock.recv(_CHUNK):
                pass

    def reply(self, method: str) -> Reply:
        """Read one reply to its end."""
        response = http.client.HTTPResponse(cast(socket.socket, _ReadSide(self._reader)), method=method)
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, body)


class RestClient:
    """Sends requests to one server.

    Args:
        url: http:// or https://, host, port, and the path before ``/v2``, if any.
        timeout_s: Limit of one whole exchange.
        trail: Gets every exchange.
        headers: Sent with every request.
    """

    def __init__(
        self, url: str, timeout_s: float, trail: Trail, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--http {url!r}: expected http://HOST:PORT[/BASE/PATH]")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname
        self.port = parts.port or (443 if self._tls else 80)
        self._netloc = parts.netloc
        self.base = parts.path.rstrip("/")
        self.timeout_s = timeout_s
        self.trail = trail
        self._headers = dict(headers or {})

    def connect(self) -> socket.socket:
        """Return a new connection."""
        sock = socket.create_connection((self.host, self.port), self.timeout_s)
        if self._tls is not None:
            return self._tls.wrap_socket(sock, server_hostname=self.host)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def open(self) -> Connection:
        """Return a connection for several requests, with one time limit for all of them."""
        return Connection(self)

    def head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """Return the first lines of a request, with the empty line that ends them."""
        lines = [f"{method} {self.base}{path} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in {**self._headers, **headers}.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request on a connection of its own.

        Args:
            method: GET or POST.
            path: From ``/v2`` on.
            body: As it is sent; Content-Length is added.
            headers: Further headers.

        Raises:
            NoReply: No whole reply came in time.
        """
        sent = {"Connection": "close", **(headers or {})}
        if body or method == "POST":
            sent.setdefault("Content-Length", str(len(body)))
        return self._exchange(method, path, [self.head(method, path, sent), body], body, sent)

    def request_chunked(self, path: str, chunks: Iterable[bytes], headers: Mapping[str, str]) -> Reply:
        """POST with chunked transfer coding.

        Raises:
            NoReply: No whole reply came in time.
        """
        sent = {"Connection": "close", "Transfer-Encoding": "chunked", **headers}
        parts = list(chunks)
        coded = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in parts]
        return self._exchange(
            "POST", path, [self.head("POST", path, sent), *coded, b"0\r\n\r\n"], b"".join(parts), sent
        )

    def _exchange(
        self, method: str, path: str, data: list[bytes], body: bytes, headers: Mapping[str, str]
    ) -> Reply:
        told = {name: value for name, value in headers.items() if name != "Connection"}
        asked = f"{method} {self.base}{path} {told} {shown(body)}"
        try:
            with self.open() as connection:
                reply = self._send_and_read(connection, method, b"".join(data))
        except (OSError, http.client.HTTPException) as error:
            self.trail.add(f"{asked}\n-> no reply: {type(error).__name__}: {error}")
            limit = f" within {self.timeout_s:g} s" if isinstance(error, TimeoutError) else ""
            raise NoReply(f"no whole reply{limit}: {type(error).__name__}: {error}") from error
        self.trail.add(f"{asked}\n-> {reply.status} {dict(reply.headers)} {shown(reply.body)}")
        return reply

    def _send_and_read(self, connection: Connection, method: str, data: bytes) -> Reply:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse before it has read all; its reply may still be there.
            return connection.reply(method)
        return connection.reply(method)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """GET a path."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """POST a body; no Content-Type is sent unless it is given."""
        return self.request("POST", path, body, headers)

    def post_json(self, path: str, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a JSON value."""
        body = json.dumps(value).encode()
        return self.request("POST", path, body, {"Content-Type": JSON_TYPE, **(headers or {})})
