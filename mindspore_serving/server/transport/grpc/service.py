"""The gRPC interface: service `mindspore.serving.proto.MSService` on grpc.aio, and health checks.

A generic handler takes the raw bytes of a request, so that instances can be read by column (`wire_layout`). It is one
for streamed requests, which reads the one that there is itself (`grpc_messages`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import grpc
import grpc.aio

from mindspore_serving.errors import (
    Failure,
    InvalidInput,
    ServerStopping,
    ServingError,
    StartUpError,
)
from mindspore_serving.forked_grpc import note_use
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.dialect.health.grpc import HealthHandler
from mindspore_serving.server.dialect.native.predict_codec import (
    UNDECODABLE,
    PredictCall,
    encode_failure,
    encode_reply,
    parts_of_reply,
)
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory
from mindspore_serving.server.dispatch.dispatcher import Dispatcher, Route
from mindspore_serving.server.dispatch.failures import request_spec
from mindspore_serving.server.host.port_owner import bind_fault
from mindspore_serving.server.host.unix_socket import place_for_socket
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.address import (
    QUIET_S,
    STOP_GRACE_S,
    UNIX_PREFIX,
    parse_socket_address,
    socket_path,
)
from mindspore_serving.server.transport.failure_log import FailureLog, failures_in, unexpected_failure
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.messages import Context, MessageReader, MessageRefused
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.request_id import (
    ID_FIELD,
    carries_id,
    given_id,
    request_id,
    usable_id,
)
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import SHARE_OF_ONE, UntakenReplies

PREDICT_METHOD = "/mindspore.serving.proto.MSService/Predict"
_TAG = "Serving gRPC"
_UNDECODABLE_TEXT = "Unable to parse request"
_LONGEST_HAND_OVER_S = 0.5
_SMALL_BYTES = 1 << 16
"""Bytes of a message up to which its instances cannot be so many that others would notice."""
_FEW_INSTANCES = 1024


def check_grpc_address(address: str) -> None:
    """Check an address of the form `ip:port` or `unix:path`.

    Raises:
        StartUpError: It has neither form.
    """
    if not address.startswith(UNIX_PREFIX):
        parse_socket_address(address, _TAG)
    elif address == UNIX_PREFIX:
        raise StartUpError("Serving Error: Empty grpc server unix domain socket address")


class _ReplyTooLarge(Exception):
    """A reply has more bytes than a message may have."""


class PredictHandler(grpc.GenericRpcHandler):
    """Answers Predict calls.

    Args:
        dispatcher: Where instances go.
        most_bytes: Largest reply.
        reader: Reads the messages of calls.
        replies: Counts what is sent.
        guard: Decides who is let in; None lets everybody in.

    Attributes:
        turned_away: Calls that were refused because the server stops.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        most_bytes: int,
        reader: MessageReader,
        replies: SentReplies,
        guard: Guard | None = None,
    ) -> None:
        self.turned_away = 0
        self._dispatcher = dispatcher
        self._most_bytes = most_bytes
        self._reader = reader
        self._replies = replies
        self._guard = guard
        self._layouts = LayoutMemory()
        self._failures = FailureLog()
        self._answer: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(self.answer)
        self._answer_with_id: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            self._answer_and_echo
        )
        self._answer_by_name: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
            self._answer_for_names
        )
        self._refuse: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(self._turn_away)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None for anything but Predict."""
        if handler_call_details.method != PREDICT_METHOD:
            return None
        guard = self._guard
        metadata = handler_call_details.invocation_metadata or ()
        if guard is None or guard.admits_metadata(metadata):
            return self._answer_with_id if carries_id(metadata) else self._answer
        return self._answer_by_name if guard.identities else self._refuse

    async def _answer_for_names(self, requests: Any, context: Context) -> bytes:
        """Answer a call without a key, if the certificate of its client has a name that is listed."""
        if self._guard is not None and not self._guard.admits_names(context.auth_context()):
            await self._turn_away(None, context)
        return await self._answer_and_echo(requests, context)

    async def _answer_and_echo(self, requests: Any, context: Context) -> bytes:
        """Answer a call with the id that its client has given it."""
        name = usable_id(given_id(context.invocation_metadata() or ()))
        if name:
            context.set_trailing_metadata(((ID_FIELD, name),))
        return await self.answer(requests, context)

    async def _turn_away(self, requests: Any, context: Context) -> None:
        """Reject a call that is not authenticated, before its message is read; raises, and so ends the call."""
        assert self._guard is not None
        self._guard.note_refusal(context.peer())
        _name(context)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, self._guard.refusal)

    async def answer(self, requests: Any, context: Context) -> bytes:
        """Answer one call.

        Args:
            requests: Not used; the message is read from `context`.
            context: Of the call.

        Returns:
            Serialised PredictReply, as `predict`.
        """
        peer = context.peer()
        if not self._replies.has_room(peer):
            await self._refuse_replies(context)
        reply = await self.predict(await self._read(context, peer), context)
        if not self._replies.has_room(peer):
            await self._refuse_replies(context)
        self._replies.add(context, peer, len(reply))
        return reply

    async def _read(self, context: Context, peer: str) -> bytes:
        """The message of a call; ends the call where it is not taken."""
        try:
            return await self._reader.read(context, peer, self._refuses)
        except MessageRefused as refused:
            await self._end(context, refused.status, str(refused))

    def _refuses(self, beginning: bytes) -> bool:
        """Whether a message that begins so is refused for its target, or because there is no room for any."""
        try:
            call = PredictCall(beginning)
            self._dispatcher.check_room(self._dispatcher.resolve(call.name, call.method, call.version))
        except UNDECODABLE:
            return False
        except ServingError:
            return True
        return False

    async def _refuse_replies(self, context: Context) -> None:
        """End a call whose client takes no replies."""
        await self._end(context, grpc.StatusCode.RESOURCE_EXHAUSTED, self._replies.refusal)

    async def _end(self, context: Context, status: grpc.StatusCode, text: str) -> NoReturn:
        """End a call for a reason that lies in its transport."""
        self._note_one(Failure(InvalidInput.code, text), None, context)
        await context.abort(status, text)

    async def predict(self, message: bytes, context: Context) -> bytes:
        """Answer one message.

        Args:
            message: Serialised PredictRequest.
            context: Of the call.

        Returns:
            Serialised PredictReply; errors of Serving are in its `error_msg`.
        """
        call = None
        size = len(message)
        try:
            call = PredictCall(message)
            del message  # which may be large, and has been copied if its layout was not known
            route = self._dispatcher.resolve(call.name, call.method, call.version)
            self._dispatcher.check_room(route)
            if size > _SMALL_BYTES:
                with self._reader.counted(size):
                    outcome = await self._admit_large(call, route)
            else:
                outcome = self._dispatcher.admit(route, call.read_instances(route.method, self._layouts))
            call.let_go()
            reply = await outcome
            self._check_size(reply)
            failures = failures_in(reply)
            if failures:
                self._note(failures, sum(group.count for group in reply), call, context)
            if size > _SMALL_BYTES and sum([group.count for group in reply]) > _FEW_INSTANCES:
                with self._dispatcher.writing(route):
                    return await _encode_large(call, reply)
            return encode_reply(call.spec_bytes, reply)
        except MessageRefused as refused:
            self._note_one(Failure(InvalidInput.code, str(refused)), call, context)
            await context.abort(refused.status, str(refused))
        except _ReplyTooLarge as error:
            self._note_one(Failure(InvalidInput.code, str(error)), call, context)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except ServerStopping as error:
            self.turned_away += 1
            self._note_one(error.failure(), call, context)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))  # so that clients try another server
        except UNDECODABLE:
            self._note_one(InvalidInput(_UNDECODABLE_TEXT).failure(), call, context)
            await context.abort(grpc.StatusCode.INTERNAL, _UNDECODABLE_TEXT)
        except ServingError as error:
            failure = error.failure()
        except Exception as error:  # whatever goes wrong here, the client gets an answer
            failure = unexpected_failure(error)
        self._note_one(failure, call, context)
        return encode_failure(call.spec_bytes if call else b"", failure)

    async def _admit_large(self, call: PredictCall, route: Route) -> asyncio.Future[Reply]:
        """Queue instances, of which there may be millions: others have their turns while they are read.

        Returns:
            As `Dispatcher.admit`.

        Raises:
            InvalidInput: There is no instance, or one does not fit the method.
            ServingError: As `Dispatcher.reading`, and as `Admission.admit`.
        """
        rows = call.read_known(route.method, self._layouts)
        if rows is not None:
            return self._dispatcher.admit(route, [rows])
        blocks: list[Rows] = []
        with self._dispatcher.reading(route) as admission:
            for number, part in enumerate(call.parts()):
                if number:
                    await asyncio.sleep(0)
                    route.check_served()
                if part is not None:
                    blocks += part.read_instances(route.method, self._layouts)
            if not blocks:
                raise call.no_instances()
            return admission.admit(blocks)

    def _note_one(self, failure: Failure, call: PredictCall | None, context: Context) -> None:
        self._note([FailedRows(failure, 1)], 0, call, context)

    def _note(
        self,
        failures: Sequence[FailedRows],
        count: int,
        call: PredictCall | None,
        context: Context,
    ) -> None:
        """Log a call that failed, and let its reply carry its id."""
        target = request_spec(call.name, call.method, call.version).rstrip() if call else "no message"
        self._failures.write(_name(context), context.peer(), f"Predict {target}", failures, count)

    def _check_size(self, reply: Reply) -> None:
        """Refuse what gRPC would refuse too, but only once all of it has been written into one message.

        Raises:
            _ReplyTooLarge: It has more bytes than a message may have.
        """
        size = sum([group.byte_size for group in reply if isinstance(group, Rows)])
        if size > self._most_bytes:
            raise _ReplyTooLarge(f"SERVER: Sent message larger than max ({size} vs. {self._most_bytes})")


async def _encode_large(call: PredictCall, reply: Reply) -> bytes:
    """A reply of which there may be much to write: others have their turns meanwhile."""
    parts = []
    for part in parts_of_reply(call.spec_bytes, reply):
        parts.append(part)
        await asyncio.sleep(0)
    return b"".join(parts)


def _name(context: Context) -> str:
    """The id of a call that fails, which its reply is to carry."""
    name = request_id(given_id(context.invocation_metadata() or ()))
    context.set_trailing_metadata(((ID_FIELD, name),))
    return name


class GrpcServer:
    """One listening gRPC server.

    Args:
        service: Where instances go.
        address: `ip:port`, or `unix:path`.
        limits: What clients may take.
        credentials: TLS; None for plain text.
        guard: Decides who is let in; None lets everybody in.

    Attributes:
        address: The address with the path as it is bound.
    """

    def __init__(
        self,
        service: Service,
        address: str,
        limits: GrpcLimits,
        credentials: grpc.ServerCredentials | None,
        guard: Guard | None = None,
    ) -> None:
        on_unix_socket = address.startswith(UNIX_PREFIX)
        self.address = f"{UNIX_PREFIX}{socket_path(address)}" if on_unix_socket else address
        self._given_address = address
        self._credentials = credentials
        connections = TcpConnections()
        self._reader = MessageReader(
            limits.message_bytes, connections, UnfinishedBodies(limits.arriving_bytes)
        )
        untaken = UntakenReplies(limits.untaken_bytes, limits.untaken_bytes // SHARE_OF_ONE)
        self._replies = SentReplies(untaken, connections)
        self._handler = PredictHandler(
            service.dispatcher, limits.message_bytes, self._reader, self._replies, guard
        )
        self._health = HealthHandler(service.catalog, self._reader)
        self._options = [("grpc.so_reuseport", 0), *limits.options()]
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen; on a Unix socket, for this user only.

        Raises:
            StartUpError: The address cannot be bound, or key and certificate do not fit together.
        """
        note_use()
        server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers((self._handler, self._health))
        given = self._given_address
        try:
            async with (
                place_for_socket(socket_path(given)) if given.startswith(UNIX_PREFIX) else nullcontext()
            ):
                if self._credentials is None:
                    port = server.add_insecure_port(given)
                else:
                    port = server.add_secure_port(given, self._credentials)
        except OSError as cause:
            raise _not_created(given, f": {cause}") from cause
        except RuntimeError as cause:
            raise _not_created(given) from cause
        if port == 0:
            raise _not_created(given)
        await server.start()
        self._server = server

    async def hand_over(self) -> None:
        """Let the calls that gRPC has received get their refusal from the handler: a server that stops cancels them."""
        for _ in range(round(_LONGEST_HAND_OVER_S / QUIET_S)):
            before = self._handler.turned_away
            await asyncio.sleep(QUIET_S)
            if self._handler.turned_away == before:
                return

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Refuse new calls, let those under way finish shortly, and close. Safe to call twice.

        Args:
            grace_s: How long calls under way may take; a later call with less shortens it.
        """
        server = self._server
        if server is None:
            return
        self._health.end_watches()
        await server.stop(grace_s)
        self._reader.stop()
        self._replies.stop()
        first, self._server = self._server is server, None
        if first and self.address.startswith(UNIX_PREFIX):
            Path(self.address.removeprefix(UNIX_PREFIX)).unlink(missing_ok=True)


def _not_created(address: str, reason: str = "") -> StartUpError:
    return StartUpError(
        f"Serving Error: Serving gRPC server start failed, create server failed, address {address}"
        f"{reason or bind_fault(address)}"
    )
