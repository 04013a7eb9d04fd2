"""Who is told of calls: the access log and traces. A transport without any makes nothing for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mindspore_serving import log
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.client_call import ClientCall

TRACE_FIELD: Final = "traceparent"
"""Header, or metadata of gRPC, that says which trace a call belongs to."""
GONE: Final = 499
"""Status of an HTTP request whose client has gone before its reply; no client ever sees it."""
_SAY_EVERY_S: Final = 10.0


@dataclass(slots=True)
class EndedCall:
    """A call that was answered, or whose client has gone.

    Attributes:
        call: When it began, and the requests that were admitted for it. Of a call that was refused before it was read,
            when that was.
        ended: When its reply was complete, in seconds of `time.monotonic`.
        transport: `http` or `grpc`.
        dialect: Name of the dialect that answered.
        target: What was asked: verb and path without the query, or the path of a gRPC method. The client chooses it;
            "" where what came was no request.
        status: HTTP status, `GONE` where the client has gone; or the number of the gRPC status, 0 for OK.
        request_id: That the client gave, or that the reply was given; "" where there is none.
        peer: Address of the client, without its port; `?` where it is not known, `unix` for a Unix socket.
        key_name: Name of the API key or of the certificate that let it in, never the key; "" where none was needed.
        bytes_in: Bytes of the body as it was sent, or of the message, decompressed. 0 where it was not read.
        bytes_out: Of the reply, likewise.
        instances: Instances that were asked for; 0 where that is not known.
        failed_instances: Those of them without a result.
        error: What the client was told, where the call failed; "" elsewhere.
        route: Pattern of the route, such as `/v2/models/{model}/infer`, or the path of the gRPC method; "" for none.
        probe: Whether it asked for the server's health, as machines do again and again.
        secure: Whether the connection has TLS; False where that is not known.
    """

    call: ClientCall
    ended: float
    transport: str
    dialect: str
    target: str
    status: int
    request_id: str
    peer: str
    key_name: str
    bytes_in: int
    bytes_out: int
    instances: int
    failed_instances: int
    error: str
    route: str
    probe: bool = False
    secure: bool = False


class CallObserver(Protocol):
    """Who is told of calls, on the event loop. It returns at once, and raises nothing."""

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        """A call has been read, and is about to be answered. `current_call` is it.

        Not told of a call that was refused before it was read, as one without a key.

        Args:
            call: The call.
            headers: Of HTTP, or the metadata of gRPC; looked up by names in lower case.
        """

    def ended(self, call: EndedCall) -> None:
        """It was answered or refused, or its client has gone."""


class Observers:
    """The observers of all front ends of a server.

    Args:
        now: A monotonic clock, in seconds.

    Attributes:
        all: They, in the order in which they are told. Looked at for each call: where it is empty, nothing is made.
    """

    __slots__ = ("_failed", "_next_line", "_now", "all")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.all: tuple[CallObserver, ...] = ()
        self._now = now
        self._failed = 0
        self._next_line = 0.0

    def __repr__(self) -> str:
        return f"<Observers {self.all}>"

    def add(self, observer: CallObserver) -> None:
        """Tell one more, from now on."""
        self.all = (*self.all, observer)

    def remove(self, observer: CallObserver) -> None:
        """Tell one no more; harmless where it is not told."""
        self.all = tuple(one for one in self.all if one is not observer)

    def begin(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        """Tell all of a call that has been read; see `CallObserver.begins`."""
        for observer in self.all:
            try:
                observer.begins(call, headers)
            except Exception as error:  # whatever an observer does, the request is answered
                self._note_failed(observer, error)

    def end(self, ended: EndedCall) -> None:
        """Tell all of a call that has ended."""
        for observer in self.all:
            try:
                observer.ended(ended)
            except Exception as error:  # whatever an observer does, the request is answered
                self._note_failed(observer, error)

    def _note_failed(self, observer: CallObserver, error: Exception) -> None:
        self._failed += 1
        now = self._now()
        if now >= self._next_line:
            self._next_line = now + _SAY_EVERY_S
            log.error(
                "%r has failed with %d calls, which were answered all the same: %r",
                observer,
                self._failed,
                error,
                exc_info=error,
            )
            self._failed = 0


def instances_of(call: ClientCall, count: int, failures: Sequence[FailedRows]) -> tuple[int, int]:
    """How many instances a call had, and how many of them have no result.

    Args:
        call: The call.
        count: Instances as its reply says; 0 where it says nothing.
        failures: Those that failed, as its reply says; of a call that failed as a whole, its one failure.
    """
    if count:
        return count, sum(one.count for one in failures)
    admitted = sum(request.count for request in call.requests)
    return admitted, admitted if failures else 0
