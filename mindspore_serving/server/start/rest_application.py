"""REST as an application of aiohttp, which a user may add to, or mount into an application of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from mindspore_serving.server.dialect.health.page import HealthPages
from mindspore_serving.server.dialect.native.rest import NativeRest
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.application import DialectApplication
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import untaken_replies

_LARGEST_BODY_BYTES = 100 << 20
"""As the default of `start_restful_server`, where the application is mounted into another one."""


def rest_dialects(dispatcher: Dispatcher, *, always_ok: bool) -> Sequence[Dialect]:
    """What REST speaks.

    Args:
        dispatcher: Where instances go.
        always_ok: Say HTTP 200 also for errors.
    """
    return NativeRest(dispatcher, always_ok=always_ok), HealthPages(dispatcher.readiness)


class RestApplication:
    """The application, as long as the server runs.

    Args:
        dispatcher: Where instances go.
        loop: On which the dispatcher runs.
        always_ok: Say HTTP 200 also for errors, where the application is mounted into another one.
        silence_s: Seconds without a sign of life after which the process that reads large bodies is replaced.

    Attributes:
        dialects: The application with those who answer.
    """

    def __init__(
        self, dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop, always_ok: bool, silence_s: float
    ) -> None:
        unfinished = UnfinishedBodies(room_for_bodies(_LARGEST_BODY_BYTES))
        self._bodies = BodyReader(_LARGEST_BODY_BYTES, unfinished, silence_s)
        answering = Answering(
            rest_dialects(dispatcher, always_ok=always_ok),
            self._bodies,
            untaken_replies(_LARGEST_BODY_BYTES),
            FailureLog(),
        )
        self.dialects = DialectApplication(answering, loop)

    @property
    def application(self) -> web.Application:
        """What the user adds to or mounts."""
        return self.dialects.application

    async def stop(self) -> None:
        """End the process that reads large bodies. Safe to call twice."""
        await self._bodies.stop()
