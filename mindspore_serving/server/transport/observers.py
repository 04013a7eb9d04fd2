"""Who is told of calls: the access log and traces. A transport without any makes nothing for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mindspore_serving.server.dispatch.client_call import ClientCall


@dataclass(slots=True)
class EndedCall:
    """A call that was answered, or whose client has gone.

    Attributes:
        call: When it began, and the requests that were admitted for it.
        ended: When its reply was complete, in seconds of `time.monotonic`.
        transport: `http` or `grpc`.
        dialect: Name of the dialect that answered.
        target: What was asked: verb and path without the query, or the path of a gRPC method.
        status: HTTP status, or the number of the gRPC status.
        request_id: That the client gave, or that the reply was given; "" where there is none.
        peer: Address of the client.
        key_name: Name of the API key or of the certificate that let it in, never the key; "" where none was needed.
        bytes_in: Bytes of the body or message, as they were sent.
        bytes_out: Of the reply, likewise.
        instances: Instances that were asked for; 0 where that is not known.
        failed_instances: Those of them without a result.
        error: What the client was told, where the call failed; "" elsewhere.
        route: Pattern of the route, such as `/v2/models/{model}/infer`, or the path of the gRPC method.
        trace_id: Of the trace that the call belongs to, 32 hex digits; "" for none.
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
    trace_id: str = ""


class CallObserver(Protocol):
    """Who is told of calls, on the event loop. It returns at once, and raises nothing."""

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        """A call has been read, and is about to be answered.

        Args:
            call: The call.
            headers: Of HTTP, or the metadata of gRPC; looked up by names in lower case.
        """

    def ended(self, call: EndedCall) -> None:
        """It was answered, or its client has gone."""
