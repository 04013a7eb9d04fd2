"""gRPC with messages as bytes, and a limit for every wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from oip_conformance.check import Deviation, NoReply, expect
from oip_conformance.messages import MESSAGES, METHODS, SERVICE
from oip_conformance.trail import Trail, shown

_MAX_MESSAGE_BYTES = 256 << 20
# Longer messages are not written out: it takes seconds.
_LARGE_BYTES = 16 << 10
# A process of ours must not share its channel with another target's settings.
_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True)
class RpcReply:
    """What came back: the status, and the message when it is OK."""

    code: grpc.StatusCode
    details: str = ""
    message: Any = None

    @property
    def ok(self) -> bool:
        """Whether the status is OK."""
        return self.code is grpc.StatusCode.OK

    def __str__(self) -> str:
        if self.ok:
            return f"OK {shown(text_of(self.message), 300)}"
        return f"{self.code.name} {shown(self.details, 200)!r}"


def text_of(message: Any) -> str:
    """Return a message as one line; of a large one only the size."""
    if message.ByteSize() > _LARGE_BYTES:
        return f"{message.DESCRIPTOR.name} of {message.ByteSize()} bytes"
    return " ".join(str(message).split())


def parse(name: str, data: bytes) -> Any:
    """Return the message of the table.

    Raises:
        Deviation: The bytes are not such a message.
    """
    try:
        return MESSAGES[name].FromString(data)
    except DecodeError as error:
        raise Deviation(f"a message with the fields of {name}", f"{shown(data, 200)!r} ({error})") from error


class RpcClient:
    """Calls one server.

    Args:
        address: HOST:PORT.
        timeout_s: Limit of one call.
        trail: Gets every exchange.
        metadata: Sent with every call.
    """

    def __init__(
        self, address: str, timeout_s: float, trail: Trail, metadata: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.trail = trail
        self._metadata = tuple(metadata)
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def call(
        self,
        method: str,
        request: Any,
        *,
        service: str = SERVICE,
        timeout_s: float | None = None,
        compression: grpc.Compression | None = None,
        reply: str = "",
    ) -> RpcReply:
        """Call a method with one request and one reply.

        Args:
            method: Name of the method.
            request: A message, or bytes that are sent as they are.
            service: Full name of the service.
            timeout_s: The client's deadline; the client's own limit by default.
            compression: Of the request.
            reply: Name of the reply's message in the table; by default as the table of methods says.

        Raises:
            NoReply: No answer came before the limit, which is not a deadline that the check has set.
        """
        data = request if isinstance(request, bytes) else request.SerializeToString()
        limit = self.timeout_s if timeout_s is None else timeout_s
        stub: Any = self._channel.unary_unary(f"/{service}/{method}")
        try:
            answer = stub(data, timeout=limit, metadata=self._metadata, compression=compression)
        except grpc.RpcError as error:
            failed = RpcReply(error.code(), error.details() or "")
            self._note(method, request, str(failed))
            if timeout_s is None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NoReply(f"no reply within {limit:g} s") from error
            return failed
        name = reply or METHODS[method][1]
        try:
            received = RpcReply(grpc.StatusCode.OK, "", parse(name, answer))
        except Deviation:
            self._note(method, request, f"OK {shown(answer)!r}")
            raise
        self._note(method, request, str(received))
        return received

    def _note(self, method: str, request: Any, reply: str) -> None:
        told = repr(shown(request, 200)) if isinstance(request, bytes) else shown(text_of(request))
        self.trail.add(f"{method} {{{told}}}\n-> {reply}")

    def stream(self, method: str, *, service: str = SERVICE, reply: str = "") -> RpcStream:
        """Open a stream of requests and replies."""
        return RpcStream(self, self._channel, service, method, reply or METHODS[method][1], self._metadata)

    def first_of(self, method: str, request: Any, *, service: str, reply: str) -> RpcReply:
        """Return the first reply of a method that answers one request with a stream."""
        stub: Any = self._channel.unary_stream(f"/{service}/{method}")
        call = stub(request.SerializeToString(), timeout=self.timeout_s, metadata=self._metadata)
        try:
            return RpcReply(grpc.StatusCode.OK, "", parse(reply, next(call)))
        except StopIteration:
            raise Deviation("a reply in the stream", "the stream ended without one") from None
        except grpc.RpcError as error:
            return RpcReply(error.code(), error.details() or "")
        finally:
            call.cancel()


class RpcStream:
    """A call with a stream in each direction, and one time limit for the whole of it."""

    def __init__(
        self,
        client: RpcClient,
        channel: grpc.Channel,
        service: str,
        method: str,
        reply: str,
        metadata: Sequence[tuple[str, str]],
    ) -> None:
        self._client = client
        self._method = method
        self._reply = reply
        self._requests: deque[bytes] = deque()
        self._ended = False
        self._changed = threading.Condition()
        self._deadline = time.monotonic() + client.timeout_s
        stub: Any = channel.stream_stream(f"/{service}/{method}")
        self._call = stub(self._produce(), timeout=client.timeout_s, metadata=metadata)

    def __enter__(self) -> RpcStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._call.cancel()

    def _produce(self) -> Iterator[bytes]:
        while (request := self._next_request()) is not None:
            yield request

    def _next_request(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._requests or self._ended, self._client.timeout_s)
            return self._requests.popleft() if self._requests else None

    def send(self, request: Any) -> None:
        """Send one request."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        self._client._note(self._method, request, "(sent in a stream)")
        with self._changed:
            self._requests.append(data)
            self._changed.notify_all()

    def end(self) -> None:
        """Send no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read(self) -> Any:
        """Return the next reply; None at the end of the stream.

        Raises:
            Deviation: The stream failed.
            NoReply: Nothing came in time.
        """
        try:
            message = parse(self._reply, next(self._call))
        except StopIteration:
            return None
        except grpc.RpcError as error:
            self._client.trail.add(f"{self._method} stream\n-> {error.code().name} {error.details()!r}")
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NoReply(f"no reply in the stream within {self._client.timeout_s:g} s") from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise StreamUnimplemented(error.details() or "") from error
            raise Deviation("a reply in the stream", f"{error.code().name} {error.details()!r}") from error
        self._client.trail.add(f"{self._method} stream\n-> {shown(text_of(message))}")
        return message


class StreamUnimplemented(Exception):
    """The server has no such method."""


def expect_ok(reply: RpcReply) -> Any:
    """Return the message of a reply that must be OK.

    Raises:
        Deviation: It is not.
    """
    expect(reply.ok, "status OK", reply)
    return reply.message
