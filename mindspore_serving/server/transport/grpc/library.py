"""What the server needs of a gRPC library: a call, what answers it, and what listens.

`on_core` is on the C core of grpcio, `on_aio` on grpc.aio. Nothing else here knows which of them runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

import grpc

from mindspore_serving.server.transport.grpc_routes import GrpcStatus

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
UNKNOWN_METHOD: Final = "Method not found!"
"""What a client reads whose path is of no method, with the status UNIMPLEMENTED; the text is grpcio's."""


class CallOver(Exception):
    """A call has ended, and nobody reads what was to be written."""


class CallEnd(Exception):
    """Ends a call with a status instead of a reply; the answer of a call raises it.

    Args:
        status: What the client gets.
        text: Why, for the client.
    """

    def __init__(self, status: GrpcStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ServerCall(Protocol):
    """A call as a library has it. Used on the event loop only."""

    @property
    def peer(self) -> str:
        """Address of the client, as gRPC writes it."""

    @property
    def metadata(self) -> Metadata:
        """What the client has sent beside its messages, names in lower case."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left of the client's deadline; None for no limit."""

    @property
    def has_message(self) -> bool:
        """Whether a message has come that was not read: `read` does not wait for it."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS knows of the client, by gRPC's names of properties."""

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Say what the client gets at the end of the call, beside its status."""

    def when_done(self, callback: Callable[[], None]) -> None:
        """Have a callable called once the last byte of the reply has left, or the call has ended before."""

    async def read(self) -> bytes | None:
        """The next message, as it was sent, compressed or not; None where the client sends no more.

        gRPC is asked for a message only here: so a client cannot send faster than its messages are read. One at a time.
        """

    async def write(self, message: bytes) -> None:
        """Send a message of the reply. Returns once there is room for the next one.

        Raises:
            CallOver: The call has ended; it is ended, too, where another message is being written.
        """


Answer: TypeAlias = Callable[[ServerCall], Awaitable[bytes | None]]
"""Answers one call. Returns the last message of the reply; None where there is none, or it was written.

It may raise `CallEnd`. It is cancelled where the client goes away, or its deadline has passed.
"""


class CallHandler(NamedTuple):
    """How a call is answered.

    Attributes:
        answer: Answers it.
        reads: Whether it begins by reading a message, which may be asked for before that.
        streams: Whether it writes messages, instead of returning one.
    """

    answer: Answer
    reads: bool = True
    streams: bool = False


FindHandler: TypeAlias = Callable[[str, Metadata], CallHandler | None]
"""Given path and metadata of a call, what answers it; None where no method has the path. From any thread."""


class Listener(Protocol):
    """What listens, takes calls and has them answered. Made, bound, started and stopped once each."""

    def bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Bind `ip:port` or `unix:path`.

        Returns:
            The port; 1 for a Unix socket, 0 where the address cannot be bound.

        Raises:
            OSError, RuntimeError: It cannot be bound.
        """

    async def start(self) -> None:
        """Take calls from now on."""

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, give those under way some time, cancel the others, and close.

        Args:
            grace_s: The time, in seconds. A second call while the first one waits may shorten it.
        """
