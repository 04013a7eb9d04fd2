"""A call of gRPC as handlers see it, with what its client and the observers are told at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.identity import Identity
from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.dispatch.counting import count_answered
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.transport.grpc.library import Metadata, ServerCall
from mindspore_serving.server.transport.grpc.tcp_connections import address_of
from mindspore_serving.server.transport.grpc_routes import GrpcMethod, GrpcReply, GrpcStatus, StreamMethod
from mindspore_serving.server.transport.observers import TRACE_FIELD, EndedCall, instances_of
from mindspore_serving.server.transport.request_id import ID_FIELD, given_id, request_id, usable_id

if TYPE_CHECKING:
    from mindspore_serving.server.transport.grpc.calls import CallRouter

OK: Final = 0
VERSION_FIELD: Final = "serving-version"
"""Trailing metadata that says which version of a servable has answered."""
_MIXED: Final = -1
_GONE: Final = "The client has gone, or its deadline has passed"


class Call:
    """A call, as handlers see it: a `GrpcCall`.

    A call of HTTP's kind is a message with its reply: a stream has one for each of its messages.

    Args:
        call: As the library has it.
        router: What the calls of the server share.
        method: Which it calls.
        identity: Who its client is.
        name: Id that its client has given it; "" for none.
    """

    __slots__ = (
        "_call",
        "_identity",
        "_method",
        "_open",
        "_router",
        "_sent_bytes",
        "_trace",
        "_version",
        "name",
    )

    def __init__(
        self, call: ServerCall, router: CallRouter, method: GrpcMethod, identity: Identity, name: str = ""
    ) -> None:
        self._identity = identity
        self.name = name
        self._call = call
        self._router = router
        self._method = method
        self._version = 0
        self._trace = ""  # what the reply says of the trace of its last message
        self._sent_bytes = 0
        # Bytes of each message without a reply; None where nobody asks: only of streams, or for observers.
        self._open: dict[ClientCall, int] | None = {} if isinstance(method, StreamMethod) else None

    # --- For handlers ---

    @property
    def key_name(self) -> str:
        """Name of the API key or of the certificate that lets its client in, never the key; "" where none was asked."""
        return self._identity.name

    @property
    def peer(self) -> str:
        """Address of the client, as gRPC writes it."""
        return self._call.peer

    def peer_is_own_user(self) -> bool:
        """Whether a process of this user is at the other end; see `GrpcCall`."""
        return self._router.is_own_user(self._call.peer)

    @property
    def metadata(self) -> Metadata:
        """What the client has sent beside its message."""
        return self._call.metadata

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left of the client's deadline; None for no limit."""
        return self._call.timeout_s

    @property
    def largest_reply(self) -> int:
        """Bytes that one message of the reply may have."""
        return self._router.largest_reply

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the server is about to close."""
        return self._router.stopping

    def counted(self, size: int) -> AbstractContextManager[None]:
        """Count a message that is being read; see `GrpcCall`."""
        return self._router.reader.counted(size)

    def check_replies(self) -> None:
        """Check that the client takes its replies; see `GrpcCall`."""
        self._router.check_replies(self._call.peer)

    def hold_reply(self, size: int) -> None:
        """Count a reply that is made; see `GrpcCall`."""
        self._router.replies.hold(self._call.peer, size)

    def release_reply(self, size: int) -> None:
        """Count replies no more; see `GrpcCall`."""
        self._router.replies.release(self._call.peer, size)

    def answered(self, reply: GrpcReply) -> None:
        """Note that the message which this task answers has its reply; see `GrpcCall`."""
        call = current_call.get()
        if call is not None:
            self.end(call, reply)

    # --- For the transport ---

    def begin(self, message: bytes) -> bytes:
        """Note that a message has been read, which this task answers; returns it."""
        call = ClientCall(time.monotonic())
        current_call.set(call)
        observers = self._router.observers
        if self._open is not None or observers.all:
            if self._open is None:
                self._open = {}
            self._open[call] = len(message)
            observers.begin(call, _fields_of(self._call.metadata))
            self._trace = call.traceparent
        return message

    def end(self, call: ClientCall, reply: GrpcReply) -> None:
        """Note that a message has its last reply.

        Args:
            call: Of the message.
            reply: The reply.
        """
        now = time.monotonic()
        count_answered(call, now)
        if call.destination is not None:
            version = call.version or _MIXED
            self._version = version if self._version in (0, version) else _MIXED
        if self._open is not None and call in self._open:
            self._sent_bytes += len(reply.message)
            self._tell(call, now, OK, reply.failures, reply.instance_count)

    def end_first(self, reply: GrpcReply) -> None:
        """Note that the message that was read first of those without a reply has its reply."""
        if self._open:
            self.end(next(iter(self._open)), reply)

    def add_sent(self, size: int) -> None:
        """Count bytes of a reply of several messages."""
        self._sent_bytes += size

    def end_failed(self, status: GrpcStatus, failures: Sequence[FailedRows]) -> None:
        """Note that the call ends with a status, and with it all messages without a reply.

        Args:
            status: The status.
            failures: Why.
        """
        if not self._end_all(
            status, failures
        ):  # it has failed before a message was read, or between two of them
            self._tell(ClientCall(time.monotonic()), time.monotonic(), status, failures)

    def end_answered(self) -> None:
        """Note that the call has ended in order, and with it all messages without a reply."""
        self._end_all(OK)

    def end_left(self, *, streams: bool = False) -> None:
        """Note that the client has gone, or that its deadline has passed.

        Args:
            streams: Whether that is how a stream ends: then only of messages without a reply anything is said.
        """
        late = self._call.timeout_s
        status = GrpcStatus.CANCELLED if late is None or late > 0 else GrpcStatus.DEADLINE_EXCEEDED
        if not self._end_all(status, error=_GONE) and not streams:
            self._tell(ClientCall(time.monotonic()), time.monotonic(), status, error=_GONE)

    def _end_all(self, status: int, failures: Sequence[FailedRows] = (), error: str = "") -> bool:
        """End all messages without a reply; returns whether there is any."""
        calls = list(self._open or ())
        if self._open is None and (own := current_call.get()) is not None:
            calls.append(own)  # nobody is told of it
        now = time.monotonic()
        for call in calls:
            if error:
                call.asked = None  # whatever it asked, it was not refused
            count_answered(call, now)
            self._tell(call, now, status, failures, error=error)
        return bool(calls)

    def name_failed(self) -> str:
        """The id of a call that fails, which its reply is to carry."""
        if not self.name:
            self.name = request_id(given_id(self._call.metadata))
        return self.name

    def set_trailing_metadata(self) -> None:
        """Say at the end of the call its id, its trace, and which version has answered, if there is any of it."""
        version, name, trace = self._version, self.name, self._trace
        if not (name or trace):
            if version > 0:
                self._call.set_trailing_metadata(_said(version))
            return
        pairs = () if version <= 0 else _said(version)
        if name:
            pairs = ((ID_FIELD, name), *pairs)
        self._call.set_trailing_metadata((*pairs, (TRACE_FIELD, trace)) if trace else pairs)

    def _tell(
        self,
        call: ClientCall,
        now: float,
        status: int,
        failures: Sequence[FailedRows] = (),
        count: int = 0,
        error: str = "",
    ) -> None:
        size = self._open.pop(call, 0) if self._open is not None else 0
        if not self._router.observers.all:
            return
        sent, self._sent_bytes = self._sent_bytes, 0
        instances, failed = instances_of(call, count, failures)
        if status != OK:
            failed = instances
        method = self._method
        if failures:
            error = text_for_client(failures[0].failure)
        self._router.observers.end(
            EndedCall(
                call=call,
                ended=now,
                transport="grpc",
                dialect=method.dialect,
                target=method.path,
                status=status,
                request_id=self.name or usable_id(given_id(self._call.metadata)),
                peer=_peer_of(self._call.peer),
                key_name=self._identity.name,
                bytes_in=size,
                bytes_out=sent,
                instances=instances,
                failed_instances=failed,
                error=error,
                route=method.path,
                probe=method.probe,
                secure=self._router.secure,
            )
        )


@lru_cache(maxsize=64)
def _said(version: int) -> tuple[tuple[str, str], ...]:
    return ((VERSION_FIELD, str(version)),)


def _fields_of(metadata: Metadata) -> Mapping[str, str]:
    return {name: value for name, value in metadata if isinstance(value, str)}


def _peer_of(peer: str) -> str:
    """Address of a client without its port."""
    address = address_of(peer)
    return address[0] if address is not None else peer.partition(":")[0] or "?"
