"""GeneralModelService: a request with tensors to its reply, over HTTP and over gRPC.

The request names no servable: `Targets.unnamed` says which one is meant.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mindspore_serving.errors import Failure, ServingError
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.paddle.general_reply import (
    Note,
    ReplyTensor,
    json_failure,
    json_reply,
    message_failure,
    message_reply,
    reply_tensors,
    wanted_outputs,
)
from mindspore_serving.server.dialect.paddle.general_request import (
    JSON,
    MESSAGE,
    message_request,
    read_message,
)
from mindspore_serving.server.dialect.paddle.known_methods import KnownMethods
from mindspore_serving.server.dialect.paddle.operations import GENERAL_CALLS, GENERAL_PATH, PROTO
from mindspore_serving.server.dialect.paddle.running import Running, is_small, results_of
from mindspore_serving.server.dialect.paddle.tensor_message import decode_slowly
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.server.transport.grpc_failure import error_of
from mindspore_serving.server.transport.grpc_routes import GrpcCall, GrpcMethod, GrpcReply, UnaryMethod
from mindspore_serving.server.transport.http_routes import BodyContent, HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.reply_coding import compressed

SERVICE: Final = "baidu.paddle_serving.predictor.general_model.GeneralModelService"


@dataclass(slots=True)
class _Asked:
    """What a request says beside its tensors, once it is read.

    Attributes:
        destination: Where it goes.
        came: Microseconds at which it came.
        wanted: Which outputs.
        log_id: As of the request.
        profile: Whether it wants times.
    """

    destination: Destination
    came: int
    wanted: Sequence[int] = ()
    log_id: int = 0
    profile: bool = False

    def take(self, content: BodyContent) -> Sequence[Rows]:
        """The instances of a body.

        Raises:
            InvalidInput: It asks for outputs that there are not.
        """
        self.log_id = content.rest["log_id"]
        self.profile = content.rest["profile"]
        self.wanted = wanted_outputs(content.rest["fetch"], self.destination.method)
        return content.rows

    def tensors(self, blocks: Sequence[Rows]) -> list[ReplyTensor]:
        """The outputs of the reply; errors as `reply_tensors`."""
        return reply_tensors(blocks, self.destination.method, self.wanted)

    def note(self) -> Note:
        """What the reply says beside its outputs."""
        return Note(self.log_id, (self.came, _now_us()) if self.profile else ())


class GeneralModel:
    """Answers requests of GeneralModelService.

    Args:
        service: What runs them.
        targets: Finds what is meant.

    Attributes:
        routes: Of HTTP.
        grpc_methods: Of gRPC.
    """

    def __init__(self, service: Service, targets: Targets) -> None:
        self._running = Running(service.dispatcher)
        self._targets = targets
        self._known = KnownMethods()
        self.routes: Sequence[Route] = tuple(
            Route(("POST",), f"{GENERAL_PATH}/{call}", self.answer) for call in GENERAL_CALLS
        )
        self.grpc_methods: Sequence[GrpcMethod] = tuple(
            UnaryMethod(path=f"/{SERVICE}/{call}", handler=self.answer_call, refuses=self.refuses)
            for call in GENERAL_CALLS
        )

    # --- HTTP ---

    async def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request of HTTP.

        Raises:
            ServingError: It cannot be read, or not be run.
        """
        timeout_s = request.timeout_s
        destination = self._targets.unnamed()
        form = MESSAGE if is_message(request) else JSON
        asked = _Asked(destination, _now_us())
        try:
            known = self._known.of(destination)
            outcome = await self._running.run(request, form, known, destination, timeout_s, asked.take)
            reply = await self._http_reply(results_of(outcome), asked, form is MESSAGE)
        except ServingError as error:
            if not asked.log_id:  # or its client would not find it in the reply
                raise
            return _failed(error, form is MESSAGE, asked.log_id)
        return await compressed(reply, request.headers.get("accept-encoding"))

    async def _http_reply(self, blocks: Sequence[Rows], asked: _Asked, as_message: bool) -> HttpReply:
        with self._running.writing(asked.destination, blocks):
            if as_message:
                return HttpReply(200, message_reply(asked.tensors(blocks), asked.note()), PROTO)
            return HttpReply(200, await json_reply(asked.tensors(blocks), asked.note()))

    # --- gRPC ---

    def refuses(self, beginning: bytes) -> bool:
        """Whether there is no room for any message, or nothing that could answer it."""
        try:
            self._running.check_room(self._targets.unnamed())
        except ServingError:
            return True
        return False

    async def answer_call(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """Answer a call of gRPC.

        Raises:
            GrpcError: It has no answer.
        """
        target = ""
        try:
            destination = self._targets.unnamed()
            target = destination.servable.name
            self._running.check_room(destination)
            asked = _Asked(destination, _now_us())
            if is_small(message):
                content = read_message(message, self._known.of(destination))
                outcome = await self._running.admit(destination, asked.take(content))
            else:
                outcome = await self._outcome_of_large(message, call, asked)
            blocks = results_of(outcome)
            with self._running.writing(destination, blocks):
                return self._running.sized(message_reply(asked.tensors(blocks), asked.note()), call)
        except Exception as error:  # whatever goes wrong here, the client gets a status of this dialect
            raise error_of(error, target) from error

    async def _outcome_of_large(self, message: bytes, call: GrpcCall, asked: _Asked) -> Reply:
        """The outcome of a message that is read while others have their turns."""
        destination = asked.destination
        with call.counted(len(message)), self._running.reading(destination) as admission:
            request = message_request(message)
            for tensor in request.tensors:
                await decode_slowly(tensor)
            outcome = admission.admit(asked.take(request.content(self._known.of(destination))))
        return await outcome


def is_message(request: HttpRequest) -> bool:
    """Whether the body of a request is a message of protobuf; it is JSON otherwise."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == PROTO


def refusal(failure: Failure, request: HttpRequest) -> HttpReply:
    """The reply to a request of HTTP that has failed before its log_id was known."""
    return _failure_reply(failure, is_message(request), 0)


def _failed(error: ServingError, as_message: bool, log_id: int) -> HttpReply:
    reply = _failure_reply(error.failure(), as_message, log_id)
    if isinstance(error, RowsFailed):
        return reply._replace(failures=error.failures, instance_count=error.count)
    return reply._replace(failures=[FailedRows(error.failure(), 1)])


def _failure_reply(failure: Failure, as_message: bool, log_id: int) -> HttpReply:
    if as_message:
        return HttpReply(failure.status, message_failure(failure, log_id), PROTO)
    return HttpReply(failure.status, json_failure(failure, log_id))


def _now_us() -> int:
    return time.time_ns() // 1000
