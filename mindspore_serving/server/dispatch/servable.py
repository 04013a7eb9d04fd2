"""One running version of a servable: its methods, its copies as they come and go, and what becomes of their instances.

Everything here runs on the event loop and nowhere else. `pump` sends what waits to the copies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from mindspore_serving import log
from mindspore_serving.errors import ChannelError, Failure, Outcome, StatusCode
from mindspore_serving.options import Limits, ServableSettings
from mindspore_serving.server.channel.call_page import WrittenCall
from mindspore_serving.server.dispatch.copy import SentBatch, ServableCopy
from mindspore_serving.server.dispatch.failures import fail_all, unavailable, workers_lost
from mindspore_serving.server.dispatch.method_counter import MethodCounter
from mindspore_serving.server.dispatch.pending_requests import PendingRequests
from mindspore_serving.server.dispatch.pump import Pump
from mindspore_serving.server.dispatch.queue_policy import MethodQueue, work_waits
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.server.host.settings import DEFAULT_LATENCY_BUCKETS, DEFAULT_SUSPECT_WAIT_S
from mindspore_serving.signature import CALL_PREFIX, MethodSignature

MAX_ATTEMPTS = 2
"""Workers that may be lost with an instance before it is given up (ADR 7)."""


class RunningServable:
    """Dispatches the instances of one (servable, version).

    Args:
        name: Servable name.
        version: Version that runs.
        loop: The event loop on which all methods are called.
        on_answers_changed: Called when the answer of `method` or `serves`, or `copies`, may have changed.
        suspect_wait_s: How long an instance whose worker was lost waits for another copy before it runs on the last.
        latency_buckets: Bounds of the buckets in which times are counted, in seconds.

    Attributes:
        delay_s: How long a batch that is not full may wait for more.
        pending: Its pending requests; None where no limits but those of the server hold.
        copies: Those that are ready.
        counters: What counts each method that a worker has registered at some time; they outlive the workers.
        has_registered: Whether there has ever been one.
        called: What each of its methods has called, as long as workers with these methods run: a servable and a method.
        on_copies_changed: Called when `copies` has changed.
    """

    def __init__(
        self,
        name: str,
        version: int,
        loop: asyncio.AbstractEventLoop,
        on_answers_changed: Callable[[], None],
        suspect_wait_s: float = DEFAULT_SUSPECT_WAIT_S,
        latency_buckets: tuple[float, ...] = DEFAULT_LATENCY_BUCKETS,
    ) -> None:
        self.name = name
        self.version = version
        self.delay_s = 0.0
        self.pending: PendingRequests | None = None
        self.copies: list[ServableCopy] = []
        self.counters: dict[str, MethodCounter] = {}
        self.has_registered = False
        self.called: dict[str, set[tuple[RunningServable, str]]] = {}
        self.on_copies_changed: Callable[[], None] = _ignore
        self._latency_buckets = latency_buckets
        self._expected: dict[str, frozenset[str]] = {}
        self._on_answers_changed = on_answers_changed
        self._queues: dict[str, MethodQueue] = {}
        self._queue_list: list[MethodQueue] = []
        self._completed: dict[str, MethodSignature] = {}
        self._withdrawn: set[str] = set()
        self._pump = Pump(self._queue_list, self.copies, self._expected, loop, suspect_wait_s)

    def __repr__(self) -> str:
        return f"<RunningServable {self.name}:{self.version} {self.copies} {self._queue_list}>"

    def configure(self, settings: ServableSettings) -> None:
        """Take the settings that concern dispatch; to be called before the first copy is added."""
        self.set_delay(settings.max_batch_delay_ms / 1000)
        self.set_limits(
            Limits(
                requests=settings.max_enqueued_requests,
                instances=settings.max_enqueued_instances,
                byte_size=settings.max_enqueued_bytes,
            )
        )

    def set_limits(self, limits: Limits) -> None:
        """Limit what may be pending, beside the server's limits; to be called before the first copy is added."""
        if self.pending is not None:
            self.pending.limits = limits
        elif limits != Limits():
            self.pending = PendingRequests(limits, f", servable: {self.name}")

    def set_delay(self, delay_s: float) -> None:
        """Let batches that are not full wait for more; to be called before the first copy is added.

        Args:
            delay_s: How long, in seconds.
        """
        self.delay_s = delay_s
        self._pump.delays = delay_s > 0

    # ---- methods

    def method(self, name: str) -> MethodSignature | None:
        """The method of that name, if any worker registered it, and it was not withdrawn."""
        registered = self.registered(name)
        return None if registered is None else self._completed.get(name, registered)

    def registered(self, name: str) -> MethodSignature | None:
        """Likewise, with what workers know of it; `complete` may know more."""
        queue = self._queues.get(name)
        return queue.signature if queue and name not in self._withdrawn else None

    def complete(self, signature: MethodSignature) -> None:
        """Know more of the types of a method than its workers do, until one registers it again."""
        name = signature.name
        known = self.method(name)
        if known is not None and known != signature:
            self._completed[name] = signature
            self._on_answers_changed()

    @property
    def methods(self) -> tuple[MethodSignature, ...]:
        """What clients may call."""
        signatures = (self._completed.get(name) or queue.signature for name, queue in self._queues.items())
        hidden = self._withdrawn
        return tuple(
            one for one in signatures if not one.name.startswith(CALL_PREFIX) and one.name not in hidden
        )

    def withdraw_unserved(self) -> None:
        """Forget methods that nobody serves: those that are gone after a reload. One that comes back is there again."""
        self._withdrawn = {name for name in self._queues if not self.serves(name)}

    @property
    def all_models(self) -> bool:
        """Whether every method that clients may call consists of models only."""
        return all(method.only_models for method in self.methods)

    def serves(self, method: str) -> bool:
        """Whether a copy runs the method, or one that is awaited may."""
        awaited = any(method in methods for methods in self._expected.values())
        return awaited or any(copy.offers(method) for copy in self.copies)

    def unavailable(self, method: str, *, reached: bool = False) -> Failure:
        """What instances get where `serves` is false.

        Args:
            method: What was asked for.
            reached: Whether a worker has held the instances.
        """
        return unavailable(self.name, method, self.version, reached=reached)

    def conflict(self, methods: Iterable[MethodSignature]) -> str:
        """Why a worker with these methods cannot serve beside the copies that are ready; empty if it can."""
        for method in methods:
            queue = self._queues.get(method.name)
            if queue is None or not any(copy.offers(method.name) for copy in self.copies):
                continue
            known = queue.signature
            if known.waits != method.waits or not _same_inputs(known, method):
                return (
                    f"{_described(method)} of servable {self.name} version {self.version} is at other workers "
                    f"{_described(known)}"
                )
        return ""

    def _learn(self, signature: MethodSignature) -> None:
        """Take over a method as a worker registers it. There are four cases."""
        self._completed.pop(signature.name, None)
        self._withdrawn.discard(signature.name)
        queue = self._queues.get(signature.name)
        if queue is None:  # nobody has registered it before
            queue = self._queues[signature.name] = MethodQueue(signature, self.delay_s)
            self._queue_list.append(queue)
            self.counters[signature.name] = MethodCounter(
                self.name, self.version, signature.name, self._latency_buckets
            )
        elif not any(
            copy.offers(signature.name) for copy in self.copies
        ):  # nobody runs it: it may be another one
            if not _same_inputs(queue.signature, signature):  # what waits was meant for the earlier one
                self._fail(queue.clear(), signature.name)
            queue.signature = signature
        elif _outputs_known(signature) > _outputs_known(
            queue.signature
        ):  # it is the same, and has run examples
            queue.signature = signature
        # Else others run it, and it is the same: there is no `conflict`.

    # ---- instances

    def enqueue(self, method: str, request: Request) -> None:
        """Queue all instances of a request that was admitted.

        Batches are formed at the end of this iteration of the event loop or later, see `pump`.
        """
        now = request.admitted = time.monotonic()
        counter = request.counter
        counter.admitted += 1
        counter.admitted_instances += request.count
        self._queues[method].put(pieces_of(request, now))
        self._pump.schedule(now)

    @property
    def waiting_instances(self) -> int:
        """Instances that no worker has, those included whose worker was lost."""
        return sum([queue.waiting + len(queue.suspects) for queue in self._queue_list])

    def drop_ended(self) -> None:
        """Remove what ended requests have left in the queues."""
        for queue in self._queue_list:
            queue.drop_ended()

    def hurry(self) -> None:
        """Let no batch wait for more instances from now on: hardly any come."""
        self.set_delay(0.0)
        for queue in self._queue_list:
            queue.delay_s = 0.0
        self._pump.schedule()

    def fail_waiting(self) -> None:
        """Take all copies out; nothing that waits or that they have under way gets a result any more."""
        copies = self.copies[:]
        self.copies.clear()
        self._expected.clear()
        self._on_answers_changed()
        self.on_copies_changed()
        for copy in copies:
            for method, pieces in copy.lose(blame=False).items():
                self._fail(pieces, method)
        for queue in self._queue_list:
            self._fail(queue.clear(), queue.signature.name)

    def _fail(self, pieces: Sequence[Piece], method: str) -> None:
        """Answer instances which nobody will run."""
        for reached in (False, True):
            fail_all(
                [piece for piece in pieces if piece.reached == reached],
                self.unavailable(method, reached=reached),
            )

    # ---- copies

    def add_copy(self, copy: ServableCopy) -> None:
        """Let a ready copy take work; from now on whoever has its connection gives results to `copy.take_result`.

        Args:
            copy: The copy; it may be one that `remove_copy` was told to expect.

        Raises:
            ChannelError: There is a `conflict`.
        """
        conflict = self.conflict(copy.methods.values())
        if conflict:
            raise ChannelError(conflict)
        self._expected.pop(copy.label, None)
        if not self.copies:  # its methods may be others, and nothing of them is under way
            self.called.clear()
        for signature in copy.methods.values():
            self._learn(signature)
        copy.on_done = self._batch_done
        self.copies.append(copy)
        self.has_registered = True
        self.on_copies_changed()
        self._go_on()

    def _batch_done(self, batch: SentBatch) -> None:
        """Use the slot that has become free."""
        self._queues[batch.method.name].learn(batch.count, batch.done - batch.sent)
        if work_waits(self._queue_list):
            self._pump.schedule()

    def remove_copy(
        self,
        copy: ServableCopy,
        *,
        returns: bool = False,
        left: bool = False,
        overdue: WrittenCall | None = None,
    ) -> None:
        """Take a copy out; its instances without an outcome go to other copies, or are answered here.

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
            self._spare_innocent(copy, overdue)
        for method, pieces in copy.lose(blame=not left).items():
            self._retry(copy, method, pieces)
        self._go_on()

    def _spare_innocent(self, copy: ServableCopy, overdue: WrittenCall) -> None:
        """Of a copy that is ended over a call, queue at the head what the call was not for (ADR 20)."""
        failure = Failure(StatusCode.SYSTEM_ERROR, overdue.text, cause=Outcome.STAGE_FAILED)
        innocent = copy.part_with(overdue.rows, failure)
        for method, pieces in innocent.items():
            self._queues[method].put_back(pieces)
        count = sum(piece.rows.count for pieces in innocent.values() for piece in pieces)
        log.warning("%s other instances of %s wait for another copy", count, copy.label)

    def _retry(self, copy: ServableCopy, method: str, pieces: Sequence[Piece]) -> None:
        """Try single instances of a lost copy again, each of which may have ended it (ADR 7). There are three cases."""
        retried = []
        for piece in pieces:
            if piece.attempts < MAX_ATTEMPTS:
                retried.append(piece)
            else:  # it was there too often to be innocent
                failure = workers_lost(self.name, method, self.version, piece.attempts)
                log.error("%s", failure.text)
                fail_all([piece], failure)
        log.warning("%s was lost; %s of its instances wait for another copy", copy.label, len(retried))
        queue = self._queues[method]
        if queue.signature.waits:  # alone on a copy it would keep out what it waits for
            queue.put(retried)
        else:  # they run alone, so that the one which ends workers takes nobody with it
            queue.put_suspects(retried, time.monotonic())

    def give_up_copy(self, label: str) -> None:
        """Learn that a copy which was expected cannot be started again."""
        self._expected.pop(label, None)
        self._go_on()

    def _go_on(self) -> None:
        """Use the copies that are left; answer what waits for a method that none runs now or will run."""
        self._on_answers_changed()
        for queue in self._queue_list:
            if not self.serves(queue.signature.name):
                self._fail(queue.clear(), queue.signature.name)
        self._pump.schedule()


def _same_inputs(one: MethodSignature, other: MethodSignature) -> bool:
    """Whether what is queued for one method can be run by the other."""
    return one.input_names == other.input_names and one.takes_parameters == other.takes_parameters


def _outputs_known(method: MethodSignature) -> int:
    """Of how many outputs the type is known: a worker that runs no examples knows fewer."""
    return sum(one.is_known for one in method.outputs)


def _described(method: MethodSignature) -> str:
    kind = "pipeline" if method.is_pipeline else "method"
    if method.waits and kind == "method":
        kind = "calling method"
    parameters = " and parameters" if method.takes_parameters else ""
    return f"{kind} {method.name} with inputs {list(method.input_names)}{parameters}"


def _ignore() -> None:
    return
