"""Predict of the service `mindspore.serving.proto.MSService`: one message to the dispatcher, and its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from mindspore_serving.errors import ServerStopping, ServingError, unexpected_failure
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.rows import FailedRows, Reply, Rows, failures_in
from mindspore_serving.server.dialect.native.predict_codec import (
    PredictMessage,
    encode_failure,
    encode_reply,
    parts_of_reply,
)
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.failures import request_spec
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    UnaryMethod,
    client_error,
)

PREDICT_PATH: Final = "/mindspore.serving.proto.MSService/Predict"
_UNDECODABLE_TEXT = "Unable to parse request"
_SMALL_BYTES = 1 << 16
"""Bytes of a message up to which its instances cannot be so many that others would notice."""
_FEW_INSTANCES = 1024


class Predict:
    """Answers Predict calls.

    A message is taken as bytes, so that instances can be read by column (`wire_layout`).

    Args:
        dispatcher: Where instances go.

    Attributes:
        grpc_methods: Predict.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.grpc_methods: Sequence[GrpcMethod] = (
            UnaryMethod(path=PREDICT_PATH, handler=self.answer, refuses=self.refuses),
        )
        self._dispatcher = dispatcher
        self._layouts = LayoutMemory()

    def refuses(self, beginning: bytes) -> bool:
        """Whether a message that begins so is refused for its target, or because there is no room for any."""
        try:
            message = PredictMessage(beginning)
            self._dispatcher.check_room(
                self._dispatcher.resolve(message.name, message.method, message.version)
            )
        except UNDECODABLE:
            return False
        except ServingError:
            return True
        return False

    async def answer(self, content: bytes, call: GrpcCall) -> GrpcReply:
        """Answer one message.

        Args:
            content: Serialised PredictRequest.
            call: Of the message.

        Returns:
            Serialised PredictReply; errors of Serving are in its `error_msg`.

        Raises:
            GrpcError: The content is no request, there is no room for it or for its reply, or the server stops.
        """
        message = None
        size = len(content)
        try:
            message = PredictMessage(content)
            del content  # which may be large, and has been copied if its layout was not known
            destination = self._dispatcher.resolve(message.name, message.method, message.version)
            self._dispatcher.check_room(destination)
            if size > _SMALL_BYTES:
                with call.counted(size):
                    outcome = await self._admit_large(message, destination)
            else:
                outcome = self._dispatcher.admit(
                    destination, message.read_instances(destination.method, self._layouts)
                )
            message.let_go()
            reply = await outcome
            _check_size(reply, call.largest_reply)
            if size > _SMALL_BYTES and sum([group.count for group in reply]) > _FEW_INSTANCES:
                with self._dispatcher.writing(destination):
                    encoded = await _encode_large(message, reply)
            else:
                encoded = encode_reply(message.spec_bytes, reply)
            return _reply_with(reply, encoded, message)
        except Exception as error:  # whatever goes wrong here, the client gets a reply of this dialect
            return _reply_to(error, message)

    async def _admit_large(self, message: PredictMessage, destination: Destination) -> asyncio.Future[Reply]:
        """Queue instances, of which there may be millions: others have their turns while they are read.

        Returns:
            As `Dispatcher.admit`.

        Raises:
            InvalidInput: There is no instance, or one does not fit the method.
            ServingError: As `Dispatcher.reading`, and as `Admission.admit`.
        """
        rows = message.read_known(destination.method, self._layouts)
        if rows is not None:
            return self._dispatcher.admit(destination, [rows])
        blocks: list[Rows] = []
        with self._dispatcher.reading(destination) as admission:
            for number, part in enumerate(message.parts()):
                if number:
                    await asyncio.sleep(0)
                    destination.check_served()
                if part is not None:
                    blocks += part.read_instances(destination.method, self._layouts)
            if not blocks:
                raise message.no_instances()
            return admission.admit(blocks)


def _reply_with(outcomes: Reply, encoded: bytes, message: PredictMessage) -> GrpcReply:
    """The reply to a message of which the outcome of all instances is known."""
    failures = failures_in(outcomes)
    if not failures:
        return GrpcReply(encoded)
    return GrpcReply(encoded, failures, sum(group.count for group in outcomes), _target_of(message))


def _reply_to(error: Exception, message: PredictMessage | None) -> GrpcReply:
    """The reply to a message that has failed as a whole.

    Raises:
        GrpcError: The client gets a status instead.
    """
    target = _target_of(message)
    if isinstance(error, GrpcError):
        error.target = target
        raise error
    if isinstance(error, ServerStopping):
        raise GrpcError(GrpcStatus.UNAVAILABLE, error.failure(), target) from error
    if isinstance(error, UNDECODABLE):
        raise client_error(GrpcStatus.INTERNAL, _UNDECODABLE_TEXT, target) from error
    failure = error.failure() if isinstance(error, ServingError) else unexpected_failure(error)
    spec = message.spec_bytes if message else b""
    return GrpcReply(encode_failure(spec, failure), [FailedRows(failure, 1)], 0, target)


def _check_size(reply: Reply, most_bytes: int) -> None:
    """Refuse what gRPC would refuse too, but only once all of it has been written into one message.

    Raises:
        GrpcError: The reply has more bytes than a message may have.
    """
    size = 0
    for group in reply:
        if isinstance(group, Rows):
            size += group.byte_size
    if size > most_bytes:
        text = f"SERVER: Sent message larger than max ({size} vs. {most_bytes})"
        raise client_error(GrpcStatus.RESOURCE_EXHAUSTED, text)


async def _encode_large(message: PredictMessage, reply: Reply) -> bytes:
    """A reply of which there may be much to write: others have their turns meanwhile."""
    parts = []
    for part in parts_of_reply(message.spec_bytes, reply):
        parts.append(part)
        await asyncio.sleep(0)
    return b"".join(parts)


def _target_of(message: PredictMessage | None) -> str:
    """What a message asks for, as the log calls it; "" where that cannot be read."""
    return request_spec(message.name, message.method, message.version).rstrip() if message else ""
