"""What dialects answer over HTTP, as data: routes, requests, replies, and how bodies are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from mindspore_serving.errors import ServingError
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.host.waiting import result_until
from mindspore_serving.server.transport.http.small_body import json_is_quick, small_body
from mindspore_serving.server.transport.http.target import path_of
from mindspore_serving.server.transport.request_timeout import TIMEOUT_FIELD, read_timeout_s

_path_of = lru_cache(maxsize=256)(path_of)
"""Clients ask for the same few targets again and again."""


VERSION_HEADER: Final = "X-Serving-Version"
"""Says which version of a servable has answered."""


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


class ClientConnection(Protocol):
    """The connection on which a request came."""

    def peer_is_own_user(self) -> bool:
        """As `HttpRequest.peer_is_own_user`."""


@dataclass(slots=True)
class HttpRequest:
    """A request of HTTP, as handlers see it.

    Attributes:
        verb: As `GET`; empty where the request could not be read so far.
        target: What stands between verb and version, as it was sent.
        headers: Looked up by names in lower case; values as text.
        peer: Address of the client, `?` where it is not known.
        identity: Who its client is, and what it may do.
        parts: Values of the names in the pattern of the route, decoded.
        body: As it was sent, coded as `content-encoding` says.
        large_bodies: Who reads the body if it is large.
        connection: On which it came; None where that is not known.
    """

    verb: str
    target: str
    headers: Mapping[str, str]
    peer: str = "?"
    identity: Identity = ANYBODY
    parts: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    large_bodies: LargeBodies | None = None
    connection: ClientConnection | None = None

    @property
    def authenticated(self) -> bool:
        """Whether its client has shown who it is, where the server asks for that."""
        return self.identity is not STRANGER

    @property
    def key_name(self) -> str:
        """Name of the API key or of the certificate that lets its client in, never the key; "" where none was asked."""
        return self.identity.name

    @property
    def path(self) -> str:
        """The raw path of the target: without query string, host and the like, percent-encoded."""
        return _path_of(self.target)

    @property
    def timeout_s(self) -> float | None:
        """Seconds in which the client wants its reply; None for no limit.

        Raises:
            InvalidInput: The header that says so holds no time.
        """
        value = self.headers.get(TIMEOUT_FIELD)
        return None if value is None else read_timeout_s(value)

    def peer_is_own_user(self) -> bool:
        """Whether a process of the user who runs this server, or of root, is at the other end, on this machine.

        A proxy on this machine is such a process, whoever it asks for. A browser is not: it asks for the page of a
        stranger, and says so by `Origin`.
        """
        if "origin" in self.headers:
            return False
        return self.connection is not None and self.connection.peer_is_own_user()

    def small_body(self, form: BodyFormat) -> bytes | None:
        """The body, decompressed; None for one that is large.

        Args:
            form: How it would be read.

        Raises:
            ServingError: The body is not what its coding says.
        """
        return small_body(self.body, self.headers.get("content-encoding", ""), form.is_quick)

    def read_small(self, form: BodyFormat, argument: Any = None) -> BodyContent | None:
        """Read the body, unless it is large.

        Args:
            form: How.
            argument: What `form` is given.

        Returns:
            Its content; None for a large one, which has to be awaited: see `read`.

        Raises:
            ServingError: The body is not what it should be.
        """
        body = self.small_body(form)
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
            argument: What `form` is given: a JSON document.
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
        version: Of the servable that answered; 0 where none did, or more than one. The transport sets it.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    failures: Sequence[FailedRows] = ()
    instance_count: int = 0
    version: int = 0

    def answered_by(self, version: int) -> HttpReply:
        """The same reply, of a version."""
        status, body, content_type, headers, failures, count, _ = self
        return HttpReply(status, body, content_type, headers, failures, count, version)


@dataclass(frozen=True, slots=True)
class Route:
    """What a dialect answers over HTTP.

    Attributes:
        verbs: HTTP methods. The transport answers OPTIONS by itself, and every other verb with 405. None where there is
            nothing at these paths: then it answers all with 404, which the dialect words.
        pattern: Path with names in braces, as `/v2/models/{model}/infer`; empty for each path that no other route has.
            A name with an asterisk, as in `/v2/{path*}`, stands for any number of segments. The first route that fits
            answers, but one without names before all others.
        handler: Answers a request; may raise any `ServingError`.
        right: What its client must be allowed to do.
        most_bytes: Largest body; None takes the limit of the server.
        wrong_verb: Error text for a client that uses another verb; empty for one that names the verbs.
        probe: Whether machines ask this again and again, as they do for the server's health. It is then answered also
            where clients do not take their replies.
        unlisted: Whether `Allow` leaves its verbs out: it is for people, and refuses programs.
    """

    verbs: tuple[str, ...]
    pattern: str
    handler: Callable[[HttpRequest], Awaitable[HttpReply]]
    right: Right = Right.INFER
    most_bytes: int | None = None
    wrong_verb: str = ""
    probe: bool = False
    unlisted: bool = False
