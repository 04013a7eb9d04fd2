"""The native dialect over HTTP: `POST /model/{servable}[/version/{n}]:{method}`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from mindspore_serving.errors import Failure, ServingError
from mindspore_serving.rows import Reply, failures_in
from mindspore_serving.server.dialect.native.body_forms import JSON, form_of, says_json
from mindspore_serving.server.dialect.native.description import TARGET_PATTERNS
from mindspore_serving.server.dialect.native.json_codec import (
    encode_reply,
    parse_body,
    read_instances,
    select_inputs,
)
from mindspore_serving.server.dialect.native.operations import describe
from mindspore_serving.server.dialect.native.rest_url import parse_target
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host.waiting import result_until
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.server.transport.http_routes import BodyFormat, HttpReply, HttpRequest, Route

_ONLY_POST: Final = "http message only support POST right now"


class NativeRest:
    """Answers requests for instances, and whatever is at no path that others have.

    Args:
        dispatcher: Where instances go.
        always_ok: Say HTTP 200 also for errors.
    """

    name = "native"
    describe = staticmethod(describe)

    def __init__(self, dispatcher: Dispatcher, *, always_ok: bool = False) -> None:
        self._dispatcher = dispatcher
        self._always_ok = always_ok
        self.routes: Sequence[Route] = tuple(
            Route(("POST",), pattern, self.predict, wrong_verb=_ONLY_POST)
            for pattern in ("", *TARGET_PATTERNS)
        )

    async def predict(self, request: HttpRequest) -> HttpReply:
        """Answer the instances of a request.

        Raises:
            ServingError: The request as a whole has no answer.
        """
        timeout_s = request.timeout_s
        try:
            name, called, version = parse_target(request.path)
            destination = self._dispatcher.resolve(name, called, version)
        except ServingError:
            _check_small_body(request)
            raise
        self._dispatcher.check_room(destination)
        form, argument = form_of(request.headers.get("content-type", ""), destination.method)
        content = request.read_small(form, argument)
        if content is None:
            return self._reply_to(await self._answer_large(request, destination, timeout_s, form, argument))
        blocks = select_inputs(content.rows, name, destination.method)
        return self._reply_to(await self._dispatcher.admit(destination, blocks, timeout_s))

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed as a whole."""
        return HttpReply(200 if self._always_ok else failure.status, encode_failure(failure))

    async def _answer_large(
        self,
        request: HttpRequest,
        destination: Destination,
        timeout_s: float | None,
        form: BodyFormat,
        argument: Any,
    ) -> Reply:
        """The outcome of a request whose body is read elsewhere, while others go on."""
        late = None if timeout_s is None else destination.deadline_exceeded(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._dispatcher.reading(destination) as admission:
            content = await request.read_large(form, argument, until, late)
            outcome = admission.admit(
                select_inputs(content.rows, destination.servable.name, destination.method)
            )
        return await result_until(until, late, outcome)

    def _reply_to(self, reply: Reply) -> HttpReply:
        status, body = encode_reply(reply)
        if self._always_ok:
            status = 200
        failures = failures_in(reply)
        if not failures:
            return HttpReply(status, body)
        count = sum(group.count for group in reply)
        return HttpReply(status, body, failures=failures, instance_count=count)


def _check_small_body(request: HttpRequest) -> None:
    """Report what is wrong with a small body before what is wrong with its target.

    Raises:
        InvalidInput: The body holds no instances, or the target does not fit the grammar, which is reported in between.
    """
    if not says_json(request.headers.get("content-type", "")):
        return  # what it should be depends on the target
    body = request.small_body(JSON)
    if body is not None:
        document = parse_body(body)
        parse_target(request.path)
        read_instances(document)
