"""The Open Inference Protocol over HTTP: what is asked of models, and what there is to know of them.

`pages` has the paths that only tell something.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from mindspore_serving.errors import Failure, InvalidInput
from mindspore_serving.server.dialect.open_inference.errors import error_body
from mindspore_serving.server.dialect.open_inference.http.generate import (
    event_of,
    generate_reply,
    generate_request,
)
from mindspore_serving.server.dialect.open_inference.http.known_requests import KnownRequests
from mindspore_serving.server.dialect.open_inference.http.large_request import read_large, request_of
from mindspore_serving.server.dialect.open_inference.http.pages import Pages
from mindspore_serving.server.dialect.open_inference.http.raw_request import raw_request
from mindspore_serving.server.dialect.open_inference.http.reply import http_reply, json_of
from mindspore_serving.server.dialect.open_inference.http.request import (
    BINARY_DATA,
    header_length,
    read_document,
    read_request,
)
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest
from mindspore_serving.server.dialect.open_inference.models import Models
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.transport.http_routes import BodyFormat, HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.reply_coding import compressed

_EVENTS: Final = "text/event-stream; charset=utf-8"
_JSON = BodyFormat(read_large)
_SHORT_HEADER: Final = 1 << 18
"""Bytes of JSON in front of raw tensors that are read at once, whatever they hold."""


def _is_short(body: bytes) -> bool:
    return True


def _head_is_quick(length: int, body: bytes) -> bool:
    return _JSON.is_quick(body[:length])


def _ignore(asked: InferRequest) -> None:
    return


def _check_no_binary(asked: InferRequest) -> None:
    """Check that no output is to be binary.

    Raises:
        InvalidInput: One is.
    """
    for output in asked.outputs:
        if output.parameters.get(BINARY_DATA):
            raise InvalidInput(
                f"Output '{output.name}' is asked for as binary data, which an event cannot hold"
            )


_RAW = BodyFormat(read_large, _is_short)
Handler = Callable[[HttpRequest], Awaitable[HttpReply]]


class OpenInferenceRest:
    """Answers everything below `/v2`.

    Args:
        inference: Answers requests for inference.
        models: Describes what there is.
        more: Further routes below `/v2`, which go before the rest.

    Attributes:
        routes: All of them.
    """

    name = "open_inference"

    def __init__(self, inference: Inference, models: Models, more: Sequence[Route] = ()) -> None:
        self._inference = inference
        self._known = KnownRequests(inference)
        self.routes: Sequence[Route] = (
            *Pages(models).routes,
            *more,
            *self._asked("infer", self.infer),
            *self._asked("infer_stream", self.infer_stream),
            *self._asked("generate", self.generate),
            *self._asked("generate_stream", self.generate_stream),
            Route((), "/v2/{path*}", self.infer),  # no verb: all else is nothing
        )

    @staticmethod
    def _asked(action: str, handler: Handler) -> list[Route]:
        return [
            Route(("POST",), f"/v2/models/{{model}}{version}/{action}", handler)
            for version in ("", "/versions/{version}")
        ]

    async def infer(self, request: HttpRequest) -> HttpReply:
        """Answer tensors with tensors.

        Raises:
            ServingError: The request has no answer.
        """
        try:
            answer = await self._known.answer(request)
            if answer is None:
                reply, asked = await self._infer(request)
                with self._inference.writing(asked, reply):
                    answer = await http_reply(reply, asked)
                self._known.learn(request, asked)
        except RowsFailed as error:
            return _failed(error)
        accepted = request.headers.get("accept-encoding")
        return answer if accepted is None else await compressed(answer, accepted)

    async def infer_stream(self, request: HttpRequest) -> HttpReply:
        """Answer tensors with the one event that there is.

        Raises:
            ServingError: The request has no answer.
        """
        try:
            reply, asked = await self._infer(request, _check_no_binary)
        except RowsFailed as error:
            return _failed(error)
        with self._inference.writing(asked, reply):
            return HttpReply(200, event_of(await json_of(reply)), _EVENTS)

    async def generate(self, request: HttpRequest) -> HttpReply:
        """Answer plain values with plain values.

        Raises:
            ServingError: The request has no answer.
        """
        try:
            return HttpReply(200, await self._generate(request))
        except RowsFailed as error:
            return _failed(error)

    async def generate_stream(self, request: HttpRequest) -> HttpReply:
        """Answer plain values with the one event that there is.

        Raises:
            ServingError: The request has no answer.
        """
        try:
            return HttpReply(200, event_of(await self._generate(request)), _EVENTS)
        except RowsFailed as error:
            return _failed(error)

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed as a whole."""
        return HttpReply(failure.status, error_body(failure))

    async def _infer(
        self, request: HttpRequest, check: Callable[[InferRequest], None] = _ignore
    ) -> tuple[InferReply, InferRequest]:
        """The reply to a request for inference, and the request.

        Args:
            request: Of HTTP.
            check: May refuse what was asked, before it is run.

        Raises:
            ServingError: It has none.
        """
        timeout_s = request.timeout_s
        model, version = request.parts["model"], request.parts.get("version", "")
        destination = self._inference.check_room(model, version)
        length = header_length(request.headers)
        form = _JSON
        if length is not None:
            form = (
                _RAW if length <= _SHORT_HEADER else BodyFormat(read_large, partial(_head_is_quick, length))
            )
        body = request.small_body(form)
        if length == 0:
            if body is None:
                raise InvalidInput(
                    "A body without JSON may be compressed only if it is small; send it as it is"
                )
            asked = raw_request(body, model, version, destination.method)
        elif body is not None:
            asked = read_request(body, length, model, version)
        else:
            return await self._infer_large(request, destination, form, length, timeout_s, check)
        check(asked)
        reply = await self._inference.infer(asked, timeout_s=timeout_s, peer=request)
        return reply, asked

    async def _infer_large(
        self,
        request: HttpRequest,
        destination: Destination,
        form: BodyFormat,
        length: int | None,
        timeout_s: float | None,
        check: Callable[[InferRequest], None],
    ) -> tuple[InferReply, InferRequest]:
        """As `_infer`, with a body that is read elsewhere, while others go on."""
        model, version = request.parts["model"], request.parts.get("version", "")
        late = None if timeout_s is None else destination.deadline_exceeded(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._inference.reading(destination) as admission:
            content = await request.read_large(form, length, until, late)
            asked = request_of(content, model, version)
            check(asked)
            left_s = None if until is None else max(0.0, until - time.monotonic())
            reply = await self._inference.infer(asked, timeout_s=left_s, peer=request, admission=admission)
        return reply, asked

    async def _generate(self, request: HttpRequest) -> bytes:
        """The document of a reply of the generate extension.

        Raises:
            ServingError: There is none.
        """
        timeout_s = request.timeout_s
        model, version = request.parts["model"], request.parts.get("version", "")
        destination = self._inference.check_room(model, version)
        body = request.small_body(_JSON)
        if body is None:
            raise InvalidInput(
                "The request is too large for generate; send its tensors to infer, as binary data"
            )
        asked = generate_request(read_document(body), model, version, destination.method)
        return generate_reply(await self._inference.infer(asked, timeout_s=timeout_s, peer=request))


def _failed(error: RowsFailed) -> HttpReply:
    """The reply to a request of which rows have no result."""
    failure = error.failure()
    return HttpReply(
        failure.status,
        error_body(failure),
        failures=error.failures,
        instance_count=error.count,
    )
