"""The pump of a servable: it moves instances from the queues to the copies, a batch at a time.

Which instances, and to whom, is decided in `queue_policy`; here is when. There are four cases in which the pump looks:

* Something has come, or a slot has become free: at the end of this iteration of the event loop, so that requests which
  arrive together travel together.
* The event loop is busy, which is likely to bring more requests: an iteration later (`gathering`, ADR 16).
* A batch waits to become full, because the user has allowed a delay: when the delay of its first instance is over.
* A suspect spares the last copy, because another is being started again: when it has waited for long enough (ADR 7).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

from mindspore_serving import log
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.failures import fail_all, no_memory, not_passed_on
from mindspore_serving.server.dispatch.gathering import Gathering
from mindspore_serving.server.dispatch.queue_policy import Assignment, MethodQueue, next_batch

_ALARM_TICK_S = 1e-3
"""How exact timers of the event loop are."""


class Pump:
    """Sends what waits to copies that have a free slot.

    The state belongs to the servable, which changes it in place and schedules the pump after that.

    Args:
        queues: One per method.
        copies: Those that are ready.
        expected: By label, the methods of each copy that was lost and is being started again.
        loop: The event loop.
        suspect_wait_s: How long a suspect spares the last copy where another is expected.

    Attributes:
        delays: Whether a batch may wait for more.
    """

    def __init__(
        self,
        queues: Sequence[MethodQueue],
        copies: Sequence[ServableCopy],
        expected: Mapping[str, frozenset[str]],
        loop: asyncio.AbstractEventLoop,
        suspect_wait_s: float,
    ) -> None:
        self.delays = False
        self._queues = queues
        self._copies = copies
        self._expected = expected
        self._loop = loop
        self._suspect_wait_s = suspect_wait_s
        self._turn = 0
        self._batches = 0
        self._scheduled = False
        self._gathering = Gathering()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    def schedule(self, now: float | None = None) -> None:
        """Look soon; as often as one likes.

        Args:
            now: The time, from who knows it.
        """
        if not self._scheduled:
            self._scheduled = True
            self._gathering.open(time.monotonic() if now is None else now)
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        now = time.monotonic()
        if self._gathering.stays_open(now, self._waiting) and self._has_room():
            self._loop.call_soon(self._run)
            return
        self._scheduled = False
        requests = 0
        expected = list(self._expected.values())
        while True:
            assignment, self._turn = next_batch(
                self._queues, self._turn, self._copies, expected, now, self._suspect_wait_s
            )
            if assignment is None:
                break
            requests += len(assignment.pieces)
            self._send(assignment, now)
        self._gathering.close(requests)
        if expected or self.delays:
            self._set_alarm(now)

    def _waiting(self) -> int:
        """How many requests wait, of which one may be in several pieces."""
        return sum(queue.depth for queue in self._queues)

    def _has_room(self) -> bool:
        """Whether batches that are not full yet could be sent."""
        return any(
            0 < queue.waiting < queue.largest_batch
            and any(copy.free_slots(queue.signature) for copy in self._copies)
            for queue in self._queues
        )

    def _send(self, assignment: Assignment, taken: float) -> None:
        self._batches += 1
        queue, copy_index, pieces, exclusive = assignment
        copy = self._copies[copy_index]
        try:
            copy.send(queue.signature.name, pieces, self._batches, exclusive, taken)
        except OSError as cause:
            log.error("Cannot pass instances to %s: %s", copy.label, cause)
            for piece in pieces:
                fail_all([piece], no_memory(cause, reached=piece.reached))
        except Exception as cause:  # whatever it is: what was taken from the queue must be answered
            log.error("Cannot pass instances to %s", copy.label, exc_info=True)
            fail_all(pieces, not_passed_on(cause))

    def _set_alarm(self, now: float) -> None:
        """Look again when a batch that waits for more is due, or a suspect that waits for another copy."""
        due = [queue.due for queue in self._queues]
        due += [queue.suspects[0].arrived + self._suspect_wait_s for queue in self._queues if queue.suspects]
        # What is due already waits for a slot, not for the time: the batch that frees one looks again.
        first = min([when for when in due if when > now], default=math.inf)
        if first < self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_later(max(_ALARM_TICK_S, first - now), self._ring)
            self._alarm_at = first

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        self.schedule()
