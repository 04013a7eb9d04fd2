"""Plain HTTP, without a library that repairs what it sends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_TIMEOUT_S = 20.0
Body = str | bytes | Mapping[str, Any]


@dataclass(frozen=True)
class HttpReply:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: As it came.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> str:
        """Text of a request-level error: the reply holds nothing else."""
        document = json.loads(self.body)
        assert list(document) == ["error_msg"], document
        text: str = document["error_msg"]
        return text


def send(
    address: str,
    method: str,
    path: str,
    body: Body = b"",
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> HttpReply:
    """One request on a connection of its own."""
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    if tls is None:
        connection = http.client.HTTPConnection(address, timeout=ANSWER_TIMEOUT_S)
    else:
        connection = http.client.HTTPSConnection(address, timeout=ANSWER_TIMEOUT_S, context=tls)
    with contextlib.closing(connection):
        connection.request(
            method, path, body.encode() if isinstance(body, str) else body, dict(headers or {})
        )
        return read_reply(connection)


def post(address: str, path: str, body: Body) -> HttpReply:
    return send(address, "POST", path, body)


def read_reply(connection: http.client.HTTPConnection) -> HttpReply:
    """The answer to the request sent last."""
    answer = connection.getresponse()
    content = answer.read()
    return HttpReply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, content)


@contextlib.contextmanager
def raw_connection(address: str) -> Iterator[socket.socket]:
    """A TCP connection to write HTTP to by hand."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_S) as connection:
        yield connection


def read_raw_bodies(connection: socket.socket) -> Iterator[bytes]:
    """The bodies of the answers to what was written by hand, where several come one behind the other."""
    with connection.makefile("rb") as source:
        while head := source.readline():
            while line := source.readline().strip():
                head += line + b"\n"
            yield source.read(int(head.lower().partition(b"content-length: ")[2].split()[0]))


def read_raw_reply(connection: socket.socket) -> HttpReply:
    """The only answer to what was written by hand; what comes behind it may be lost."""
    answer = http.client.HTTPResponse(connection, method="POST")
    answer.begin()
    with answer:
        return HttpReply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
