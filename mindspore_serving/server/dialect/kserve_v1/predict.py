"""`POST /v1/models/M:predict`: from a body to the rows of a method, and back."""

from __future__ import annotations

import time
from typing import Final

from mindspore_serving.errors import UnknownTarget, excerpt
from mindspore_serving.rows import Reply, Rows, failures_in
from mindspore_serving.server.dialect.kserve_v1.reply_body import encode_reply
from mindspore_serving.server.dialect.kserve_v1.request_body import PREDICT, Methods
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.host.waiting import result_until
from mindspore_serving.server.service.failed_rows import RowsFailed
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.server.transport.http_routes import BodyContent, HttpReply, HttpRequest
from mindspore_serving.signature import MethodSignature

_MOST_KEPT: Final = 256


class Predict:
    """Answers requests for predictions.

    Args:
        service: Who runs them.
        targets: Finds what the names of models mean.
    """

    def __init__(self, service: Service, targets: Targets) -> None:
        self._dispatcher = service.dispatcher
        self._targets = targets
        self._methods: dict[tuple[str, str], tuple[Destination, Methods]] = {}

    async def answer(self, request: HttpRequest, model: str, version: str) -> HttpReply:
        """Answer a request.

        Args:
            request: It.
            model: `servable`, or `servable.method`.
            version: As it was sent; "" for the newest one that is ready.

        Raises:
            ServingError: It has no answer, or one of its rows has none.
        """
        timeout_s = request.timeout_s
        destination = self._targets.destination(model, version)
        self._dispatcher.check_room(destination)
        methods = self._methods_of(destination, model, version)
        content = request.read_small(PREDICT, methods)
        if content is None:
            return await self._answer_large(request, destination, methods, timeout_s)
        destination = self._chosen(destination, content)
        parameters = content.rest["parameters"]
        outcome = self._dispatcher.admit(destination, content.rows, timeout_s, parameters=parameters)
        return _reply_to(await outcome, content)

    async def _answer_large(
        self, request: HttpRequest, destination: Destination, methods: Methods, timeout_s: float | None
    ) -> HttpReply:
        """Answer a request whose body is read elsewhere, while others go on."""
        late = None if timeout_s is None else destination.deadline_exceeded(timeout_s)
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._dispatcher.reading(destination) as admission:
            content = await request.read_large(PREDICT, methods, until, late)
            # Another method of the same servable, whose place the request has.
            admission.destination = self._chosen(destination, content)
            outcome = admission.admit(content.rows, parameters=content.rest["parameters"])
        return _reply_to(await result_until(until, late, outcome), content)

    def _methods_of(self, destination: Destination, model: str, version: str) -> Methods:
        """What a body may ask for, if its model is the servable, or one of its methods."""
        known = self._methods.get((model, version))
        if known is not None and known[0] is destination:
            return known[1]
        named = model != destination.servable.name
        signatures = (destination.method,) if named else destination.servable.methods
        methods = Methods(
            model=model,
            default=destination.method.name,
            inputs={one.name: _inputs_of(one) for one in signatures},
        )
        if len(self._methods) >= _MOST_KEPT:
            self._methods.clear()
        self._methods[model, version] = destination, methods
        return methods

    def _chosen(self, destination: Destination, content: BodyContent) -> Destination:
        """Where a request goes whose body says the method."""
        name = content.rest["method"]
        if name == destination.method.name:
            return destination
        return self._dispatcher.resolve(destination.servable.name, name, destination.version)


def _inputs_of(method: MethodSignature) -> list[tuple[str, int, bool]]:
    """What is known of the inputs of a method, for the reader of bodies."""
    return [(one.name, int(one.dtype), one.shared) for one in method.inputs]


def _reply_to(reply: Reply, content: BodyContent) -> HttpReply:
    """The reply with the results of all rows.

    Raises:
        RowsFailed: A row has none.
    """
    if failures_in(reply):
        raise RowsFailed(reply)
    blocks = [group for group in reply if isinstance(group, Rows)]
    return HttpReply(200, encode_reply(blocks, content.rest["form"]))


def unknown_label(model: str, label: str) -> UnknownTarget:
    """The error of a request for a label: there are none yet.

    Args:
        model: Name of the model.
        label: As it was sent.
    """
    return UnknownTarget(
        f"Model '{excerpt(model)}' has no label '{excerpt(label)}': this server has no labels of versions, ask for "
        "/versions/N"
    )
