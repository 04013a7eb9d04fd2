"""Calls to methods of dialects: who may ask, what is read and sent, the id, and the log of what has failed.

A generic handler routes by path. Its handlers are those for streamed requests, which read the one message that there is
themselves (`messages`). All that calls have in common is here, so that no dialect can forget it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio

from mindspore_serving.errors import unexpected_failure
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.grpc.messages import Context, MessageReader
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc_routes import (
    GrpcError,
    GrpcMethod,
    GrpcStatus,
    StreamedReplyMethod,
    UnaryMethod,
    client_error,
)
from mindspore_serving.server.transport.request_id import (
    ID_FIELD,
    carries_id,
    given_id,
    request_id,
    usable_id,
)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Call:
    """A call of grpc.aio, as handlers see it: a `GrpcCall`.

    Args:
        context: Of the call.
        peer: Address of the client.
        router: What the calls of the server share.
    """

    __slots__ = ("_context", "_router", "peer")

    def __init__(self, context: Context, peer: str, router: CallRouter) -> None:
        self._context = context
        self._router = router
        self.peer = peer

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the client has sent beside its message."""
        return tuple(self._context.invocation_metadata() or ())

    @property
    def timeout_s(self) -> float | None:
        """Seconds that are left of the client's deadline; None for no limit."""
        return self._context.time_remaining()

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


class CallRouter(grpc.GenericRpcHandler):
    """Routes the calls of one server by their paths.

    Args:
        methods: What is answered.
        largest_reply: Bytes that one message of a reply may have.
        reader: Reads the messages of calls.
        replies: Counts what is sent.
        guard: Decides who is authenticated; None takes everybody.

    Attributes:
        largest_reply, reader, replies, guard: As above.
        failures: Where calls that have failed are logged.
        stopping: To be set when the server is about to close.
        unavailable: Calls that were ended with UNAVAILABLE.

    Raises:
        ValueError: Two methods have the same path.
    """

    def __init__(
        self,
        methods: Iterable[GrpcMethod],
        largest_reply: int,
        reader: MessageReader,
        replies: SentReplies,
        guard: Guard | None = None,
    ) -> None:
        self.largest_reply = largest_reply
        self.reader = reader
        self.replies = replies
        self.guard = guard
        self.failures = FailureLog()
        self.stopping = asyncio.Event()
        self.unavailable = 0
        self._calls: dict[str, _Calls] = {}
        for method in methods:
            if method.path in self._calls:
                raise ValueError(f"Two methods of gRPC have the path {method.path}")
            self._calls[method.path] = _calls_of(method, self)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call, by its path and by what its client shows; None where no method has the path."""
        calls = self._calls.get(handler_call_details.method)
        if calls is None:
            return None
        metadata = handler_call_details.invocation_metadata or ()
        guard = calls.guard
        if guard is None or guard.admits_metadata(metadata):
            return calls.answered_with_id if carries_id(metadata) else calls.answered
        return calls.answered_by_name if guard.identities else calls.rejected


class _Calls(ABC):
    """The calls of one method.

    Args:
        method: Which.
        router: What the calls of all methods share.
        handler: Makes a handler of grpc.aio; of which kind says how messages go.

    Attributes:
        guard: Decides who is authenticated; None where everybody may call.
        answered: Handles calls that are authenticated, or need not be, and have no id.
        answered_with_id: The same for those with an id.
        answered_by_name: Handles calls without a key whose client may have a certificate that is listed.
        rejected: Handles calls that are not authenticated.
    """

    def __init__(self, method: GrpcMethod, router: CallRouter, handler: Callable[[Any], _Handler]) -> None:
        self.guard = None if method.right is Right.NONE else router.guard
        self.answered = handler(self.answer)
        self.answered_with_id = handler(self._answer_with_id)
        self.answered_by_name = handler(self._answer_for_name)
        self.rejected = handler(self._reject)
        self._router = router
        self._read = router.reader.read
        self._replies = router.replies
        self._refuses = method.refuses
        self._probe = method.probe
        self._name = method.path.rpartition("/")[2]

    @abstractmethod
    async def answer(self, requests: Any, context: Context) -> Any:
        """Answer one call.

        Args:
            requests: Not used; the message is read from `context`.
            context: Of the call.

        Returns:
            The message of the reply, where there is always one; None where they are written to `context`.
        """

    async def _answer_with_id(self, requests: Any, context: Context) -> Any:
        """Answer a call with the id that its client has given it."""
        name = usable_id(given_id(context.invocation_metadata() or ()))
        if name:
            context.set_trailing_metadata(((ID_FIELD, name),))
        return await self.answer(requests, context)

    async def _answer_for_name(self, requests: Any, context: Context) -> Any:
        """Answer a call without a key, if the certificate of its client has a name that is listed."""
        if self.guard is not None and not self.guard.admits_names(context.auth_context()):
            await self._reject(requests, context)
        return await self._answer_with_id(requests, context)

    async def _reject(self, requests: Any, context: Context) -> None:
        """Reject a call that is not authenticated, before its message is read; raises, and so ends the call."""
        assert self.guard is not None
        self.guard.note_refusal(context.peer())
        _name_of_failed(context)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, self.guard.refusal)

    def _check_room(self, peer: str) -> None:
        """Refuse a call whose client does not take its replies.

        Raises:
            GrpcError: So it is.
        """
        if not self._replies.has_room(peer) and not self._probe:
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, self._replies.refusal)

    def _note(self, context: Context, target: str, failures: Sequence[FailedRows], count: int) -> None:
        """Log a call that failed, and let its reply carry its id."""
        if not self._probe:
            self._router.failures.write(
                _name_of_failed(context),
                context.peer(),
                f"{self._name} {target or 'no message'}",
                failures,
                count,
            )

    async def _end(self, context: Context, error: Exception) -> NoReturn:
        """End a call with a status.

        Args:
            context: Of the call.
            error: Why; anything but a `GrpcError` is a fault of Serving itself.
        """
        if not isinstance(error, GrpcError):
            error = GrpcError(GrpcStatus.INTERNAL, unexpected_failure(error))
        if error.status is GrpcStatus.UNAVAILABLE:
            self._router.unavailable += 1
        self._note(context, error.target, [FailedRows(error.failure, 1)], 0)
        await context.abort(_STATUS_CODES[error.status], text_for_client(error.failure))


class _UnaryCalls(_Calls):
    """Calls of a method that answers one message with one."""

    def __init__(self, method: UnaryMethod, router: CallRouter) -> None:
        super().__init__(method, router, grpc.stream_unary_rpc_method_handler)
        self._handler = method.handler

    async def answer(self, requests: Any, context: Context) -> bytes:
        """Answer one call; see `_Calls`."""
        peer = context.peer()
        try:
            self._check_room(peer)
            # The message has no name here: it may be large, and its handler lets go of it.
            reply = await self._handler(
                await self._read(context, peer, self._refuses), Call(context, peer, self._router)
            )
            if reply.failures:
                self._note(context, reply.target, reply.failures, reply.instance_count)
            self._check_room(peer)
        except grpc.aio.BaseError:  # the call has ended: there is nobody to answer
            raise
        except Exception as error:  # whatever a handler raises, the client gets a status and the log a line
            await self._end(context, error)
        self._replies.add(context, peer, len(reply.message))
        return reply.message


class _StreamedReplyCalls(_Calls):
    """Calls of a method that answers one message with any number of them."""

    def __init__(self, method: StreamedReplyMethod, router: CallRouter) -> None:
        super().__init__(method, router, grpc.stream_stream_rpc_method_handler)
        self._handler = method.handler

    async def answer(self, requests: Any, context: Context) -> None:
        """Answer one call; see `_Calls`."""
        peer = context.peer()
        try:
            self._check_room(peer)
            message = await self._read(context, peer, self._refuses)
            # Its end is that of the call, also where the client goes away: what it holds is free at once.
            async with aclosing(self._handler(message, Call(context, peer, self._router))) as replies:
                async for reply in replies:
                    if reply.failures:
                        self._note(context, reply.target, reply.failures, reply.instance_count)
                    await context.write(reply.message)
        except grpc.aio.BaseError:  # the call has ended: there is nobody to answer
            raise
        except Exception as error:  # whatever a handler raises, the client gets a status and the log a line
            await self._end(context, error)


def _calls_of(method: GrpcMethod, router: CallRouter) -> _Calls:
    match method:
        case UnaryMethod():
            return _UnaryCalls(method, router)
        case StreamedReplyMethod():
            return _StreamedReplyCalls(method, router)
    raise TypeError(f"{method!r} does not say which way messages go")


def _name_of_failed(context: Context) -> str:
    """The id of a call that fails, which its reply is to carry."""
    name = request_id(given_id(context.invocation_metadata() or ()))
    context.set_trailing_metadata(((ID_FIELD, name),))
    return name
