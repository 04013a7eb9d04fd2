"""Admission: from a request's target to the running servable that answers it.

The front ends know this class and no other of the main process. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore_serving.errors import FailedRows, QueueFull, ServableUnavailable, ServerStopping, UnknownTarget
from mindspore_serving.server.master.context import max_enqueued_requests
from mindspore_serving.server.master.request import Reply, Request
from mindspore_serving.server.master.servable import RunningServable, request_spec
from mindspore_serving.server.master.waiting import wait_for_event
from mindspore_serving.signature import CALL_PREFIX, MethodSignature
from mindspore_serving.tensor import Rows


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        servable: A running version with at least one copy.
        method: What it asks for.
    """

    servable: RunningServable
    method: MethodSignature


class Dispatcher:
    """The running servables of this server, and the number of requests that they owe an answer.

    Args:
        loop: The event loop on which all methods are called.

    Attributes:
        draining: Whether new requests are refused, because the server is about to end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._servables: dict[str, dict[int, RunningServable]] = {}
        self._routes: dict[tuple[str, str, int], Route] = {}
        self._unanswered = 0
        self.draining = False
        self._drained = asyncio.Event()

    def __repr__(self) -> str:
        draining = " draining," if self.draining else ""
        return f"<Dispatcher{draining} {self._unanswered} unanswered, {self._all_servables()}>"

    def servable(self, name: str, version: int) -> RunningServable:
        """The entry of a servable version, made at first use."""
        versions = self._servables.setdefault(name, {})
        if version not in versions:
            versions[version] = RunningServable(name, version, self._loop, self._routes.clear)
        return versions[version]

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
            route = self._routes[name, method, version] = self._new_route(name, method, version)
        return route

    def submit(self, route: Route, blocks: Sequence[Rows]) -> asyncio.Future[Reply]:
        """Queue the instances of one request.

        Args:
            route: From `resolve`.
            blocks: The instances, at least one; the specs of each block are the method's inputs in order.

        Returns:
            A future of the outcome of every instance. Cancelling it abandons the request.

        Raises:
            QueueFull: Too many requests are unanswered.
        """
        limit = max_enqueued_requests()
        if self._unanswered >= limit:
            raise QueueFull(f"Serving Error: enqueued requests count exceeds the limit {limit}")
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._unanswered += 1
        route.servable.submit(route.method.name, Request(blocks, future, self._request_ended))
        return future

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
            servable.submit(method, Request(blocks, future, lambda _: None))
        return future

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests from now on, and wait until those that were admitted are answered.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether all are answered.
        """
        self.draining = True
        self._routes.clear()
        for servable in self._all_servables():
            servable.hurry()
        if self._unanswered:
            await wait_for_event(self._drained, timeout_s)
        return not self._unanswered

    def fail_waiting(self) -> None:
        """Answer every request that waits or is under way with "not available"; used when the server stops."""
        for servable in self._all_servables():
            servable.fail_waiting()

    def _all_servables(self) -> list[RunningServable]:
        return [servable for versions in self._servables.values() for servable in versions.values()]

    def _new_route(self, name: str, method: str, version: int) -> Route:
        if self.draining:
            raise ServerStopping("Serving Error: the server is stopping and takes no more requests")
        servable = self._find(name, method, version)
        signature = servable.method(method)
        if signature is None or method.startswith(CALL_PREFIX):
            raise UnknownTarget(f"Request {request_spec(name, method, version)}, method is not available")
        if not servable.serves(method):
            raise ServableUnavailable(servable.unavailable(method).text)
        return Route(servable, signature)

    def _find(self, name: str, method: str, version: int) -> RunningServable:
        versions = self._servables.get(name, {})
        number = version or max((n for n, servable in versions.items() if servable.copies), default=0)
        found = versions.get(number)
        if found is not None and found.copies:
            return found
        text = f"Request {request_spec(name, method, version)}, servable is not available"
        raise ServableUnavailable(text) if found or (versions and not version) else UnknownTarget(text)

    def _request_ended(self, _: Request) -> None:
        self._unanswered -= 1
        if self.draining and not self._unanswered:
            self._drained.set()
