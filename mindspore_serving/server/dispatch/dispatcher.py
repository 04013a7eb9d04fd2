"""Admission: from a request's target to the running servable that answers it.

The front ends know this class and no other of the main process. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindspore_serving.errors import (
    DeadlineExceeded,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    UnknownTarget,
)
from mindspore_serving.options import ServableSettings
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dispatch.readiness import Readiness
from mindspore_serving.server.dispatch.request import Request
from mindspore_serving.server.dispatch.servable import RunningServable, request_spec
from mindspore_serving.server.dispatch.unanswered import Unanswered
from mindspore_serving.server.host.settings import server_limits, suspect_wait_s
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.signature import CALL_PREFIX, MethodSignature


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        servable: A running version with at least one copy.
        method: What it asks for.
    """

    servable: RunningServable
    method: MethodSignature


def deadline_exceeded(route: Route, timeout_s: float) -> DeadlineExceeded:
    """What a request is told whose client gave it too little time.

    Args:
        route: Where it went.
        timeout_s: The time, in seconds.
    """
    spec = request_spec(route.servable.name, route.method.name, route.servable.version)
    return DeadlineExceeded(f"Request {spec}, deadline of {1000 * timeout_s:.15g} ms exceeded")


class Dispatcher:
    """The running servables of this server, and what they owe an answer.

    Args:
        loop: The event loop on which all methods are called.

    Attributes:
        readiness: What health checks ask.
        draining: Whether new requests are refused, because the server is about to end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.readiness = Readiness()
        self._loop = loop
        self._servables: dict[str, dict[int, RunningServable]] = {}
        self._settings: dict[tuple[str, int], ServableSettings] = {}
        self._routes: dict[tuple[str, str, int], Route] = {}
        self._unanswered = Unanswered(server_limits)
        self._left_instances = 0
        self._left_bytes = 0
        self._suspect_wait_s = suspect_wait_s()
        self.draining = False
        self._drained = asyncio.Event()

    def __repr__(self) -> str:
        draining = " draining," if self.draining else ""
        return f"<Dispatcher{draining} {self._unanswered.requests} unanswered, {self._all_servables()}>"

    @property
    def requests(self) -> int:
        """How many requests are pending; may be asked from any thread."""
        return self._unanswered.requests

    def servable(self, name: str, version: int) -> RunningServable:
        """The entry of a servable version, made at first use."""
        versions = self._servables.setdefault(name, {})
        if version not in versions:
            versions[version] = RunningServable(name, version, self._loop, self._copies_changed)
            versions[version].suspect_wait_s = self._suspect_wait_s
            if (name, version) in self._settings:
                versions[version].configure(self._settings[name, version])
        return versions[version]

    def configure(self, settings: ServableSettings) -> None:
        """Take the settings of a servable version, which hold from its first copy on.

        There is no entry of it before: a request for what has not been started is one for an unknown target.
        """
        name, version = settings.servable_name, settings.version_number
        self._settings[name, version] = settings
        running = self._servables.get(name, {}).get(version)
        if running is not None:
            running.configure(settings)

    def resolve(self, name: str, method: str, version: int) -> Route:
        """Find who answers a request.

        Args:
            name: Servable name.
            method: Method name.
            version: Version number; 0 takes the highest one that runs.

        Raises:
            UnknownTarget: No such servable, version or method.
            ServableUnavailable: The servable was started, but no worker of it is left.
            ServerStopping: The server drains.
        """
        route = self._routes.get((name, method, version))
        if route is None:
            if self.draining:
                raise ServerStopping()
            route = self._routes[name, method, version] = self.resolve_admitted(name, method, version)
        return route

    def resolve_admitted(self, name: str, method: str, version: int) -> Route:
        """Find who answers a request that was admitted before: as `resolve`, but also while the server drains.

        Args:
            name: Servable name.
            method: Method name.
            version: Version number; 0 takes the highest one that runs.

        Raises:
            UnknownTarget: No such servable, version or method.
            ServableUnavailable: The servable was started, but no worker of it is left.
        """
        servable = self._find(name, method, version)
        signature = servable.method(method)
        if signature is None or method.startswith(CALL_PREFIX):
            raise UnknownTarget(f"Request {request_spec(name, method, version)}, method is not available")
        if not servable.serves(method):
            raise ServableUnavailable(servable.unavailable(method).text)
        return Route(servable, signature)

    def check_room(self, route: Route) -> None:
        """Refuse a request before its instances are read, which costs more than all the rest of a refusal.

        Args:
            route: From `resolve`.

        Raises:
            QueueFull: Too many requests are unanswered, in the server or of the servable.
        """
        self._unanswered.check_requests()
        own = route.servable.unanswered
        if own is not None:
            own.check_requests()

    @contextlib.contextmanager
    def holding(self, route: Route) -> Iterator[None]:
        """Count a request as unanswered while its instances are being read, or its reply is being written.

        Only for requests of which that takes longer than a turn of the event loop. Before the first, `check_room` has
        found room.

        Args:
            route: From `resolve`.
        """
        own = route.servable.unanswered
        counted = [self._unanswered] if own is None else [self._unanswered, own]
        for unanswered in counted:
            unanswered.requests += 1
        try:
            yield
        finally:
            for unanswered in counted:
                unanswered.requests -= 1
            self._loop.call_soon(self._note_end)  # if it goes on, it is submitted before that

    def _note_end(self) -> None:
        """A request is no longer unanswered."""
        if self.draining and not self._unanswered.requests:
            self._drained.set()

    def submit(
        self, route: Route, blocks: Sequence[Rows], timeout_s: float | None = None
    ) -> asyncio.Future[Reply]:
        """Queue the instances of one request, for which `check_room` has found room.

        Args:
            route: From `resolve`.
            blocks: The instances, at least one; the specs of each block are the method's inputs in order.
            timeout_s: Seconds after which they are answered with `DeadlineExceeded`, and those that wait are dropped;
                None for no limit.

        Returns:
            A future of the outcome of every instance. Cancelling it abandons the request.

        Raises:
            QueueFull: Too many instances or bytes are unanswered, in the server or of the servable.
        """
        servable = route.servable
        future: asyncio.Future[Reply] = self._loop.create_future()
        request = Request(blocks, future)
        everything, own = self._unanswered, servable.unanswered
        everything.add(request)
        if own is not None:
            try:
                own.add(request)
            except QueueFull:
                everything.remove(request)
                raise

        def ended(_: asyncio.Future[Reply]) -> None:
            everything.remove(request)
            if own is not None:
                own.remove(request)
            if request.pending:
                self._forget(request)
            self._note_end()

        future.add_done_callback(ended)
        if timeout_s is not None:
            self._limit_time(route, request, future, timeout_s)
        servable.submit(route.method.name, request)
        return future

    def _forget(self, request: Request) -> None:
        """Let go of what a request that has ended early has left in the queues.

        Batches leave it out anyhow. But while no copy takes any, what is left would pile up without a limit: so all of
        it is removed as soon as it outweighs what is owed an answer.
        """
        self._left_instances += request.count
        self._left_bytes += request.byte_size
        owed = self._unanswered
        if self._left_instances > owed.instances or self._left_bytes > owed.byte_size:
            self._left_instances = self._left_bytes = 0
            for servable in self._all_servables():
                servable.drop_ended()

    def _limit_time(
        self, route: Route, request: Request, future: asyncio.Future[Reply], timeout_s: float
    ) -> None:
        """Give a request up after a time, unless it has ended before."""
        timer = self._loop.call_later(
            timeout_s, request.give_up, deadline_exceeded(route, timeout_s).failure()
        )
        future.add_done_callback(lambda _: timer.cancel())

    def forward(
        self, servable: RunningServable, method: str, blocks: Sequence[Rows]
    ) -> asyncio.Future[Reply]:
        """Queue instances of a request that was admitted elsewhere; they count for no limit here.

        Args:
            servable: Who runs them.
            method: Its method, also one that clients cannot reach.
            blocks: The instances, at least one.

        Returns:
            As `submit`.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        if servable.method(method) is None or not servable.serves(method):
            future.set_result([FailedRows(servable.unavailable(method), sum(b.count for b in blocks))])
        else:
            request = Request(blocks, future)

            def ended(_: asyncio.Future[Reply]) -> None:
                if request.pending:
                    self._forget(request)

            future.add_done_callback(ended)
            servable.submit(method, request)
        return future

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests from now on, and wait until those that were admitted are answered.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether all are answered.
        """
        self.draining = True
        self.readiness.close("draining")
        self._routes.clear()
        for servable in self._all_servables():
            servable.hurry()
        deadline = self._loop.time() + timeout_s
        while self._unanswered.requests and self._loop.time() < deadline:
            self._drained.clear()
            await wait_for_event(self._drained, deadline - self._loop.time())
        return not self._unanswered.requests

    def fail_waiting(self) -> None:
        """Answer every request that waits or is under way with an error; used when the server stops."""
        self.readiness.close("stopping")
        for servable in self._all_servables():
            servable.fail_waiting()

    def _all_servables(self) -> list[RunningServable]:
        return [servable for versions in self._servables.values() for servable in versions.values()]

    def _copies_changed(self) -> None:
        self._routes.clear()
        self.readiness.notify()

    def _find(self, name: str, method: str, version: int) -> RunningServable:
        versions = self._servables.get(name, {})
        number = version or max((n for n, servable in versions.items() if servable.copies), default=0)
        found = versions.get(number)
        if found is not None and found.copies:
            return found
        text = f"Request {request_spec(name, method, version)}, servable is not available"
        raise ServableUnavailable(text) if found or (versions and not version) else UnknownTarget(text)
