"""Services of pipelines: keys and values to keys and values, over HTTP and over gRPC.

A service is a servable, or a method of one as `servable.method`. Paddle Serving takes any word behind its name; here it
is `prediction`, as its documentation has it, so that no other path becomes a service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mindspore_serving.errors import Failure, InvalidInput, ServingError, unexpected_failure
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.paddle.known_methods import KnownMethods
from mindspore_serving.server.dialect.paddle.operations import PIPELINE_PATTERN
from mindspore_serving.server.dialect.paddle.pipeline_reply import (
    COUNTS,
    PipelineReply,
    failed,
    is_answered,
    no_json,
)
from mindspore_serving.server.dialect.paddle.pipeline_request import JSON, NO_JSON, message_request
from mindspore_serving.server.dialect.paddle.running import Running, is_small, results_of
from mindspore_serving.server.dialect.paddle.tensor_message import decode_slowly
from mindspore_serving.server.dialect.paddle.value_text import output_value
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.service.columns import output_column
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.server.transport.grpc_failure import error_of
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcMethod,
    GrpcReply,
    UnaryMethod,
)
from mindspore_serving.server.transport.http_routes import BodyContent, HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.reply_coding import compressed

SERVICE: Final = "baidu.paddle_serving.pipeline_serving.PipelineService"


class _WrongRequest(InvalidInput):
    """A request is wrong as a whole.

    Args:
        kind: `NO_JSON` or `WRONG_COUNTS`.
        text: What is wrong.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Pipelines:
    """Answers requests of pipelines.

    Args:
        service: What runs them.
        targets: Finds what names mean.

    Attributes:
        routes: Of HTTP.
        grpc_methods: Of gRPC.
    """

    def __init__(self, service: Service, targets: Targets) -> None:
        self._running = Running(service.dispatcher)
        self._targets = targets
        self._known = KnownMethods()
        self.routes: Sequence[Route] = (Route(("POST",), PIPELINE_PATTERN, self.answer),)
        self.grpc_methods: Sequence[GrpcMethod] = (
            UnaryMethod(path=f"/{SERVICE}/inference", handler=self.answer_call),
        )

    async def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request of HTTP.

        Raises:
            ServingError: It has no answer.
        """
        timeout_s = request.timeout_s
        destination = self._targets.predicting(request.parts["service"])
        known = self._known.of(destination)
        try:
            outcome = await self._running.run(request, JSON, known, destination, timeout_s, _take)
            reply = await self._reply(outcome, destination)
        except _WrongRequest as error:
            noted = [FailedRows(error.failure(), 1)]
            if error.kind == NO_JSON:
                return HttpReply(400, no_json(str(error)), failures=noted)
            return HttpReply(200, PipelineReply(COUNTS, str(error)).json(), failures=noted)
        except RowsFailed as error:
            refused = refusal(error.failure())
            return refused._replace(failures=error.failures, instance_count=error.count)
        return await compressed(HttpReply(200, reply.json()), request.headers.get("accept-encoding"))

    async def answer_call(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """Answer a call of gRPC.

        Raises:
            GrpcError: It has no answer, for a reason that is not one of Paddle Serving's.
        """
        target = ""
        try:
            with call.counted(0 if is_small(message) else len(message)):
                request = message_request(message)
                destination = self._targets.predicting(request.name)
                target = destination.servable.name
                with self._running.reading(destination) as admission:
                    if request.wrong_counts:
                        noted = [FailedRows(InvalidInput(request.wrong_counts).failure(), 1)]
                        return GrpcReply(
                            PipelineReply(COUNTS, request.wrong_counts).message(), noted, 0, target
                        )
                    for tensor in request.tensors:
                        await decode_slowly(tensor)
                    outcome = admission.admit([request.instances(self._known.of(destination))])
            reply = await self._reply(await outcome, destination)
            return self._running.sized(reply.message(), call)
        except Exception as error:  # whatever goes wrong here, the client gets an answer of this dialect
            return _failed_call(error, target)

    async def _reply(self, outcome: Reply, destination: Destination) -> PipelineReply:
        """The reply with all outputs.

        Raises:
            ServingError: A row has no result, or the rows of an output differ.
        """
        blocks = results_of(outcome)
        method = destination.method
        with self._running.writing(destination, blocks):
            values = []
            for place, name in enumerate(method.output_names):
                spec, column = output_column(blocks, place, name)
                values.append(await output_value(column, spec.dtype, method.rows))
        return PipelineReply(keys=method.output_names, values=tuple(values))


def refusal(failure: Failure) -> HttpReply:
    """The reply to a request of HTTP that has failed."""
    return HttpReply(200 if is_answered(failure) else failure.status, failed(failure).json())


def _take(content: BodyContent) -> Sequence[Rows]:
    """The instances of a body.

    Raises:
        _WrongRequest: It has none.
    """
    if not content.rows:
        raise _WrongRequest(*content.rest)
    return content.rows


def _failed_call(error: Exception, target: str) -> GrpcReply:
    """The reply to a call that has failed.

    Raises:
        GrpcError: The client gets a status instead.
    """
    if isinstance(error, (GrpcError, *UNDECODABLE)):
        raise error_of(error, target) from error
    failure = error.failure() if isinstance(error, ServingError) else unexpected_failure(error)
    if not is_answered(failure) or not isinstance(error, ServingError):
        raise error_of(error, target) from error
    noted: Sequence[FailedRows] = [FailedRows(failure, 1)]
    count = 0
    if isinstance(error, RowsFailed):
        noted, count = error.failures, error.count
    return GrpcReply(failed(failure).message(), noted, count, target)
