"""One running version of a servable: its methods, its copies, and the pump that moves instances from one to the other.

Everything here runs on the event loop and nowhere else.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence

from mindspore_serving import log
from mindspore_serving.errors import (
    ChannelError,
    Failure,
    Interrupted,
    ServableUnavailable,
    StatusCode,
    SystemFailure,
    excerpt,
)
from mindspore_serving.options import Limits, ServableSettings
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.channel.call_page import WrittenCall
from mindspore_serving.server.channel.messages import Result
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.gathering import Gathering
from mindspore_serving.server.dispatch.queue_policy import Assignment, MethodQueue, next_batch
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.server.dispatch.unanswered import Unanswered
from mindspore_serving.server.host.settings import DEFAULT_SUSPECT_WAIT_S
from mindspore_serving.signature import CALL_PREFIX, MethodSignature

MAX_ATTEMPTS = 2
"""Workers that may be lost with an instance before it is given up."""
MAY_HAVE_RUN = ": a worker had this instance, which may have been run"
"""What is added where a text alone would say that nothing was done."""
_ALARM_TICK_S = 1e-3
"""How exact timers of the event loop are."""


def request_spec(name: str, method: str, version: int) -> str:
    """How a request's target reads in error texts."""
    spec = f"servable({excerpt(name)}) method({excerpt(method)}) "
    return f"{spec} version({version}) " if version else spec


class RunningServable:
    """Dispatches the instances of one (servable, version).

    Args:
        name: Servable name.
        version: Version that runs.
        loop: The event loop on which all methods are called.
        forget_routes: Called when the answer of `method` or `serves`, or `copies`, may have changed.

    Attributes:
        delay_s: How long a batch that is not full may wait for more; to be set before the first copy is added.
        suspect_wait_s: How long an instance whose worker was lost waits for another copy before it runs on the last.
        unanswered: What clients are owed an answer to; None where no limits but those of the server hold.
        copies: Those that are ready.
        on_copies_changed: Called when `copies` has changed.
    """

    def __init__(
        self,
        name: str,
        version: int,
        loop: asyncio.AbstractEventLoop,
        forget_routes: Callable[[], None],
    ) -> None:
        self.name = name
        self.version = version
        self.delay_s = 0.0
        self.suspect_wait_s = DEFAULT_SUSPECT_WAIT_S
        self.unanswered: Unanswered | None = None
        self.copies: list[ServableCopy] = []
        self.on_copies_changed: Callable[[], None] = _ignore
        self._expected: dict[str, frozenset[str]] = {}
        self._loop = loop
        self._forget_routes = forget_routes
        self._queues: dict[str, MethodQueue] = {}
        self._queue_list: list[MethodQueue] = []
        self._turn = 0
        self._batches = 0
        self._pump_scheduled = False
        self._gathering = Gathering()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    def __repr__(self) -> str:
        return f"<RunningServable {self.name}:{self.version} {self.copies} {self._queue_list}>"

    def configure(self, settings: ServableSettings) -> None:
        """Take the settings that concern dispatch; to be called before the first copy is added."""
        self.delay_s = settings.max_batch_delay_ms / 1000
        self.limit(
            Limits(
                requests=settings.max_enqueued_requests,
                instances=settings.max_enqueued_instances,
                byte_size=settings.max_enqueued_bytes,
            )
        )

    def limit(self, limits: Limits) -> None:
        """Limit what may be unanswered, beside the server's limits; to be called before the first copy is added."""
        if self.unanswered is not None:
            self.unanswered.limits = limits
        elif limits != Limits():
            self.unanswered = Unanswered(limits, f", servable: {self.name}")

    def method(self, name: str) -> MethodSignature | None:
        """The method of that name, if any worker registered it."""
        queue = self._queues.get(name)
        return queue.signature if queue else None

    @property
    def methods(self) -> tuple[MethodSignature, ...]:
        """What clients may call."""
        signatures = (queue.signature for queue in self._queue_list)
        return tuple(method for method in signatures if not method.name.startswith(CALL_PREFIX))

    @property
    def all_models(self) -> bool:
        """Whether every method that clients may call consists of models only."""
        return all(method.only_models for method in self.methods)

    def serves(self, method: str) -> bool:
        """Whether a copy runs the method, or one that is awaited may."""
        awaited = any(method in methods for methods in self._expected.values())
        return awaited or any(copy.offers(method) for copy in self.copies)

    def conflict(self, methods: Iterable[MethodSignature]) -> str:
        """Why a worker with these methods cannot serve beside the copies that are ready; empty if it can."""
        for method in methods:
            queue = self._queues.get(method.name)
            if queue is None or not any(copy.offers(method.name) for copy in self.copies):
                continue
            known = queue.signature
            if (known.input_names, known.waits) != (method.input_names, method.waits):
                return (
                    f"{_described(method)} of servable {self.name} version {self.version} is at other workers "
                    f"{_described(known)}"
                )
        return ""

    def unavailable(self, method: str, *, reached: bool = False) -> Failure:
        """What is answered where `serves` is false.

        Args:
            method: What was asked for.
            reached: Whether a worker has held the instances. Those of a model that another worker calls are part of
                instances that this one holds.
        """
        calls_model = method.startswith(CALL_PREFIX)
        if calls_model:
            text = "There are no available inference processes that occupy devices"
        else:
            text = f"Request {request_spec(self.name, method, self.version)}, servable is not available"
        return (
            Interrupted(text + MAY_HAVE_RUN).failure()
            if reached or calls_model
            else ServableUnavailable(text).failure()
        )

    def _fail(self, pieces: Sequence[Piece], method: str) -> None:
        """Answer instances which nobody will run."""
        failures = [self.unavailable(method), self.unavailable(method, reached=True)]
        for piece in pieces:
            piece.settle(FailedRows(failures[piece.reached], piece.rows.count))

    def add_copy(self, copy: ServableCopy) -> None:
        """Let a ready copy take work.

        Args:
            copy: The copy; it may be one that `remove_copy` was told to expect.

        Raises:
            ChannelError: There is a `conflict`.
        """
        conflict = self.conflict(copy.methods.values())
        if conflict:
            raise ChannelError(conflict)
        self._expected.pop(copy.label, None)
        for signature in copy.methods.values():
            self._learn(signature)
        self.copies.append(copy)
        self.on_copies_changed()
        self._go_on()

    def _learn(self, signature: MethodSignature) -> None:
        queue = self._queues.get(signature.name)
        if queue is None:
            queue = self._queues[signature.name] = MethodQueue(signature, self.delay_s)
            self._queue_list.append(queue)
        elif not any(copy.offers(signature.name) for copy in self.copies):
            if (
                queue.signature.input_names != signature.input_names
            ):  # what waits was meant for another method
                self._fail(queue.clear(), signature.name)
            queue.signature = signature

    def submit(self, method: str, request: Request) -> None:
        """Queue all instances of a request.

        Batches are formed at the end of this turn of the event loop or later (`gathering`), so that requests which
        arrive together travel together.
        """
        self._queues[method].put(pieces_of(request, time.monotonic()))
        self._schedule_pump()

    def drop_ended(self) -> None:
        """Remove what ended requests have left in the queues."""
        for queue in self._queue_list:
            queue.drop_ended()

    def take_result(self, copy: ServableCopy, result: Result) -> None:
        """Hand results to their requests, and use the slot that became free.

        Raises:
            ChannelError: The worker broke the protocol.
        """
        flight = copy.take(result)
        if flight is None:
            return
        self._queues[flight.method].learn(flight.count, time.monotonic() - flight.sent)
        if any(queue.has_work for queue in self._queue_list):
            self._schedule_pump()

    def remove_copy(
        self,
        copy: ServableCopy,
        *,
        returns: bool = False,
        left: bool = False,
        overdue: WrittenCall | None = None,
    ) -> None:
        """Take a copy out; what it had not answered goes to other copies, or is answered here.

        Args:
            copy: The copy.
            returns: Whether it is being started again; what waits may wait for it.
            left: Whether it ends on purpose. Instances are to blame for that only if they ran alone.
            overdue: The call that takes too long, if that is why: only its instances are to blame then, and a single
                one is given up.
        """
        if copy not in self.copies:
            return
        self.copies.remove(copy)
        self.on_copies_changed()
        if returns:
            self._expected[copy.label] = frozenset(copy.methods)
        if overdue is not None:
            failure = Failure(StatusCode.SYSTEM_ERROR, overdue.text)
            innocent = copy.part_with(overdue.rows, failure)
            for method, pieces in innocent.items():
                self._queues[method].put_back(pieces)
            count = sum(piece.rows.count for pieces in innocent.values() for piece in pieces)
            log.warning("%s other instances of %s wait for another copy", count, copy.label)
        for method, pieces in copy.lose(blame=not left).items():
            retried = [piece for piece in pieces if piece.attempts < MAX_ATTEMPTS]
            for piece in pieces:
                if piece.attempts >= MAX_ATTEMPTS:
                    self._give_up(method, piece)
            log.warning("%s was lost; %s of its instances wait for another copy", copy.label, len(retried))
            queue = self._queues[method]
            if queue.signature.waits:  # alone on a copy it would keep out what it waits for
                queue.put(retried)
            else:
                queue.put_suspects(retried, time.monotonic())
        self._go_on()

    def give_up_copy(self, label: str) -> None:
        """Learn that a copy which was expected cannot be started again."""
        self._expected.pop(label, None)
        self._go_on()

    def _go_on(self) -> None:
        """Use the copies that are left; answer what waits for a method that none runs now or will run."""
        self._forget_routes()
        for queue in self._queue_list:
            if not self.serves(queue.signature.name):
                self._fail(queue.clear(), queue.signature.name)
        self._schedule_pump()

    def hurry(self) -> None:
        """Let no batch wait for more instances from now on: hardly any come."""
        self.delay_s = 0.0
        for queue in self._queue_list:
            queue.delay_s = 0.0
        self._schedule_pump()

    def fail_waiting(self) -> None:
        """Take all copies out; nothing that waits or that they have under way gets a result any more."""
        copies = self.copies[:]
        self.copies.clear()
        self._expected.clear()
        self._forget_routes()
        self.on_copies_changed()
        for copy in copies:
            for method, pieces in copy.lose(blame=False).items():
                self._fail(pieces, method)
        for queue in self._queue_list:
            self._fail(queue.clear(), queue.signature.name)

    def _give_up(self, method: str, piece: Piece) -> None:
        spec = request_spec(self.name, method, self.version)
        text = f"Request {spec}, {piece.attempts} workers were lost while they served this instance"
        log.error("%s", text)
        _fail_all([piece], SystemFailure(text).failure())

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._gathering.open(time.monotonic())
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        now = time.monotonic()
        if self._gathering.holds(now) and self._has_room():
            self._loop.call_soon(self._pump)
            return
        self._pump_scheduled = False
        requests = 0
        while True:
            expected = list(self._expected.values())
            assignment, self._turn = next_batch(
                self._queue_list, self._turn, self.copies, expected, now, self.suspect_wait_s
            )
            if assignment is None:
                break
            requests += len(assignment.pieces)
            self._send(assignment)
        self._gathering.close(requests)
        if self.delay_s or expected:
            self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        """Look again when a batch that waits for more is due, or a suspect that waits for another copy."""
        due = [queue.due for queue in self._queue_list if queue.due > now]
        suspects = [queue.suspects[0] for queue in self._queue_list if queue.suspects]
        due += [suspect.arrived + self.suspect_wait_s for suspect in suspects]
        first = min([when for when in due if when > now], default=math.inf)
        if first < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_later(max(_ALARM_TICK_S, first - now), self._ring)
            self._alarm_at = first

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        self._schedule_pump()

    def _has_room(self) -> bool:
        """Whether batches that are not full yet could be sent."""
        return any(
            queue.pieces
            and queue.waiting < queue.limit
            and any(copy.free_slots(queue.signature) for copy in self.copies)
            for queue in self._queue_list
        )

    def _send(self, assignment: Assignment) -> None:
        self._batches += 1
        copy = self.copies[assignment.copy_index]
        try:
            copy.send(assignment.queue.signature.name, assignment.pieces, self._batches, assignment.exclusive)
        except OSError as cause:
            log.error("Cannot pass instances to %s: %s", copy.label, cause)
            for piece in assignment.pieces:
                _fail_all([piece], _no_memory(cause, piece.reached))
        except Exception as cause:  # whatever it is: what was taken from the queue must be answered
            log.error("Cannot pass instances to %s", copy.label, exc_info=True)
            _fail_all(
                assignment.pieces, SystemFailure(f"The instances cannot be passed on: {cause!r}").failure()
            )


def _described(method: MethodSignature) -> str:
    kind = "pipeline" if method.waits else "method"
    return f"{kind} {method.name} with inputs {list(method.input_names)}"


def _no_memory(cause: OSError, reached: bool) -> Failure:
    text = f"No memory for the instances of this request: {cause}"
    return (
        Failure(StatusCode.FAILED, text + MAY_HAVE_RUN) if reached else Failure(StatusCode.FAILED, text, 503)
    )


def _ignore() -> None:
    return


def _fail_all(pieces: Sequence[Piece], failure: Failure) -> None:
    for piece in pieces:
        piece.settle(FailedRows(failure, piece.rows.count))
