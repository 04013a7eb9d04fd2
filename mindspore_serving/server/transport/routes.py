"""Routes as data: what a dialect tells a transport, and what each gives to the other.

A transport reads a request within its limits, decides whether its client may ask it, and calls the handler of the route
that it fits. A handler returns a reply, or raises a `ServingError`, of which the dialect makes a reply. The transport
gives the reply its id, logs what has failed, and writes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from mindspore_serving.errors import Failure
from mindspore_serving.rows import FailedRows


class Right(Enum):
    """What a client must be allowed to do."""

    NONE = "none"
    """Anybody may ask, also without a key."""
    INFER = "infer"


@dataclass(slots=True)
class HttpRequest:
    """A request of HTTP, as handlers see it.

    Attributes:
        verb: As `GET`.
        target: What stands between verb and version, as it was sent.
        headers: Names in any case; values as text.
        peer: Address of the client, `?` where it is not known.
        authenticated: Whether its client has shown who it is, where the server asks for that.
        timeout_s: Seconds in which the client wants its reply; None for no limit.
        parts: Values of the names in the pattern of the route.
        body: As it was sent, coded as `content-encoding` says.
    """

    verb: str
    target: str
    headers: Mapping[str, str]
    peer: str = "?"
    authenticated: bool = True
    timeout_s: float | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply of HTTP.

    Attributes:
        status: HTTP status.
        body: All of it.
        content_type: Of the body.
        headers: Further headers.
        failures: Instances that have no result, for the log.
        count: Number of instances; 0 where the request failed before they were known.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    failures: Sequence[FailedRows] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """What a dialect answers over HTTP.

    Attributes:
        verbs: HTTP methods.
        pattern: Path with names in braces, as `/v2/models/{model}/infer`; empty for each path that no other route has.
        handler: Answers a request; may raise any `ServingError`.
        right: What its client must be allowed to do.
        most_bytes: Largest body; None takes the limit of the server.
    """

    verbs: tuple[str, ...]
    pattern: str
    handler: Callable[[HttpRequest], Awaitable[HttpReply]]
    right: Right = Right.INFER
    most_bytes: int | None = None


class Dialect(Protocol):
    """A language in which clients ask.

    Attributes:
        name: As logs and documentation call it.
        routes: What it answers over HTTP.
    """

    name: str
    routes: Sequence[Route]

    def refuse(self, failure: Failure, request: HttpRequest | None) -> HttpReply:
        """The reply to a request that has failed, or that a transport does not take.

        Args:
            failure: Why.
            request: What is known of it; None where that is nothing.
        """
