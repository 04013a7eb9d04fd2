"""Calls to methods of dialects: who may ask, what is read and sent, the id, and the log of what has failed.

All that calls have in common is here, so that no dialect can forget it. Which library of gRPC runs is not known here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import NoReturn

from mindspore_serving.errors import Failure, InvalidInput, NotPermitted, unexpected_failure
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.access.identity import ANYBODY, STRANGER, Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dispatch.client_call import current_call
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.grpc.call import Call
from mindspore_serving.server.transport.grpc.library import (
    UNKNOWN_METHOD,
    CallEnd,
    CallHandler,
    CallOver,
    Metadata,
    ServerCall,
)
from mindspore_serving.server.transport.grpc.messages import MessageReader
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc_routes import (
    GrpcError,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamedReplyMethod,
    StreamMethod,
    UnaryMethod,
    client_error,
)
from mindspore_serving.server.transport.observers import Observers
from mindspore_serving.server.transport.request_id import carries_id, given_id, usable_id


class CallRouter:
    """Routes the calls of one server by their paths.

    Args:
        methods: What is answered.
        largest_reply: Bytes that one message of a reply may have.
        reader: Reads the messages of calls.
        replies: Counts what is sent.
        guard: Decides who is authenticated; None takes everybody.
        is_own_user: Whether a process of this user is at an address, as gRPC writes it.
        observers: Who is told of calls; None for nobody.
        secure: Whether they come by TLS.

    Attributes:
        largest_reply, reader, replies, guard, is_own_user, observers, secure: As above.
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
        is_own_user: Callable[[str], bool] = lambda _: False,
        observers: Observers | None = None,
        secure: bool = False,
    ) -> None:
        self.secure = secure
        self.observers = observers or Observers()
        self.is_own_user = is_own_user
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

    def find(self, path: str, metadata: Metadata) -> CallHandler | None:
        """What answers a call, by its path and by what its client shows; None where no method has the path.

        May be called from any thread: a call that is not authenticated is not to wait for the event loop.
        """
        calls = self._calls.get(path)
        if calls is None:
            return self._unknown(path) if self.observers.all else None
        guard = calls.guard
        if guard is None:
            return calls.answered_with_id if carries_id(metadata) else calls.answered
        identity = guard.identity_in_metadata(metadata)
        if identity is not None:
            return calls.answered_for(identity, carries_id(metadata))
        return calls.answered_by_name if guard.identities else calls.rejected

    def _unknown(self, path: str) -> CallHandler:
        """Says to a call of no method what the library says to it, and tells observers of it."""

        async def refuse(call: ServerCall) -> NoReturn:
            asked = Call(call, self, GrpcMethod(path=path), STRANGER)
            failure = Failure(InvalidInput.code, UNKNOWN_METHOD, InvalidInput.http_status)
            asked.end_failed(GrpcStatus.UNIMPLEMENTED, [FailedRows(failure, 1)])
            raise CallEnd(GrpcStatus.UNIMPLEMENTED, UNKNOWN_METHOD)

        return CallHandler(refuse, False, False)

    def check_replies(self, peer: str) -> None:
        """Refuse what a client asks that does not take its replies.

        Args:
            peer: Its address.

        Raises:
            GrpcError: So it is.
        """
        if not self.replies.has_room(peer):
            raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, self.replies.refusal)


class _Calls(ABC):
    """The calls of one method.

    Args:
        method: Which.
        router: What the calls of all methods share.
        streams: Whether messages of a reply are written, instead of one being returned.

    Attributes:
        guard: Decides who is authenticated; None where everybody may call.
        answered: Handles calls that need not be authenticated, and have no id.
        answered_with_id: The same for those with an id.
        answered_by_name: Handles calls without a key whose client may have a certificate that is listed. Their message
            is not read before that is known.
        rejected: Handles calls that are not authenticated.
    """

    def __init__(self, method: GrpcMethod, router: CallRouter, streams: bool) -> None:
        self.guard = None if method.right is Right.NONE else router.guard
        self._router = router
        self._reader = router.reader
        self._replies = router.replies
        self._method = method
        self._refuses = method.refuses
        self._probe = method.probe
        self._name = method.path.rpartition("/")[2]
        self._right = method.right
        self._streams = streams
        self.answered = self.answered_for(ANYBODY, has_id=False)
        self.answered_with_id = self.answered_for(ANYBODY, has_id=True)
        self.answered_by_name = CallHandler(self._answer_for_name, False, streams)
        self.rejected = CallHandler(self._reject, False, streams)

    def answered_for(self, identity: Identity, has_id: bool) -> CallHandler:
        """Handles calls of a client.

        Args:
            identity: Who it is.
            has_id: Whether the call has an id.
        """
        if self._right not in identity.rights:
            return CallHandler(partial(self._forbid, identity), False, self._streams)
        answer = self._answer_with_id if has_id else self.answer
        return CallHandler(partial(answer, identity), True, self._streams)

    async def answer(self, identity: Identity, call: ServerCall) -> bytes | None:
        """Answer one call of a client; see `Answer`."""
        return await self._serve(Call(call, self._router, self._method, identity), call)

    @abstractmethod
    async def _serve(self, asked: Call, call: ServerCall) -> bytes | None:
        """Answer one call.

        Args:
            asked: It, as handlers see it.
            call: It, as the library has it.
        """

    async def _answer_with_id(self, identity: Identity, call: ServerCall) -> bytes | None:
        """Answer a call with the id that its client has given it."""
        name = usable_id(given_id(call.metadata))
        return await self._serve(Call(call, self._router, self._method, identity, name), call)

    async def _answer_for_name(self, call: ServerCall) -> bytes | None:
        """Answer a call without a key, if the certificate of its client has a name that is listed."""
        identity = None if self.guard is None else self.guard.identity_in_certificate(call.auth_context())
        if identity is None:
            await self._reject(call)
        return await self.answered_for(identity, has_id=True).answer(call)

    async def _forbid(self, identity: Identity, call: ServerCall) -> NoReturn:
        """Refuse a call whose client lacks the right, before its message is read."""
        failure = NotPermitted(identity.refusal(self._right)).failure()
        asked = Call(call, self._router, self._method, identity)
        raise self._end(asked, GrpcError(GrpcStatus.PERMISSION_DENIED, failure))

    async def _reject(self, call: ServerCall) -> NoReturn:
        """Reject a call that is not authenticated, before its message is read."""
        assert self.guard is not None
        self.guard.note_refusal(call.peer)
        asked = Call(call, self._router, self._method, STRANGER)
        asked.name_failed()
        asked.set_trailing_metadata()
        failure = Failure(InvalidInput.code, self.guard.refusal, InvalidInput.http_status)
        asked.end_failed(GrpcStatus.UNAUTHENTICATED, [FailedRows(failure, 1)])
        raise CallEnd(GrpcStatus.UNAUTHENTICATED, self.guard.refusal)

    def _check_room(self, call: ServerCall) -> None:
        """Refuse a call whose client does not take its replies.

        Raises:
            GrpcError: So it is.
        """
        if not self._probe:
            self._router.check_replies(call.peer)

    async def _message(self, call: ServerCall) -> bytes:
        """The one message of a call.

        Raises:
            GrpcError: There is none, or as `MessageReader.read`.
        """
        message = await self._reader.read(call, self._refuses)
        if message is None:
            raise client_error(GrpcStatus.INVALID_ARGUMENT, "The call has no message, expected is one")
        return message

    async def _write_all(
        self, asked: Call, call: ServerCall, replies: AsyncGenerator[GrpcReply, None]
    ) -> None:
        """Write messages as a handler makes them.

        Their end is that of the call, also where the client goes away: what the handler holds is free at once.
        """
        async with aclosing(replies):
            async for reply in replies:
                if reply.failures:
                    self._note(asked, reply.target, reply.failures, reply.instance_count)
                self._note_reply(asked, reply)
                await call.write(reply.message)
        asked.end_answered()
        asked.set_trailing_metadata()

    def _note_reply(self, asked: Call, reply: GrpcReply) -> None:
        """Note a message that is about to be written; by default it is one of several that answer one message."""
        asked.add_sent(len(reply.message))

    def _note(self, asked: Call, target: str, failures: Sequence[FailedRows], count: int) -> None:
        """Log a call that failed, and let its reply carry its id."""
        if not self._probe:
            self._router.failures.write(
                asked.name_failed(),
                asked.peer,
                f"{self._name} {target or 'no message'}",
                failures,
                count,
            )

    def _end(self, asked: Call, error: Exception) -> CallEnd:
        """What ends a call that has failed.

        Args:
            asked: Which.
            error: Why; anything but a `GrpcError` is a fault of Serving itself.
        """
        if not isinstance(error, GrpcError):
            error = GrpcError(GrpcStatus.INTERNAL, unexpected_failure(error))
        if error.status is GrpcStatus.UNAVAILABLE:
            self._router.unavailable += 1
        failures = [FailedRows(error.failure, 1)]
        self._note(asked, error.target, failures, 0)
        asked.set_trailing_metadata()
        asked.end_failed(error.status, failures)
        return CallEnd(error.status, text_for_client(error.failure))


class _UnaryCalls(_Calls):
    """Calls of a method that answers one message with one."""

    def __init__(self, method: UnaryMethod, router: CallRouter) -> None:
        super().__init__(method, router, streams=False)
        self._handler = method.handler

    async def _serve(self, asked: Call, call: ServerCall) -> bytes:
        """Answer one call; see `_Calls`."""
        try:
            self._check_room(call)
            # The message has no name here: it may be large, and its handler lets go of it.
            reply = await self._handler(asked.begin(await self._message(call)), asked)
            if reply.failures:
                self._note(asked, reply.target, reply.failures, reply.instance_count)
            self._check_room(call)
        except (CallOver, asyncio.CancelledError):  # there is nobody to answer
            asked.end_left()
            raise
        except Exception as error:  # whatever a handler raises, the client gets a status and the log a line
            raise self._end(asked, error) from error
        self._replies.add(call, len(reply.message))
        asked.answered(reply)
        asked.set_trailing_metadata()
        return reply.message


class _StreamedReplyCalls(_Calls):
    """Calls of a method that answers one message with any number of them."""

    def __init__(self, method: StreamedReplyMethod, router: CallRouter) -> None:
        super().__init__(method, router, streams=True)
        self._handler = method.handler

    async def _serve(self, asked: Call, call: ServerCall) -> None:
        """Answer one call; see `_Calls`."""
        try:
            self._check_room(call)
            message = asked.begin(await self._message(call))
            await self._write_all(asked, call, self._handler(message, asked))
        except (CallOver, asyncio.CancelledError):  # there is nobody to answer
            asked.end_left()
            raise
        except Exception as error:  # whatever a handler raises, the client gets a status and the log a line
            raise self._end(asked, error) from error


class _StreamCalls(_Calls):
    """Calls of a method that answers any number of messages with any number of them."""

    def __init__(self, method: StreamMethod, router: CallRouter) -> None:
        super().__init__(method, router, streams=True)
        self._handler = method.handler
        self._at_a_time = method.at_a_time

    async def _serve(self, asked: Call, call: ServerCall) -> None:
        """Answer one call; see `_Calls`."""
        try:
            self._check_room(call)
            async with aclosing(self._messages(asked, call)) as messages:
                await self._write_all(asked, call, self._handler(messages, asked))
        except (CallOver, asyncio.CancelledError):  # there is nobody to answer
            asked.end_left(streams=True)
            raise
        except Exception as error:  # whatever a handler raises, the client gets a status and the log a line
            raise self._end(asked, error) from error

    def _note_reply(self, asked: Call, reply: GrpcReply) -> None:
        if not self._at_a_time:
            asked.end_first(reply)

    async def _messages(self, asked: Call, call: ServerCall) -> AsyncGenerator[bytes, None]:
        """The messages of a call, each read when it is asked for."""
        while True:
            current_call.set(None)  # nothing of the last message is kept while the next one is awaited
            message = await self._reader.read(call, self._refuses)
            if message is None:
                return
            self._check_room(call)
            box = [asked.begin(message)]
            del message  # it may be large, and whoever gets it lets go of it
            yield box.pop()


def _calls_of(method: GrpcMethod, router: CallRouter) -> _Calls:
    match method:
        case UnaryMethod():
            return _UnaryCalls(method, router)
        case StreamedReplyMethod():
            return _StreamedReplyCalls(method, router)
        case StreamMethod():
            return _StreamCalls(method, router)
    raise TypeError(f"{method!r} does not say which way messages go")
