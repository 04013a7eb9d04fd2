"""Routes as data: what a dialect tells a transport, and what each gives to the other.

A transport reads a request within its limits, decides whether its client may ask it, and calls the handler of the route
that it fits. A handler returns a reply, or raises: over HTTP a `ServingError`, of which the dialect makes a reply, over
gRPC a `GrpcError`, which is the status of the call. The transport gives the reply its id, logs what has failed, and
writes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, NamedTuple, Protocol

from mindspore_serving.errors import Failure, InvalidInput, ServingError
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.transport.http.small_body import json_is_quick, small_body
from mindspore_serving.server.transport.request_timeout import TIMEOUT_FIELD, read_timeout_s, result_until


class Right(Enum):
    """What a client must be allowed to do."""

    NONE = "none"
    """Anybody may ask, also without a key."""
    INFER = "infer"


class BodyContent(NamedTuple):
    """What the body of a request holds.

    Attributes:
        rows: Instances in order, neighbours that are alike in one block.
        rest: What else it says, as a JSON document.
    """

    rows: list[Rows]
    rest: Any = None


@dataclass(frozen=True, slots=True)
class BodyFormat:
    """How a dialect reads bodies.

    Attributes:
        read: Makes content of a body, which is decompressed, and of the argument that the dialect passes to
            `HttpRequest.read`; may raise any `ServingError`. It is a function of a module: the process that reads large
            bodies imports it by its name. There, the argument is what JSON makes of it.
        is_quick: Whether a body of more than `SMALL_BYTES` is read so fast that other requests can wait meanwhile. By
            default as JSON is.
    """

    read: Callable[[bytes, Any], BodyContent]
    is_quick: Callable[[bytes], bool] = json_is_quick


class LargeBodies(Protocol):
    """What reads bodies elsewhere, while other requests go on."""

    def read(
        self, body: bytes, coding: str, function: Callable[[bytes, Any], BodyContent], argument: Any
    ) -> asyncio.Future[BodyContent]:
        """The content of a body; see `HttpRequest.read`. Cancelling the future abandons the body."""


@dataclass(slots=True)
class HttpRequest:
    """A request of HTTP, as handlers see it.

    Attributes:
        verb: As `GET`; empty where the request could not be read so far.
        target: What stands between verb and version, as it was sent.
        headers: Looked up by names in lower case; values as text.
        peer: Address of the client, `?` where it is not known.
        authenticated: Whether its client has shown who it is, where the server asks for that.
        parts: Values of the names in the pattern of the route, decoded.
        body: As it was sent, coded as `content-encoding` says.
        large_bodies: Who reads the body if it is large.
    """

    verb: str
    target: str
    headers: Mapping[str, str]
    peer: str = "?"
    authenticated: bool = True
    parts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    large_bodies: LargeBodies | None = None

    @property
    def timeout_s(self) -> float | None:
        """Seconds in which the client wants its reply; None for no limit.

        Raises:
            InvalidInput: The header that says so holds no time.
        """
        value = self.headers.get(TIMEOUT_FIELD)
        return None if value is None else read_timeout_s(value)

    def read_small(self, form: BodyFormat, argument: Any = None) -> BodyContent | None:
        """Read the body, unless it is large.

        Args:
            form: How.
            argument: What `form` is told.

        Returns:
            Its content; None for a large one, which has to be awaited: see `read`.

        Raises:
            ServingError: The body is not what it should be.
        """
        body = small_body(self.body, self.headers.get("content-encoding", ""), form.is_quick)
        return None if body is None else form.read(body, argument)

    async def read(
        self,
        form: BodyFormat,
        argument: Any = None,
        until: float | None = None,
        late: ServingError | None = None,
    ) -> BodyContent:
        """Read the body, a large one in a process of its own.

        Args:
            form: How.
            argument: What `form` is told: a JSON document.
            until: Time of `time.monotonic` at which a large body is abandoned; None for no limit.
            late: What is raised then.

        Raises:
            ServingError: The body is not what it should be, or nobody could read it.
        """
        content = self.read_small(form, argument)
        return content or await self.read_large(form, argument, until, late)

    async def read_large(
        self, form: BodyFormat, argument: Any, until: float | None = None, late: ServingError | None = None
    ) -> BodyContent:
        """Read the body as `read` does, after `read_small` has said that it is large."""
        if self.large_bodies is None:
            raise TypeError("This request has nobody who reads large bodies")
        coding = self.headers.get("content-encoding", "")
        reading = self.large_bodies.read(self.body, coding, form.read, argument)
        return await result_until(until, late, reading)


class HttpReply(NamedTuple):
    """A reply of HTTP.

    Attributes:
        status: HTTP status.
        body: All of it.
        content_type: Of the body; empty where there is none.
        headers: Further headers.
        failures: Instances that have no result, for the log.
        instance_count: Number of instances; 0 where the request failed before they were known.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    failures: Sequence[FailedRows] = ()
    instance_count: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """What a dialect answers over HTTP.

    Attributes:
        verbs: HTTP methods. The transport answers OPTIONS by itself, and every other verb with 405.
        pattern: Path with names in braces, as `/v2/models/{model}/infer`; empty for each path that no other route has.
        handler: Answers a request; may raise any `ServingError`.
        right: What its client must be allowed to do.
        most_bytes: Largest body; None takes the limit of the server.
        wrong_verb: What a client is told that uses another verb; empty for a text that names verbs.
        probe: Whether machines ask this again and again, as they do for the server's health. It is then answered also
            where clients do not take their replies.
    """

    verbs: tuple[str, ...]
    pattern: str
    handler: Callable[[HttpRequest], Awaitable[HttpReply]]
    right: Right = Right.INFER
    most_bytes: int | None = None
    wrong_verb: str = ""
    probe: bool = False


class Dialect(Protocol):
    """A language in which clients ask.

    Attributes:
        name: As logs and documentation call it.
        routes: What it answers over HTTP.
        grpc_methods: What it answers over gRPC.
    """

    name: str
    routes: Sequence[Route]
    grpc_methods: Sequence[GrpcMethod]

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed, or that a transport does not take.

        The transport adds `Allow`, `Retry-After`, `WWW-Authenticate` and the request id, and logs the failure.

        Args:
            failure: Why; its status is what HTTP says to it.
            request: What is known of it; its verb is empty where that is nothing.
        """


class GrpcStatus(IntEnum):
    """Status of a call, by its number on the wire."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GrpcError(Exception):
    """Ends a call with a status instead of a reply. Handlers raise it; the transport logs it and tells the client.

    Args:
        status: What the client gets. UNAVAILABLE makes it try another server.
        failure: Why; the client reads its text.
        target: What the call asked for, for the log; "" where that is not known.
    """

    def __init__(self, status: GrpcStatus, failure: Failure, target: str = "") -> None:
        super().__init__(failure.text)
        self.status = status
        self.failure = failure
        self.target = target


def client_error(status: GrpcStatus, text: str, target: str = "") -> GrpcError:
    """The end of a call for a reason that lies in what its client sends, or does not read.

    Args:
        status: What the client gets.
        text: Why.
        target: As of `GrpcError`.
    """
    return GrpcError(status, InvalidInput(text).failure(), target)


class GrpcReply(NamedTuple):
    """A message of a reply.

    Attributes:
        message: Its bytes.
        failures: Instances that have no result, for the log. The call then carries its id.
        instance_count: Number of instances; 0 where the request failed before they were known.
        target: What the call asked for, for the log; needed only with failures.
    """

    message: bytes
    failures: Sequence[FailedRows] = ()
    instance_count: int = 0
    target: str = ""


class GrpcCall(Protocol):
    """A call of gRPC, as handlers see it."""

    @property
    def peer(self) -> str:
        """Address of the client, as gRPC writes it."""

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the client has sent beside its message, names in lower case."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left of the client's deadline, after which the handler is cancelled; None for no limit."""

    @property
    def largest_reply(self) -> int:
        """Bytes that one message of the reply may have."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the server is about to close: a stream then sends its last message, and ends."""

    def counted(self, size: int) -> AbstractContextManager[None]:
        """Count a message that is being read, and that the dispatcher does not count yet, among those that arrive.

        Args:
            size: Its bytes.

        Raises:
            GrpcError: There is no room for it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcMethod:
    """What a dialect answers over gRPC; one of the classes below, which say what is sent in each direction.

    Attributes:
        path: `/package.Service/Method`.
        right: What its client must be allowed to do.
        refuses: Whether a message that begins so will be refused for what is in its beginning. It is asked about large
            messages that are compressed, of which the rest is then left out; the handler gets the beginning. None takes
            all of each message.
        probe: Whether machines ask this again and again, as they do for the server's health. It is then answered also
            where clients do not take their replies, and its failures are not logged.
    """

    path: str
    right: Right = Right.INFER
    refuses: Callable[[bytes], bool] | None = None
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaryMethod(GrpcMethod):
    """One message is answered with one.

    Attributes:
        handler: Given the message, decompressed, and its call, makes the reply; may raise `GrpcError`. It is cancelled
            where the client goes away, or its deadline has passed.
    """

    handler: Callable[[bytes, GrpcCall], Awaitable[GrpcReply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedReplyMethod(GrpcMethod):
    """One message is answered with any number of them.

    Attributes:
        handler: As that of `UnaryMethod`, but makes one reply after the other. It goes on once the last one was taken.
    """

    handler: Callable[[bytes, GrpcCall], AsyncGenerator[GrpcReply, None]]
