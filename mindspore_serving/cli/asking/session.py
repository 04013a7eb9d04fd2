"""Sends requests to a server one after the other, over REST or gRPC."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import grpc

from mindspore_serving.cli.asking.address import Access, Address
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import NOT_REACHED
from mindspore_serving.client.python.connection import Connection

CONNECT_TIMEOUT_S = 10.0
_WHERE = "Start the server, or give its address. The server prints where it listens."


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as bytes.

    Attributes:
        path: Path of HTTP, or `/package.Service/Method`.
        body: The body, or the serialized message.
        headers: Beside those of every request.
        verb: Of HTTP.
    """

    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    verb: str = "POST"


@dataclass(frozen=True, slots=True)
class WireReply:
    """A reply as bytes.

    Attributes:
        status: `200`, or another status of HTTP, or the name of a status of gRPC.
        body: The body, or the serialized message.
        headers: Of HTTP, their names in small letters.
        details: What gRPC says of a failure.
    """

    status: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    details: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status in ("200", "OK")


class NotHttp(Exception):
    """What answers does not speak HTTP/1."""


def not_reached(address: Address, reason: object, next_step: str = _WHERE) -> CommandError:
    """No server answers."""
    return CommandError(f"No server answers at {address}: {reason}", next_step, NOT_REACHED)


class RestSession:
    """One connection of HTTP/1.1.

    Args:
        address: Of a REST server.
        access: What opens it.
        timeout_s: Seconds for each reply.
    """

    over = "rest"

    def __init__(self, address: Address, access: Access, timeout_s: float) -> None:
        self.address = address
        self._access = access
        self._connection = (
            http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout_s, context=access.ssl_context()
            )
            if address.tls
            else http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        )

    def ask(self, request: WireRequest) -> WireReply:
        """Send a request, and wait for its reply.

        Raises:
            CommandError: No server answers.
            NotHttp: One answers that does not speak HTTP.
        """
        headers = {**request.headers, **self._access.headers}
        path = self.address.prefix + request.path
        try:
            self._connection.request(request.verb, path, request.body or None, headers)
            reply = self._connection.getresponse()
            body = reply.read()
        except (http.client.BadStatusLine, http.client.LineTooLong) as cause:
            self.close()
            if isinstance(cause, http.client.RemoteDisconnected):
                raise not_reached(self.address, "it closed the connection without a reply") from cause
            raise NotHttp(str(self.address)) from cause
        except (OSError, http.client.HTTPException) as cause:
            self.close()
            raise not_reached(self.address, *_reason_of(cause)) from cause
        names = {name.lower(): value for name, value in reply.getheaders()}
        return WireReply(str(reply.status), body, names)

    def close(self) -> None:
        """Close; safe to call twice."""
        self._connection.close()


def _reason_of(cause: Exception) -> tuple[str, str]:
    """Why a server was not reached, and what to do."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({cause.verify_message})",
            "Give its root certificate with --ca FILE; of a self-signed certificate that is itself.",
        )
    if isinstance(cause, ssl.SSLError):
        return (
            f"TLS failed ({cause.reason or cause})",
            "Is it a server without TLS? Then leave out --tls, or say http://.",
        )
    if isinstance(cause, TimeoutError):
        return "no reply within the time of --timeout", "Give it more time with --timeout."
    return str(cause) or type(cause).__name__, _WHERE


class GrpcSession:
    """One channel of gRPC.

    Args:
        address: Of a gRPC server.
        access: What opens it.
        timeout_s: Seconds for each reply.
    """

    over = "grpc"

    def __init__(self, address: Address, access: Access, timeout_s: float) -> None:
        self.address = address
        self._metadata = tuple(access.headers.items())
        self._timeout_s = timeout_s
        credentials = access.grpc_credentials() if address.tls else None
        self._channel: Any = Connection(address.authority, credentials).channel

    def ask(self, request: WireRequest) -> WireReply:
        """Send a request, and wait for its reply.

        Raises:
            CommandError: No server answers.
        """
        try:
            body = self._channel.unary_unary(request.path)(
                request.body, timeout=self._timeout_s, metadata=self._metadata
            )
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            # A server that is overloaded says UNAVAILABLE as well, but then there was a connection.
            if code is grpc.StatusCode.UNAVAILABLE and "connect" in details:
                raise not_reached(self.address, details) from error
            return WireReply(code.name, details=details)
        return WireReply("OK", body)

    def close(self) -> None:
        """Close; safe to call twice."""
        self._channel.close()


Session: TypeAlias = "RestSession | GrpcSession"


@contextlib.contextmanager
def open_session(address: Address, access: Access, timeout_s: float) -> Iterator[Session]:
    """A session with a server, over what its address says, or else over what answers there.

    Args:
        address: Of the server.
        access: What opens it.
        timeout_s: Seconds for each reply.

    Raises:
        CommandError: No server answers.
    """
    if not address.over:
        address = replace(address, over=_over_what(address, access))
    session = (RestSession if address.over == "rest" else GrpcSession)(address, access, timeout_s)
    try:
        yield session
    finally:
        session.close()


def _over_what(address: Address, access: Access) -> str:
    """`rest` or `grpc`: what a port speaks.

    Raises:
        CommandError: No server answers.
    """
    session = RestSession(replace(address, over="rest"), access, CONNECT_TIMEOUT_S)
    try:
        session.ask(WireRequest("/v2/health/live", verb="GET"))
    except NotHttp:
        return "grpc"
    except CommandError as error:
        # gRPC ends a connection that does not begin as HTTP/2 does.
        if isinstance(error.__cause__, (http.client.RemoteDisconnected, ConnectionResetError)):
            return "grpc"
        raise
    finally:
        session.close()
    return "rest"
