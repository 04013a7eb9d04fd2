"""A request on its way through the main process, and the pieces of it that wait for a batch.

The request owns its future: whoever finishes the last of its instances completes it, so no table from ids to futures
exists. A client that goes away marks its request as abandoned; pieces that still wait are dropped when a batch is
taken, and results that still arrive are dropped here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mindspore_serving.errors import Failure, Outcome, StatusCode
from mindspore_serving.rows import FailedRows, Group, Reply, Rows, failures_in
from mindspore_serving.server.dispatch.counting import Relayed
from mindspore_serving.server.dispatch.method_counter import NOBODY, MethodCounter
from mindspore_serving.server.dispatch.traced import RequestTrace

if TYPE_CHECKING:
    from mindspore_serving.server.dispatch.copy import SentBatch

LEAST_URGENT = 8
"""Priorities behind this one are like it; all of them go before requests without one."""
MOST_BATCHES = 64
"""Batches of one request that are remembered; all of them count."""
_GONE = Failure(StatusCode.FAILED, "The client has gone", cause=Outcome.CANCELLED)
LARGEST_PIECE = 1024
"""Instances of one piece: each batch that takes a part of a piece costs a copy of its references to text."""


class CallStep(NamedTuple):
    """A method that waits for another one which it has called."""

    servable: str
    version: int
    method: str


class Completion(Protocol):
    """What a request completes: the future of a client's request, or its part of a call (`method_calls`)."""

    def done(self) -> bool:
        """Whether it is completed, or given up."""

    def cancelled(self) -> bool:
        """Whether it is given up."""

    def set_result(self, reply: Reply, /) -> None:
        """Complete it."""

    def result(self) -> Reply:
        """What it was completed with."""


class CalledPart(Protocol):
    """A call of a method that was made for a request."""

    def abandon(self) -> None:
        """Give it up."""


class LaterBatches:
    """What is known of the batches of a request behind its first one, of which there may be very many.

    Attributes:
        last: The last one that was sent.
        kept: The first of them.
        under_way: Those that have neither been run nor lost.
        input_s: Seconds of those that are not kept, as of `SentBatch`.
        infer_s: Likewise.
        output_s: Likewise.
    """

    __slots__ = ("infer_s", "input_s", "kept", "last", "output_s", "under_way")

    def __init__(self, last: SentBatch) -> None:
        self.last = last
        self.kept: list[SentBatch] = []
        self.under_way: list[SentBatch] = []
        self.input_s = self.infer_s = self.output_s = 0.0

    def add(self, batch: SentBatch) -> None:
        """Take one more."""
        self.last = batch
        if len(self.kept) < MOST_BATCHES - 1:
            self.kept.append(batch)
        else:
            self.settle()
            self.under_way.append(batch)

    def settle(self) -> None:
        """Add up those that are not kept, and are over."""
        for batch in self.under_way:
            if batch.done:
                self.input_s += batch.input_s
                self.infer_s += batch.infer_s
                self.output_s += batch.output_s
        self.under_way = [batch for batch in self.under_way if not batch.done]


class Request:
    """Instances of one client call, and their outcomes as they come in.

    Args:
        groups: The instances in order; neighbours with equal specs form one block. Those that are refused already are
            there as failures.
        future: Completed with the `Reply` once every instance has an outcome; cancelling it abandons the request. What
            a method has called for has its part of the call instead.
        counter: Of its method; None counts for nobody.
        priority: 1 for the most urgent ones, at most `LEAST_URGENT`; 0 for those that come after all of these.

    Attributes:
        groups: As given.
        count: Number of instances.
        byte_size: Bytes of the instances that are to run.
        pending: Instances without an outcome; those that an ended request still has are nobody's any more.
        admitted: When it was queued, in seconds of `time.monotonic`.
        ended_at: When it was answered or given up, likewise; 0 before that.
        began: When all of its client's call had been read, likewise; 0 where nobody says when the reply is complete.
        batch: The first batch that it has a part in; None while all of it waits.
        later: Those behind it; None where there are none.
        counted: Whether the times of its batches are in the histograms.
        waits_for_reply: Whether it has succeeded in one batch, and all of its times count when its reply is complete.
        failed: Whether an instance has failed.
        relayed: Adds up what its batches took, for a server that passes that on; None elsewhere.
        chain: The methods that wait for it, the first one first; none where it is not called by another method.
        calls: What was called for it and has no outcome yet; None where nothing ever was.
        trace: Its part of a trace; None where it is not traced.
    """

    __slots__ = (
        "_future",
        "_outcomes",
        "admitted",
        "batch",
        "began",
        "byte_size",
        "calls",
        "chain",
        "count",
        "counted",
        "counter",
        "ended_at",
        "failed",
        "groups",
        "later",
        "pending",
        "priority",
        "relayed",
        "trace",
        "waits_for_reply",
    )

    def __init__(
        self,
        groups: Sequence[Group],
        future: Completion,
        counter: MethodCounter | None = None,
        priority: int = 0,
    ) -> None:
        self.groups = groups
        self.counter = counter or NOBODY
        self.priority = priority
        self.admitted = self.ended_at = self.began = 0.0
        self.failed = self.counted = self.waits_for_reply = False
        self.batch: SentBatch | None = None
        self.later: LaterBatches | None = None
        self.relayed: Relayed | None = None
        self.chain: tuple[CallStep, ...] = ()
        self.calls: set[CalledPart] | None = None
        self.trace: RequestTrace | None = None
        self._future = future
        self._outcomes: list[tuple[int, Group]] = []
        first = groups[0]
        if len(groups) == 1 and isinstance(first, Rows):  # nearly always
            self.count = self.pending = first.count
            self.byte_size = first.byte_size
            return
        self.count = self.pending = sum([group.count for group in groups])
        self.byte_size = sum([group.byte_size for group in groups if isinstance(group, Rows)])
        for start, group in _with_starts(groups):
            if isinstance(group, FailedRows):
                self.settle(start, group)

    def __repr__(self) -> str:
        state = "ABANDONED" if self._future.cancelled() else f"{self.count - self.pending}/{self.count} done"
        return f"<Request {state}>"

    @property
    def future(self) -> asyncio.Future[Reply]:
        """Of its outcome; not where it was called by another method."""
        assert isinstance(self._future, asyncio.Future)
        return self._future

    @property
    def cancelled(self) -> bool:
        """Whether its client has gone before it was answered."""
        return self._future.cancelled()

    @property
    def failures(self) -> list[FailedRows]:
        """Of a request that has ended, the instances without a result."""
        if not (self.pending or self.failed):
            return []
        return [FailedRows(_GONE, self.count)] if self.cancelled else failures_in(self._future.result())

    @property
    def failed_instances(self) -> int:
        """How many these are."""
        return sum([group.count for group in self.failures])

    @property
    def outcome(self) -> Outcome:
        """Of a request that has ended, what became of it: the first instance without a result says so."""
        failures = self.failures
        return failures[0].failure.outcome if failures else Outcome.OK

    @property
    def batches(self) -> Sequence[SentBatch]:
        """The batches that it has a part in, in order; at most the first `MOST_BATCHES`."""
        if self.batch is None:
            return ()
        return (self.batch,) if self.later is None else (self.batch, *self.later.kept)

    @property
    def last_batch(self) -> SentBatch | None:
        """The last batch that it has a part in; None while all of it waits."""
        return self.batch if self.later is None else self.later.last

    @property
    def under_way(self) -> bool:
        """Whether one of its batches is."""
        if self.later is not None:
            self.later.settle()
            if self.later.under_way:
                return True
        return not all(batch.done for batch in self.batches)

    @property
    def queue_s(self) -> float:
        """Seconds until the first batch was taken; 0 while all of it waits."""
        return 0.0 if self.batch is None else self.batch.taken - self.admitted

    @property
    def input_s(self) -> float:
        """Seconds in all from when its batches had been taken until their first stages began."""
        more = 0.0 if self.later is None else self.later.input_s
        return more + sum([batch.input_s for batch in self.batches])

    @property
    def compute_s(self) -> float:
        """Seconds in all from then until their last stages had ended."""
        more = 0.0 if self.later is None else self.later.infer_s
        return more + sum([batch.infer_s for batch in self.batches])

    @property
    def output_s(self) -> float:
        """Seconds in all from then until their last results had been taken."""
        more = 0.0 if self.later is None else self.later.output_s
        return more + sum([batch.output_s for batch in self.batches])

    def add_batch(self, batch: SentBatch) -> None:
        """Know of a batch behind the first one."""
        if self.later is None:
            self.later = LaterBatches(batch)
        self.later.add(batch)

    @property
    def ended(self) -> bool:
        """Whether the client is answered or gone, so that nothing more needs to be done for it."""
        return self._future.done()

    def give_up(self, failure: Failure) -> None:
        """Answer all instances with a failure, whatever outcomes some have; an ended request stays as it is."""
        if not self._future.done():
            self._future.set_result([FailedRows(failure, self.count)])

    def settle(self, start: int, group: Group) -> None:
        """Take the outcome of the instances from index `start` on."""
        if self._future.done():
            return
        if type(group) is FailedRows:
            self.failed = True
        self.pending -= group.count
        if self.pending == 0 and not self._outcomes:
            self._future.set_result([group])
            return
        self._outcomes.append((start, group))
        if self.pending == 0:
            self._outcomes.sort(key=lambda outcome: outcome[0])
            self._future.set_result([outcome for _, outcome in self._outcomes])


class Piece:
    """Neighbouring instances of one request that wait for a batch together.

    Attributes:
        request: Whose they are.
        start: Index of the first of them in the request.
        rows: The instances.
        byte_size: Bytes of the instances.
        attempts: How many workers were lost while they held these instances.
        arrived: When they came, or became suspects, in seconds of `time.monotonic`.
        reached: Whether a worker has held them, so that they may have been run.
    """

    __slots__ = ("arrived", "attempts", "byte_size", "reached", "request", "rows", "start")

    def __init__(
        self,
        request: Request,
        start: int,
        rows: Rows,
        attempts: int = 0,
        arrived: float = 0.0,
        reached: bool = False,
    ) -> None:
        self.request = request
        self.start = start
        self.rows = rows
        self.byte_size = request.byte_size if rows.count == request.count else rows.byte_size
        self.attempts = attempts
        self.arrived = arrived
        self.reached = reached

    def __repr__(self) -> str:
        return f"<Piece {self.start}:{self.start + self.rows.count} of {self.request!r}>"

    def part(self, start: int, stop: int) -> Piece:
        """Instances start..stop-1 of this piece."""
        rows = self.rows.take(start, stop)
        return Piece(self.request, self.start + start, rows, self.attempts, self.arrived, self.reached)

    def drop(self) -> None:
        """Count what is left out because its request has ended."""
        if not self.reached:
            self.request.counter.dropped += self.rows.count

    def settle(self, group: Group) -> None:
        """Take the outcome of all instances of this piece."""
        self.request.settle(self.start, group)


def pieces_of(request: Request, arrived: float = 0.0) -> list[Piece]:
    """All instances of a new request that are to run, a piece or several per block."""
    groups = request.groups
    first = groups[0]
    if len(groups) == 1 and request.count <= LARGEST_PIECE and isinstance(first, Rows):
        return [Piece(request, 0, first, 0, arrived)]
    pieces = []
    for start, group in _with_starts(groups):
        if isinstance(group, Rows):
            for low in range(0, group.count, LARGEST_PIECE):
                high = min(low + LARGEST_PIECE, group.count)
                pieces.append(Piece(request, start + low, group.take(low, high), 0, arrived))
    return pieces


def _with_starts(groups: Sequence[Group]) -> Iterator[tuple[int, Group]]:
    """Each group, with the index of its first instance."""
    start = 0
    for group in groups:
        yield start, group
        start += group.count
