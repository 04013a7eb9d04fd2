"""Admission: from a request's target to the running servable that answers it.

The front ends know this class and no other of the dispatch. Everything here runs on the event loop.

    route = dispatcher.resolve(name, method, version)
    dispatcher.check_room(route)                        # an early look, which may be left out
    outcome = dispatcher.admit(route, blocks)

`admit` does all of admission, whatever was looked at before (ADR 44). A request whose instances take longer to read
than an iteration of the event loop is admitted in two steps, and pending in between (ADR 27):

    with dispatcher.reading(route) as admission:
        blocks = await ...
        outcome = admission.admit(blocks)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
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
from mindspore_serving.server.dispatch.failures import deadline_exceeded, request_spec
from mindspore_serving.server.dispatch.pending_requests import PendingRequests
from mindspore_serving.server.dispatch.request import Request
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.host import settings
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.signature import CALL_PREFIX, MethodSignature


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        servable: A running version with at least one copy.
        method: What it asks for.
        version: The version that it asks for; 0 for the highest one that runs.
        generation: Tells whether anything has changed since it was found.
    """

    servable: RunningServable
    method: MethodSignature
    version: int = 0
    generation: int = 0

    def check_served(self) -> None:
        """Check that the servable still runs the method.

        Raises:
            ServableUnavailable: It does not, and no copy that does is expected.
        """
        if not self.servable.serves(self.method.name):
            raise self.unavailable()

    def unavailable(self) -> ServableUnavailable:
        """The error of a request whose servable is gone."""
        return ServableUnavailable(self.servable.unavailable(self.method.name).text)

    def deadline_exceeded(self, timeout_s: float) -> DeadlineExceeded:
        """The error of a request whose client gave it too little time.

        Args:
            timeout_s: The time, in seconds.
        """
        servable = self.servable
        return deadline_exceeded(servable.name, self.method.name, servable.version, timeout_s)


class Dispatcher:
    """The running servables of this server, and their pending requests.

    Args:
        loop: The event loop on which all methods are called.
        suspect_wait_s: How long an instance whose worker was lost waits for another copy before it runs on the last,
            in seconds; None for what the environment says.

    Attributes:
        draining: Whether new requests are refused, because the server is about to end.
        closing: `draining` or `stopping`; "" while the server takes requests.
        on_change: Called when copies have come or gone, or `closing` has changed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, suspect_wait_s: float | None = None) -> None:
        self.draining = False
        self.closing = ""
        self.on_change: Callable[[], None] = _ignore
        self._loop = loop
        self._servables: dict[str, dict[int, RunningServable]] = {}
        self._settings: dict[tuple[str, int], ServableSettings] = {}
        self._routes: dict[tuple[str, str, int], Route] = {}
        self._generation = 0
        self._pending = PendingRequests(settings.server_limits)
        self._left_instances = 0
        self._left_bytes = 0
        self._suspect_wait_s = settings.suspect_wait_s() if suspect_wait_s is None else suspect_wait_s
        self._drained = asyncio.Event()

    def __repr__(self) -> str:
        draining = " draining," if self.draining else ""
        return f"<Dispatcher{draining} {self._pending.requests} pending, {self._all_servables()}>"

    @property
    def requests(self) -> int:
        """How many requests are pending; may be asked from any thread."""
        return self._pending.requests

    def servable(self, name: str, version: int) -> RunningServable:
        """The entry of a servable version, made at first use."""
        versions = self._servables.setdefault(name, {})
        if version not in versions:
            versions[version] = RunningServable(
                name, version, self._loop, self._copies_changed, self._suspect_wait_s
            )
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

    def methods(self, name: str, version: int) -> tuple[MethodSignature, ...]:
        """What clients may call of a servable version; nothing until its first worker has registered."""
        servable = self._servables.get(name, {}).get(version)
        return () if servable is None else servable.methods

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
            route = self._routes[name, method, version] = self._find_route(name, method, version)
        return route

    def check_room(self, route: Route) -> None:
        """Refuse a request before its instances are read, which costs more than all the rest of a refusal.

        Args:
            route: From `resolve`.

        Raises:
            QueueFull: Too many requests are pending, in the server or of the servable.
        """
        self._pending.check_requests()
        own = route.servable.pending
        if own is not None:
            own.check_requests()

    def admit(
        self, route: Route, blocks: Sequence[Rows], timeout_s: float | None = None
    ) -> asyncio.Future[Reply]:
        """Admit a request, and queue its instances.

        Args:
            route: From `resolve`, at any time before.
            blocks: The instances, at least one; the specs of each block are the inputs of `route.method` in order.
            timeout_s: Seconds after which they are answered with `DeadlineExceeded`, and those that wait are dropped;
                None for no limit.

        Returns:
            A future of the outcome of every instance. Cancelling it abandons the request.

        Raises:
            UnknownTarget: The servable has no such version or method any more.
            ServableUnavailable: It has no worker left, or its method has other inputs now.
            ServerStopping: The server drains, or has stopped.
            QueueFull: Too many requests, instances or bytes are pending, in the server or of the servable.
        """
        if route.generation != self._generation:
            route = self._admissible(route)
        return self._queue(route, blocks, timeout_s, ())

    @contextlib.contextmanager
    def reading(self, route: Route) -> Iterator[Admission]:
        """Admit a request whose instances are yet to be read: it is pending from now on.

        Args:
            route: From `resolve`, at any time before.

        Returns:
            What its instances are given to. At the end of the block a request without is not pending any more.

        Raises:
            UnknownTarget: As `admit`.
            ServableUnavailable: As `admit`.
            ServerStopping: As `admit`.
            QueueFull: Too many requests are pending, in the server or of the servable.
        """
        if route.generation != self._generation:
            route = self._admissible(route)
        self.check_room(route)
        admission = Admission(self, route, self._take_places(route))
        try:
            yield admission
        finally:
            self._give_back(admission.leave_places())

    @contextlib.contextmanager
    def writing(self, route: Route) -> Iterator[None]:
        """Keep an answered request pending while its reply is being written.

        Only for requests of which that takes longer than an iteration of the event loop.

        Args:
            route: Where it went.
        """
        places = self._take_places(route)
        try:
            yield
        finally:
            self._give_back(places)

    def admit_read(
        self, admission: Admission, blocks: Sequence[Rows], timeout_s: float | None
    ) -> asyncio.Future[Reply]:
        """Queue the instances of a request that is admitted already; see `Admission.admit`."""
        route = admission.route
        if route.generation != self._generation:
            route = self._find_again(route)
        places = admission.leave_places()
        for pending in places:
            pending.requests -= 1
        return self._queue(route, blocks, timeout_s, places)

    def _admissible(self, route: Route) -> Route:
        """Find again who answers a request that is new."""
        if self.closing:
            raise ServerStopping()
        return self._find_again(route)

    def _find_again(self, before: Route) -> Route:
        """Find who answers a request, as workers may have come and gone since.

        Raises:
            UnknownTarget: There is no such target any more.
            ServableUnavailable: No worker of it is left, or its method has other inputs now.
        """
        route = self._find_route(before.servable.name, before.method.name, before.version)
        if route.method.input_names != before.method.input_names:
            raise before.unavailable()
        return route

    def _find_route(self, name: str, method: str, version: int) -> Route:
        servable = self._find(name, method, version)
        signature = servable.method(method)
        if signature is None or method.startswith(CALL_PREFIX):
            raise UnknownTarget(f"Request {request_spec(name, method, version)}, method is not available")
        if not servable.serves(method):
            raise ServableUnavailable(servable.unavailable(method).text)
        return Route(servable, signature, version, self._generation)

    def _find(self, name: str, method: str, version: int) -> RunningServable:
        # One that no worker has registered yet is not there: clients are told the same of what is not started.
        known = self._servables.get(name, {}).items()
        versions = {number: servable for number, servable in known if servable.has_registered}
        number = version or max((n for n, servable in versions.items() if servable.copies), default=0)
        found = versions.get(number)
        if found is not None and found.copies:
            return found
        text = f"Request {request_spec(name, method, version)}, servable is not available"
        raise ServableUnavailable(text) if found or (versions and not version) else UnknownTarget(text)

    def _take_places(self, route: Route) -> tuple[PendingRequests, ...]:
        """Count a request as pending before or after its instances are."""
        own = route.servable.pending
        places = (self._pending,) if own is None else (self._pending, own)
        for pending in places:
            pending.requests += 1
        return places

    def _give_back(self, places: Sequence[PendingRequests]) -> None:
        for pending in places:
            pending.requests -= 1
        self._note_end()

    def _queue(
        self,
        route: Route,
        blocks: Sequence[Rows],
        timeout_s: float | None,
        placed: Sequence[PendingRequests],
    ) -> asyncio.Future[Reply]:
        """Count a request, and hand it to its servable.

        Args:
            route: Where it goes.
            blocks: As `admit`.
            timeout_s: As `admit`.
            placed: Where it has had a place until now, so that there is room for it.

        Raises:
            QueueFull: As `admit`.
        """
        servable = route.servable
        future: asyncio.Future[Reply] = self._loop.create_future()
        request = Request(blocks, future)
        everything, own = self._pending, servable.pending
        everything.add(request, placed=everything in placed)
        if own is not None:
            try:
                own.add(request, placed=own in placed)
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
            self._set_deadline(route, request, future, timeout_s)
        servable.enqueue(route.method.name, request)
        return future

    def _set_deadline(
        self, route: Route, request: Request, future: asyncio.Future[Reply], timeout_s: float
    ) -> None:
        """Give a request up after a time, unless it has ended before."""
        timer = self._loop.call_later(
            timeout_s, request.give_up, route.deadline_exceeded(timeout_s).failure()
        )
        future.add_done_callback(lambda _: timer.cancel())

    def _forget(self, request: Request) -> None:
        """Let go of what a request that has ended early has left in the queues.

        Batches leave it out anyhow. But while no copy takes any, what is left would pile up without a limit: so all of
        it is removed as soon as it outweighs what is pending (ADR 21).
        """
        self._left_instances += request.count
        self._left_bytes += request.byte_size
        pending = self._pending
        if self._left_instances > pending.instances or self._left_bytes > pending.byte_size:
            self._left_instances = self._left_bytes = 0
            for servable in self._all_servables():
                servable.drop_ended()

    def forward(
        self, servable: RunningServable, method: str, blocks: Sequence[Rows]
    ) -> asyncio.Future[Reply]:
        """Queue instances of a request that was admitted elsewhere; they count for no limit here.

        Args:
            servable: Who runs them.
            method: Its method, also one that clients cannot reach.
            blocks: The instances, at least one.

        Returns:
            As `admit`.
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
            servable.enqueue(method, request)
        return future

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests from now on, and wait until no request is pending.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether none is.
        """
        self.draining = True
        self._forget_routes()
        self._close("draining")
        for servable in self._all_servables():
            servable.hurry()
        deadline = self._loop.time() + timeout_s
        while self._pending.requests and self._loop.time() < deadline:
            self._drained.clear()
            await wait_for_event(self._drained, deadline - self._loop.time())
        return not self._pending.requests

    def fail_waiting(self) -> None:
        """Answer every request that waits or is under way with an error; used when the server stops."""
        self._close("stopping")
        for servable in self._all_servables():
            servable.fail_waiting()

    def _note_end(self) -> None:
        """A request is no longer pending."""
        if self.draining and not self._pending.requests:
            self._drained.set()

    def _close(self, closing: str) -> None:
        self.closing = closing
        self.on_change()

    def _all_servables(self) -> list[RunningServable]:
        return [servable for versions in self._servables.values() for servable in versions.values()]

    def _copies_changed(self) -> None:
        self._forget_routes()
        self.on_change()

    def _forget_routes(self) -> None:
        """Let every route be found again, by `resolve` as well as by whoever has kept one."""
        self._routes.clear()
        self._generation += 1


class Admission:
    """A request that is admitted, and whose instances are being read; made by `Dispatcher.reading`.

    Args:
        dispatcher: Who has admitted it.
        route: Where it goes.
        places: Where it counts as one request.
    """

    def __init__(self, dispatcher: Dispatcher, route: Route, places: tuple[PendingRequests, ...]) -> None:
        self.route = route
        self._dispatcher = dispatcher
        self._places = places

    def admit(self, blocks: Sequence[Rows], timeout_s: float | None = None) -> asyncio.Future[Reply]:
        """Queue the instances; to be called once, also while the server drains.

        Args:
            blocks: As `Dispatcher.admit`.
            timeout_s: As `Dispatcher.admit`.

        Returns:
            As `Dispatcher.admit`.

        Raises:
            UnknownTarget: The servable has no such version or method any more.
            ServableUnavailable: It has no worker left, or its method has other inputs now.
            QueueFull: Too many instances or bytes are pending, in the server or of the servable.
        """
        return self._dispatcher.admit_read(self, blocks, timeout_s)

    def leave_places(self) -> tuple[PendingRequests, ...]:
        """Where it counts as one request; whoever takes that answers for it."""
        places, self._places = self._places, ()
        return places


def _ignore() -> None:
    return
