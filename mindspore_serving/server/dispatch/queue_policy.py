"""Which instances form the next batch, and for whom: the one place where that is decided.

`next_batch` is a synchronous function over plain state. It has no clock, no I/O and no lock, and changes only the queue
it takes from. Times are those of one clock, in seconds. The rules:

* Work-conserving: what waits is sent as soon as some copy has a free slot. Nobody waits for a batch to fill, unless the
  user has allowed a delay: then a batch that is not full (`MethodSignature.full`) waits for more, but no longer.
* Where instances have been quick of late, a batch takes more of them than its method asked for: as many as
  `PARTIAL_REPLY_S` seconds are enough for (ADR 3, ADR 16).
* The copy with most free slots is next; among equals the one that was served longest ago.
* Methods take turns, so that a busy one cannot starve another.
* Within a method, instances with a priority go first, first come first served among equals. After each `MOST_OVERTAKEN`
  pieces that have overtaken it, the one that waits longest has its turn, so that nothing waits for ever (ADR 51).
* Several idle copies share what waits, in lots that are worth a batch of the model (`MethodSignature.fill`).
* An instance whose worker was lost is a suspect: it goes alone to a copy that has nothing else to do and gets nothing
  else meanwhile, one suspect at a time among the copies that run its method. If it is what kills workers, it takes
  nobody with it. The last copy is spared for a while where another is expected back (ADR 7). Batches of methods that
  wait for others may be under way beside it: they may wait for the suspect itself (ADR 61). A suspect of such a method
  is none to this rule; it has a batch of its own, and that is all.
* A request whose client is gone, or whose deadline has passed, is dropped here, before it costs work.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from mindspore_serving.server.dispatch.request import Piece
from mindspore_serving.signature import PARTIAL_REPLY_S, MethodSignature

LARGEST_BATCH_BYTES = 256 << 20
"""A batch takes no further instance once it holds this many bytes."""
MOST_OVERTAKEN = 8
"""So many pieces of a higher priority go before the one that waits longest, then it has its turn."""
_LARGEST_QUICK = 512
_WEIGHT = 1 / 8


class CopyState(Protocol):
    """What the policy looks at in a copy of a servable."""

    def free_slots(self, method: MethodSignature) -> int:
        """How many more batches of a method the copy takes now."""

    @property
    def idle(self) -> bool:
        """Whether no batch is under way."""

    @property
    def only_waits(self) -> bool:
        """Whether no batch is under way but those of methods that wait for others."""

    @property
    def exclusive(self) -> bool:
        """Whether the batch under way must stay the only one."""

    @property
    def last_served(self) -> int:
        """Rises with every batch that any copy gets; the copy's value at its last one."""

    def offers(self, method: str) -> bool:
        """Whether the copy runs this method."""


class MethodQueue:
    """Instances of one method that wait: by priority, and first come first served among equals.

    Args:
        signature: The method.
        delay_s: How long a batch that is not full may wait for more; may be changed.

    Attributes:
        pieces: Those without a priority, which go last.
        urgent: Those of each priority that waits, by its number; there is no empty one.
        suspects: Those whose worker was lost.
        waiting: Number of instances, without suspects.
    """

    def __init__(self, signature: MethodSignature, delay_s: float = 0.0) -> None:
        self.signature = signature
        self.pieces: deque[Piece] = deque()
        self.urgent: dict[int, deque[Piece]] = {}
        self.suspects: deque[Piece] = deque()
        self.waiting = 0
        self.delay_s = delay_s
        self._instance_s = PARTIAL_REPLY_S
        self._overtaken = 0

    def __repr__(self) -> str:
        urgent = "".join(
            [f", {len(self.urgent[level])} of priority {level}" for level in sorted(self.urgent)]
        )
        suspects = f", {len(self.suspects)} suspects" if self.suspects else ""
        return f"<MethodQueue {self.signature.name}: {self.waiting} waiting{urgent}{suspects}>"

    @property
    def depth(self) -> int:
        """Number of pieces that wait, without suspects."""
        return sum([len(level) for level in self._levels()])

    @property
    def largest_batch(self) -> int:
        """Most instances of the next batch."""
        if self.signature.batch_limit == 1:
            return 1
        asked = self.signature.batch_limit
        quick = int(PARTIAL_REPLY_S / self._instance_s)
        if quick > _LARGEST_QUICK:
            quick = _LARGEST_QUICK
        return quick if quick > asked else asked

    @property
    def due(self) -> float:
        """When the next batch is to be sent, whether it is full or not."""
        if not self.delay_s or not self.waiting or self.waiting >= self.signature.full:
            return 0.0
        return min([level[0].arrived for level in self._levels() if level]) + self.delay_s

    def learn(self, count: int, seconds: float) -> None:
        """Take into account how long a batch took."""
        self._instance_s += (max(seconds, 1e-6) / count - self._instance_s) * _WEIGHT

    def put(self, pieces: Iterable[Piece]) -> None:
        """Append instances at the tail of those of their priority."""
        for piece in pieces:
            priority = piece.request.priority
            (self._level(priority) if priority else self.pieces).append(piece)
            self.waiting += piece.rows.count

    def put_back(self, pieces: Sequence[Piece]) -> None:
        """Insert instances at the head of those of their priority, where they were before."""
        for piece in reversed(pieces):
            self._level(piece.request.priority).appendleft(piece)
            self.waiting += piece.rows.count

    def put_suspects(self, pieces: Iterable[Piece], now: float) -> None:
        """Append single instances whose worker was lost.

        Args:
            pieces: The instances.
            now: The time.
        """
        for piece in pieces:
            piece.arrived = now
            self.suspects.append(piece)

    def take_suspect(self) -> Piece | None:
        """Remove the suspect that waits longest; those of ended requests are removed and not returned."""
        while self.suspects:
            piece = self.suspects.popleft()
            if not piece.request.ended:
                return piece
        return None

    def take(self, most: int) -> list[Piece]:
        """Remove up to `most` instances, the next ones; those of ended requests are removed and not returned."""
        taken: list[Piece] = []
        size = 0
        while self.waiting and most > 0 and size < LARGEST_BATCH_BYTES:
            piece = self._next_by_priority() if self.urgent else self.pieces.popleft()
            self.waiting -= piece.rows.count
            if piece.request.ended:
                piece.drop()
                continue
            count = piece.rows.count
            if piece.attempts:
                # It may be what ends workers, and is of a method that waits: it has a batch of its own.
                if not taken:
                    return [piece]
                self.put_back([piece])
                break
            if count > 1:
                count = _rows_within(piece, most, LARGEST_BATCH_BYTES - size)
                if count < piece.rows.count:
                    self.put_back([piece.part(count, piece.rows.count)])
                    piece = piece.part(0, count)
            most -= count
            size += piece.byte_size
            taken.append(piece)
        return taken

    def drop_ended(self) -> None:
        """Remove the instances of ended requests, wherever they stand."""
        self.pieces = _pending(self.pieces)
        self.suspects = _pending(self.suspects)
        urgent = {priority: _pending(level) for priority, level in self.urgent.items()}
        self.urgent = {priority: level for priority, level in urgent.items() if level}
        self.waiting = sum([piece.rows.count for level in self._levels() for piece in level])

    def clear(self) -> list[Piece]:
        """Remove and return everything."""
        pieces = [*(piece for level in self._levels() for piece in level), *self.suspects]
        for piece in pieces:
            if piece.request.ended:
                piece.drop()
        self.pieces.clear()
        self.urgent.clear()
        self.suspects.clear()
        self.waiting = 0
        return pieces

    def _level(self, priority: int) -> deque[Piece]:
        """Where instances of a priority wait."""
        return self.urgent.setdefault(priority, deque()) if priority else self.pieces

    def _levels(self) -> Iterator[deque[Piece]]:
        """What waits, the most urgent first."""
        for priority in sorted(self.urgent):
            yield self.urgent[priority]
        yield self.pieces

    def _next_by_priority(self) -> Piece:
        """Remove the next piece where some have a priority."""
        first = min(self.urgent)
        chosen = self.urgent[first]
        oldest = min([level for level in self._levels() if level], key=_arrival)
        if oldest is chosen:
            self._overtaken = 0
        elif self._overtaken < MOST_OVERTAKEN:
            self._overtaken += 1
        else:  # it has been overtaken for long enough
            self._overtaken = 0
            chosen = oldest
        piece = chosen.popleft()
        if piece.request.priority and not chosen:
            del self.urgent[piece.request.priority]
        return piece


def _pending(pieces: Iterable[Piece]) -> deque[Piece]:
    left: deque[Piece] = deque()
    for piece in pieces:
        if piece.request.ended:
            piece.drop()
        else:
            left.append(piece)
    return left


def _arrival(level: deque[Piece]) -> float:
    return level[0].arrived


def work_waits(queues: Iterable[MethodQueue]) -> bool:
    """Whether anything waits in one of the queues."""
    for queue in queues:  # noqa: SIM110  # `any` over a generator takes three times as long, for every batch
        if queue.waiting or queue.suspects:
            return True
    return False


class Assignment(NamedTuple):
    """One batch to send.

    Attributes:
        queue: Where the instances waited.
        copy_index: Position of the chosen copy in the sequence given to `next_batch`.
        pieces: The instances, at least one.
        exclusive: Whether the copy takes nothing else meanwhile.
    """

    queue: MethodQueue
    copy_index: int
    pieces: list[Piece]
    exclusive: bool = False


def next_batch(
    queues: Sequence[MethodQueue],
    turn: int,
    copies: Sequence[CopyState],
    expected: Sequence[Collection[str]] = (),
    now: float = math.inf,
    suspect_wait_s: float = 0.0,
) -> tuple[Assignment | None, int]:
    """Decide on the next batch.

    Args:
        queues: One per method of the servable.
        turn: Index of the queue whose turn it is; any non-negative number.
        copies: Copies of the servable that are ready.
        expected: Methods of each copy that was lost and is being started again.
        now: The time.
        suspect_wait_s: How long the last copy is spared suspects where another is expected back.

    Returns:
        What to send, None if nothing waits or no copy has a slot for it; and whose turn it is after that.
    """
    if not work_waits(queues):
        return None, turn
    # First the suspects (ADR 7): they need a copy without anything else, which has to be kept free for them. There are
    # three cases for a queue that has some.
    reserved: set[int] = set()
    for queue in queues:
        if not queue.suspects:
            continue
        waited = now - queue.suspects[0].arrived >= suspect_wait_s
        chosen = _copy_for_suspects(queue.signature, copies, () if waited else expected)
        if chosen < 0 or chosen in reserved:  # none may be had now: they wait, and others go on
            continue
        if copies[chosen].only_waits:  # one goes there, alone but for what may wait for it
            piece = queue.take_suspect()
            if piece is not None:
                return Assignment(queue, chosen, [piece], exclusive=True), turn
        else:  # it has batches under way: it gets no more, so that it will be idle
            reserved.add(chosen)
    # Then everything else, on the copies that are left, methods in turn. A method is passed over where nothing is due,
    # or no copy has a slot for it; so one that cannot run keeps no other from running.
    for step in range(len(queues)):
        at = (turn + step) % len(queues)
        queue = queues[at]
        waiting = queue.waiting
        if not waiting or (queue.delay_s and queue.due > now):
            continue
        chosen, idle = _copy_for_batch(queue.signature, copies, reserved)
        if chosen < 0:
            continue
        # Nothing is left to take if all that waited was of requests that have ended: the next method has its turn.
        size = batch_size(queue.signature.fill, queue.largest_batch, waiting, idle) if waiting > 1 else 1
        pieces = queue.take(size)
        if pieces:
            return Assignment(queue, chosen, pieces), at + 1
    return None, turn


def _copy_for_batch(
    method: MethodSignature, copies: Sequence[CopyState], reserved: Collection[int]
) -> tuple[int, int]:
    """The copy that gets the next batch, -1 for none now; and how many of the method's copies are idle."""
    chosen, idle, most, served = -1, 0, 0, 0
    for i, copy in enumerate(copies):
        if not copy.offers(method.name):
            continue
        idle += copy.idle
        free = copy.free_slots(method)
        if free and (free > most or (free == most and copy.last_served < served)) and i not in reserved:
            chosen, most, served = i, free, copy.last_served
    return chosen, idle


def _copy_for_suspects(
    method: MethodSignature, copies: Sequence[CopyState], expected: Sequence[Collection[str]]
) -> int:
    """The copy that is to run suspects next, and gets nothing else until it is idle; -1 for none now."""
    offering = [i for i, copy in enumerate(copies) if copy.offers(method.name)]
    alone = len(offering) == 1 and any(method.name in methods for methods in expected)
    # A copy that runs a suspect of another method may wait for this one: it must not keep it from running.
    if not offering or alone or any(copies[i].exclusive for i in offering):
        return -1
    return min(
        offering,
        key=lambda i: (not copies[i].idle, not copies[i].only_waits, -copies[i].free_slots(method), i),
    )


def batch_size(fill: int, limit: int, waiting: int, idle_copies: int) -> int:
    """How many of `waiting` instances the next batch takes.

    Args:
        fill: The size that is worth filling.
        limit: Most instances of a batch.
        waiting: Instances of the method that wait.
        idle_copies: Copies that have nothing to do, and could share the work.

    Returns:
        At least 1, at most the limit.
    """
    share = -(-waiting // idle_copies) if idle_copies > 1 else waiting
    size = -(-share // fill) * fill
    if size > limit:
        size = limit
    return size if size > 1 else 1


def _rows_within(piece: Piece, most: int, byte_budget: int) -> int:
    """How many instances of a piece fit into a count and a byte budget, at least 1."""
    count = piece.rows.count
    size = piece.byte_size
    if size > byte_budget:
        return max(1, min(most, count, byte_budget * count // size))
    return count if count < most else most
