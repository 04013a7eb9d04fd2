"""REST as an application of aiohttp, which a user may add to, or mount into an application of their own."""

from __future__ import annotations

import asyncio

from aiohttp import web

from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.start.dialects import dialects_of
from mindspore_serving.server.transport.failure_log import FailureLog
from mindspore_serving.server.transport.http.answering import Answering
from mindspore_serving.server.transport.http.application import DialectApplication
from mindspore_serving.server.transport.http.body_reader import BodyReader
from mindspore_serving.server.transport.observers import Observers
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies, room_for_bodies
from mindspore_serving.server.transport.untaken_replies import untaken_replies

_LARGEST_BODY_BYTES = 100 << 20
"""As the default of `start_restful_server`, where the application is mounted into another one."""


class RestApplication:
    """The application, as long as the server runs.

    Args:
        service: What the dialects ask.
        regions: Shared memory of clients.
        loop: On which it runs.
        always_ok: Say HTTP 200 also for errors, where the application is mounted into another one.
        silence_s: Seconds without a sign of life after which the process that reads large bodies is replaced.
        observers: Who is told of requests.

    Attributes:
        dialects: The application with those who answer.
    """

    def __init__(
        self,
        service: Service,
        regions: SharedMemoryRegions,
        loop: asyncio.AbstractEventLoop,
        always_ok: bool,
        silence_s: float,
        observers: Observers,
    ) -> None:
        unfinished = UnfinishedBodies(room_for_bodies(_LARGEST_BODY_BYTES))
        self._bodies = BodyReader(_LARGEST_BODY_BYTES, unfinished, silence_s)
        answering = Answering(
            dialects_of(service, regions, always_ok=always_ok),
            self._bodies,
            untaken_replies(_LARGEST_BODY_BYTES),
            FailureLog(),
            observers,
        )
        self.dialects = DialectApplication(answering, loop)

    @property
    def application(self) -> web.Application:
        """What the user adds to or mounts."""
        return self.dialects.application

    async def stop(self) -> None:
        """End the process that reads large bodies. Safe to call twice."""
        await self._bodies.stop()
