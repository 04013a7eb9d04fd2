"""What dialects answer over gRPC, as data: methods, calls, replies, and the status that ends a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from mindspore_serving.errors import Failure, InvalidInput
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.right import Right


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
    """Ends a call with a status instead of a reply. Handlers raise it; the transport logs it and sends it.

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

    def peer_is_own_user(self) -> bool:
        """Whether a process of the user who runs this server, or of root, is at the other end, on this machine.

        A proxy on this machine is such a process, whoever it asks for.
        """

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

    def check_replies(self) -> None:
        """Check that the client takes its replies: to be asked before a reply of a stream is made.

        Raises:
            GrpcError: Its connection, or all together, hold too much.
        """

    def hold_reply(self, size: int) -> None:
        """Count a reply of a stream that is made, and that the transport has not got yet.

        Args:
            size: Its bytes.
        """

    def answered(self, reply: GrpcReply) -> None:
        """Note that the message of a stream which this task answers has its reply; see `StreamMethod.at_a_time`."""

    def release_reply(self, size: int) -> None:
        """Count replies that were held no more: the transport has sent them, or the stream has ended.

        Args:
            size: Their bytes.
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
        dialect: Name of the dialect that answers. The server knows it, and sets it.
    """

    path: str
    right: Right = Right.INFER
    refuses: Callable[[bytes], bool] | None = None
    probe: bool = False
    dialect: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMethod(GrpcMethod):
    """Any number of messages is answered with any number of them.

    Attributes:
        handler: Given the messages, decompressed, and their call, makes one reply after the other; as that of
            `StreamedReplyMethod`. A message is taken from the client when the handler asks for it: so a handler bounds
            what it has in flight by not asking. An error of its own ends the call; what is wrong with one message only
            is to be said in a reply.
        at_a_time: Whether messages are answered in tasks of their own, which are made where a message was read, and
            each of which calls `GrpcCall.answered`. Otherwise each reply is that of the message that was read first of
            those without one.
    """

    handler: Callable[[AsyncIterator[bytes], GrpcCall], AsyncGenerator[GrpcReply, None]]
    at_a_time: bool = False
