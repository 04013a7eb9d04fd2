"""A client's call while it is answered, and the requests that were admitted for it.

A transport makes one for each call and names it as that of its task (`current_call`); the dispatcher adds what it
admits there. So no dialect has to hand anything on, and none can forget it. Who answered, and how long each phase took,
can be read from the requests once the call has been answered.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.destination import Destination
    from mindspore_serving.server.dispatch.request import Request
    from mindspore_serving.server.dispatch.traced import CallTrace


class ClientCall:
    """One call of a client: an HTTP request, a gRPC call, or one message of a stream.

    Args:
        began: When all of it had been read, in seconds of `time.monotonic`.

    Attributes:
        began: As above.
        requests: Those that were admitted for it, in order. A request that was refused is none of them.
        asked: Whom it has asked last, unless a request was refused then.
        destination: Where the first of them went; None where there is none.
        is_mixed: Whether another one went to another servable or version.
        trace: Its trace; None where it is not traced. Tracing sets it.
        trace_id: Of the trace that the call belongs to, 32 hex digits; "" for none. Tracing sets it.
        traceparent: What the reply says of the trace, in the header or trailing metadata of that name; "" for nothing.
            Tracing sets it.
    """

    __slots__ = ("asked", "began", "destination", "is_mixed", "requests", "trace", "trace_id", "traceparent")

    def __init__(self, began: float) -> None:
        self.began = began
        self.requests: list[Request] = []
        self.destination: Destination | None = None
        self.is_mixed = False
        self.trace: CallTrace | None = None
        self.trace_id = ""
        self.traceparent = ""
        self.asked: Destination | None = None

    def __repr__(self) -> str:
        return f"<ClientCall {self.requests}>"

    def add(self, request: Request, destination: Destination) -> None:
        """Note a request that was admitted.

        Args:
            request: It.
            destination: Where it goes.
        """
        self.requests.append(request)
        if self.trace is not None:
            request.trace = self.trace.admits()
        first = self.destination
        if first is None:
            self.destination = destination
        elif first.servable is not destination.servable:
            self.is_mixed = True

    @property
    def version(self) -> int:
        """Version of the servable that answered; 0 where none did, or more than one."""
        destination = self.destination
        return 0 if destination is None or self.is_mixed else destination.servable.version


current_call: ContextVar[ClientCall | None] = ContextVar("current_call", default=None)
"""The call that the task answers; None where nobody wants to know."""
