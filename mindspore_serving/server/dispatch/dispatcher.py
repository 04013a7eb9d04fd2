"""Admission: from a request's target to the running servable that answers it.

The front ends know this class and no other of the dispatch. Everything here runs on the event loop.

    destination = dispatcher.resolve(name, method, version)
    dispatcher.check_room(destination)                  # an early look, which may be left out
    outcome = dispatcher.admit(destination, blocks)

`admit` does all of admission, whatever was looked at before (ADR 44). A request whose instances take longer to read
than an iteration of the event loop is admitted in two steps, and pending in between (ADR 27):

    with dispatcher.reading(destination) as admission:
        blocks = await ...
        outcome = admission.admit(blocks)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mindspore_serving.errors import (
    InvalidInput,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    ServingError,
    UnknownTarget,
)
from mindspore_serving.options import ServableSettings
from mindspore_serving.rows import Group, Reply, Rows
from mindspore_serving.server.dispatch.admission import Admission
from mindspore_serving.server.dispatch.admitted_inputs import with_parameters
from mindspore_serving.server.dispatch.client_call import current_call
from mindspore_serving.server.dispatch.counting import Relayed, count_end, count_refused
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.left_in_queues import LeftInQueues
from mindspore_serving.server.dispatch.method_calls import CallTarget, call_targets, end_calls
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.dispatch.pending_requests import PendingRequests
from mindspore_serving.server.dispatch.request import LEAST_URGENT, Request
from mindspore_serving.server.dispatch.running_servables import RunningServables
from mindspore_serving.server.dispatch.servable import RunningServable
from mindspore_serving.server.dispatch.traced import RequestTrace
from mindspore_serving.server.host import settings
from mindspore_serving.server.host.waiting import wait_for_event
from mindspore_serving.signature import CalledMethod, MethodSignature


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
        refused: Requests that were refused for a method that is not known, as of `ServerStatistics.refused`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, suspect_wait_s: float | None = None) -> None:
        self.draining = False
        self.closing = ""
        self.on_change: Callable[[], None] = _ignore
        self._loop = loop
        wait_s = settings.suspect_wait_s() if suspect_wait_s is None else suspect_wait_s
        self._running = RunningServables(loop, wait_s, self._copies_changed, settings.latency_buckets())
        self.refused: dict[str, int] = {}
        self._pending = PendingRequests(settings.server_limits)
        self._left = LeftInQueues(self._pending, self._running)
        self._drained = asyncio.Event()

    def __repr__(self) -> str:
        draining = " draining," if self.draining else ""
        return f"<Dispatcher{draining} {self._pending.requests} pending, {list(self._running)}>"

    @property
    def requests(self) -> int:
        """How many requests are pending; may be asked from any thread."""
        return self._pending.requests

    @property
    def pending(self) -> PendingRequests:
        """What is pending in the whole server, and its limits."""
        return self._pending

    @property
    def servables(self) -> Iterator[RunningServable]:
        """All servable versions that were ever started."""
        return iter(self._running)

    def running(self, name: str, version: int) -> RunningServable | None:
        """The entry of a servable version, if there is one."""
        return self._running.running(name, version)

    def servable(self, name: str, version: int) -> RunningServable:
        """The entry of a servable version, made at first use."""
        return self._running.servable(name, version)

    def configure(self, settings: ServableSettings) -> None:
        """Take the settings of a servable version, which hold from its first copy on.

        There need be no entry of it before.
        """
        self._running.configure(settings)

    def methods(self, name: str, version: int) -> tuple[MethodSignature, ...]:
        """What clients may call of a servable version; nothing until its first worker has registered."""
        return self._running.methods(name, version)

    def statistics(self, name: str, version: int, method: str) -> MethodStatistics:
        """What has been counted until now of a method that clients may call; zeros where nobody has asked for it.

        What is counted belongs to the version: it outlives the workers. It is read on the event loop.
        """
        return self._running.statistics(name, version, method)

    def resolve(self, name: str, method: str, version: int) -> Destination:
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
        destination = self._running.found.get((name, method, version))
        if destination is None:
            try:
                if self.draining:
                    raise ServerStopping()
                destination = self._running.find_and_keep(name, method, version)
            except ServingError as error:
                self._count_refused(error, None)
                raise
        call = current_call.get()
        if call is not None:
            call.asked = destination
        return destination

    def check_room(self, destination: Destination) -> None:
        """Refuse a request before its instances are read, which costs more than all the rest of a refusal.

        Args:
            destination: From `resolve`.

        Raises:
            QueueFull: Too many requests are pending, in the server or of the servable.
        """
        try:
            self._pending.check_requests()
            own = destination.servable.pending
            if own is not None:
                own.check_requests()
        except QueueFull as error:
            self._count_refused(error, destination)
            raise

    def admit(
        self,
        destination: Destination,
        blocks: Sequence[Rows],
        timeout_s: float | None = None,
        *,
        priority: int = 0,
        parameters: Mapping[str, Any] | None = None,
    ) -> asyncio.Future[Reply]:
        """Admit a request, and queue its instances.

        Args:
            destination: From `resolve`, at any time before.
            blocks: The instances, at least one; the specs of each block are the inputs of the method in order.
            timeout_s: Seconds after which they are answered with `DeadlineExceeded`, and those that wait are dropped;
                None for no limit.
            priority: 1 for the most urgent ones, 2 for those that come after them, and so on; 0 for the default, which
                is behind all of these. Those from `LEAST_URGENT` on are alike. See `queue_policy`.
            parameters: Of the request, for a method whose stages ask for them: a JSON document.

        Returns:
            A future of the outcome of every instance. Cancelling it abandons the request.

        Raises:
            UnknownTarget: The servable has no such version or method any more.
            ServableUnavailable: It has no worker left, or its method has other inputs now.
            ServerStopping: The server drains, or has stopped.
            QueueFull: Too many requests, instances or bytes are pending, in the server or of the servable.
            InvalidInput: The parameters are too large. Instances that are not what the method declares do not raise:
                they have this error as their outcome.
        """
        try:
            if destination.generation != self._running.generation:
                destination = self._admissible(destination)
            return self._queue(destination, blocks, timeout_s, (), priority, parameters)
        except ServingError as error:
            self._count_refused(error, destination)
            raise

    @contextlib.contextmanager
    def reading(self, destination: Destination) -> Iterator[Admission]:
        """Admit a request whose instances are yet to be read: it is pending from now on.

        Args:
            destination: From `resolve`, at any time before.

        Returns:
            What its instances are given to. At the end of the block a request without is not pending any more.

        Raises:
            UnknownTarget: As `admit`.
            ServableUnavailable: As `admit`.
            ServerStopping: As `admit`.
            QueueFull: Too many requests are pending, in the server or of the servable.
        """
        if destination.generation != self._running.generation:
            try:
                destination = self._admissible(destination)
            except ServingError as error:
                self._count_refused(error, destination)
                raise
        self.check_room(destination)
        admission = Admission(self, destination, self._take_places(destination))
        try:
            yield admission
        finally:
            self._give_back(admission.leave_places())

    @contextlib.contextmanager
    def writing(self, destination: Destination) -> Iterator[None]:
        """Keep an answered request pending while its reply is being written.

        Only for requests of which that takes longer than an iteration of the event loop.

        Args:
            destination: Where it went.
        """
        places = self._take_places(destination)
        try:
            yield
        finally:
            self._give_back(places)

    def admit_read(
        self,
        admission: Admission,
        blocks: Sequence[Rows],
        timeout_s: float | None,
        priority: int,
        parameters: Mapping[str, Any] | None,
    ) -> asyncio.Future[Reply]:
        """Queue the instances of a request that is admitted already; see `Admission.admit`."""
        destination = admission.destination
        try:
            if destination.generation != self._running.generation:
                destination = self._running.find_again(destination)
            places = admission.leave_places()
            for pending in places:
                pending.requests -= 1
            return self._queue(destination, blocks, timeout_s, places, priority, parameters)
        except ServingError as error:
            self._count_refused(error, destination)
            raise

    def _count_refused(self, error: ServingError, destination: Destination | None) -> None:
        """Count a request that is not admitted, for its method where that is known."""
        why = next((why for kind, why in _REASONS.items() if isinstance(error, kind)), "invalid")
        if isinstance(error, QueueFull):
            why = error.limit
        refused = self.refused
        if destination is not None:
            refused = destination.servable.counters[destination.method.name].refused
        count_refused(refused, why)
        call = current_call.get()
        if call is not None:
            call.asked = None

    def _admissible(self, destination: Destination) -> Destination:
        """Find again who answers a request that is new."""
        if self.closing:
            raise ServerStopping()
        return self._running.find_again(destination)

    def _take_places(self, destination: Destination) -> tuple[PendingRequests, ...]:
        """Count a request as pending before or after its instances are."""
        own = destination.servable.pending
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
        destination: Destination,
        blocks: Sequence[Rows],
        timeout_s: float | None,
        placed: Sequence[PendingRequests],
        priority: int,
        parameters: Mapping[str, Any] | None,
    ) -> asyncio.Future[Reply]:
        """Count a request, and hand it to its servable.

        Args:
            destination: Where it goes.
            blocks: As `admit`.
            timeout_s: As `admit`.
            placed: Where it has had a place until now, so that there is room for it.
            priority: As `admit`.
            parameters: As `admit`.

        Raises:
            QueueFull: As `admit`.
            InvalidInput: As `admit`.
        """
        servable = destination.servable
        method = destination.method
        if method.takes_parameters:
            blocks = with_parameters(blocks, parameters)
        groups: Sequence[Group] = blocks
        if destination.check is not None:
            groups = destination.check.checked(blocks)
        future: asyncio.Future[Reply] = self._loop.create_future()
        if priority:
            priority = min(max(priority, 0), LEAST_URGENT)
        request = Request(groups, future, servable.counters[method.name], priority)
        if groups is not blocks and future.done():  # all of its instances are refused
            self._count_refused(InvalidInput(), destination)
            return future
        everything, own = self._pending, servable.pending
        everything.add(request, placed=everything in placed)
        if own is not None:
            try:
                own.add(request, placed=own in placed)
            except QueueFull:
                everything.remove(request)
                raise

        def ended(done: asyncio.Future[Reply]) -> None:
            count_end(request, time.monotonic())
            everything.remove(request)
            if own is not None:
                own.remove(request)
            if request.pending:
                self._left.add(request)
            end_calls(request)
            request.groups = ()  # its call knows it until it is answered
            if self.draining:
                self._note_end()

        future.add_done_callback(ended)
        call = current_call.get()
        if call is not None:
            request.began = call.began
            call.add(request, destination)
        if timeout_s is not None:
            self._set_deadline(destination, request, future, timeout_s)
        servable.enqueue(method.name, request)
        return future

    def _set_deadline(
        self, destination: Destination, request: Request, future: asyncio.Future[Reply], timeout_s: float
    ) -> None:
        """Give a request up after a time, unless it has ended before."""
        timer = self._loop.call_later(
            timeout_s, request.give_up, destination.deadline_exceeded(timeout_s).failure()
        )
        future.add_done_callback(lambda _: timer.cancel())

    def relay(
        self,
        servable: RunningServable,
        method: str,
        blocks: Sequence[Rows],
        *,
        trace: RequestTrace | None = None,
    ) -> Request:
        """Queue instances of a request that was admitted elsewhere; they count for no limit here.

        Args:
            servable: Who runs them.
            method: Its method, also one that clients cannot reach.
            blocks: The instances, at least one.
            trace: Their part of a trace; None where they are not traced.

        Returns:
            A request that knows in `relayed` what its batches took when its future is done. Cancelling that
            abandons it.
        """
        relayed = Relayed()
        future: asyncio.Future[Reply] = self._loop.create_future()
        if servable.method(method) is None or not servable.serves(method):
            request = Request(blocks, future)
            request.relayed = relayed
            request.give_up(servable.unavailable(method))
            return request
        request = Request(blocks, future, servable.counters[method])
        request.relayed = relayed
        request.trace = trace

        def ended(done: asyncio.Future[Reply]) -> None:
            count_end(request, time.monotonic())
            if request.pending:
                self._left.add(request)
            end_calls(request)

        future.add_done_callback(ended)
        servable.enqueue(method, request)
        return request

    def call_targets(self, caller: RunningServable, calls: Sequence[CalledMethod]) -> Sequence[CallTarget]:
        """What a worker calls, by its index in what it has registered.

        Args:
            caller: The servable of the worker.
            calls: As it has registered them.
        """
        return call_targets(caller, calls, self._running, self._left.add)

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests from now on, and wait until no request is pending.

        Args:
            timeout_s: How long to wait at most.

        Returns:
            Whether none is.
        """
        self.draining = True
        self._running.forget_found()
        self._close("draining")
        for servable in self._running:
            servable.hurry()
        deadline = self._loop.time() + timeout_s
        while self._pending.requests and self._loop.time() < deadline:
            self._drained.clear()
            await wait_for_event(self._drained, deadline - self._loop.time())
        return not self._pending.requests

    def fail_waiting(self) -> None:
        """Answer every request that waits or is under way with an error; used when the server stops."""
        self._close("stopping")
        for servable in self._running:
            servable.fail_waiting()

    def _note_end(self) -> None:
        """A request is no longer pending."""
        if self.draining and not self._pending.requests:
            self._drained.set()

    def _close(self, closing: str) -> None:
        self.closing = closing
        self.on_change()

    def _copies_changed(self) -> None:
        self.on_change()


_REASONS: dict[type[ServingError], str] = {
    UnknownTarget: "unknown_target",
    ServerStopping: "stopping",
    ServableUnavailable: "unavailable",
}
"""What refused a request, as of `ServerStatistics.refused`; the first that fits counts."""


def _ignore() -> None:
    return
