"""A request on its way through the main process, and the pieces of it that wait for a batch.

The request owns its future: whoever finishes the last of its instances completes it, so no table from ids to futures
exists. A client that goes away marks its request as abandoned; pieces that still wait are dropped when a batch is
taken, and results that still arrive are dropped here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from mindspore_serving.errors import Failure
from mindspore_serving.rows import FailedRows, Group, Reply, Rows
from mindspore_serving.server.dispatch.counting import MethodCounter
from mindspore_serving.server.dispatch.traced import RequestTrace

LEAST_URGENT = 8
"""Priorities behind this one are like it; all of them go before requests without one."""
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


class CalledPart(Protocol):
    """A call of a method that was made for a request."""

    def abandon(self) -> None:
        """Give it up."""


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
        last_batch: Number of the last batch that it had a part in; 0 while all of it waits.
        failed: Whether an instance has failed.
        times: Of the last batch that was run for it, where somebody asks for that: seconds from admission until the
            first stage began, and from then until the last one had ended.
        chain: The methods that wait for it, the first one first; none where it is not called by another method.
        calls: What was called for it and has no outcome yet; None where nothing ever was.
        trace: Its part of a trace; None where it is not traced.
    """

    __slots__ = (
        "_future",
        "_outcomes",
        "admitted",
        "byte_size",
        "calls",
        "chain",
        "count",
        "counter",
        "failed",
        "groups",
        "last_batch",
        "pending",
        "priority",
        "times",
        "trace",
    )

    def __init__(
        self,
        groups: Sequence[Group],
        future: Completion,
        counter: MethodCounter | None = None,
        priority: int = 0,
    ) -> None:
        self.groups = groups
        self.counter = counter or MethodCounter()
        self.priority = priority
        self.admitted = 0.0
        self.failed = False
        self.last_batch = 0
        self.times: tuple[float, float] | None = None
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
