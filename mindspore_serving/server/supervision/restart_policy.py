"""Whether and when workers that have died are started again: the one place where that is decided.

Plain state, without a clock, a process or a lock. Times are those of one clock, in seconds. The rules:

* A worker is started again after a second. The delay doubles with each of its ends in a row, up to `LONGEST_DELAY_S`;
  it is a second again once the worker has served for `STEADY_S`.
* After `MOST_ENDS` ends within `WINDOW_S` among the workers of one servable version none of them is started again for
  `GIVEN_UP_S`. Where there are so many workers that each could have ended once, it takes one end more than there are
  workers.
* A start that did not even bring about a process is no end: the system is short of something. It lengthens the delay.
* A worker that was given up is tried again every `GIVEN_UP_S`, as long as another one serves.
* An end for which an instance is to blame does not count: the instance is not tried again. It excuses the end before
  it, too, for that made the instance a suspect. The end of a worker in which a call took too long excuses no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0
MOST_ENDS = 5
WINDOW_S = 60.0
GIVEN_UP_S = 180.0


class RestartPolicy:
    """The ends of the workers of one servable version.

    Args:
        workers: How many there are.

    Attributes:
        given_up: Whether none of them is started again for now.
    """

    def __init__(self, workers: int) -> None:
        self.given_up = False
        self._given_up_at = 0.0
        self._most_ends = max(MOST_ENDS, workers + 1)
        self._ends: deque[tuple[float, int, str]] = deque()
        self._delays: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"<RestartPolicy {len(self._ends)} ends, delays {self._delays}, given up: {self.given_up}>"

    @property
    def ends(self) -> Sequence[str]:
        """What was counted within the last `WINDOW_S`, as it was told to `ended`."""
        return [what for _, _, what in self._ends]

    def ended(
        self, worker: int, now: float, served_s: float, what: str, *, blameless: bool, excuses: bool = True
    ) -> bool:
        """Learn that a worker has ended.

        Args:
            worker: Its number.
            now: The time.
            served_s: Seconds from when it was ready; 0 for one that never was.
            what: Which one and how, for the log.
            blameless: Whether an instance is to blame.
            excuses: Whether the instance may have ended another worker before.

        Returns:
            Whether this end is the one because of which all are given up.
        """
        if self.given_up and now - self._given_up_at >= GIVEN_UP_S:
            self.given_up = False
        if served_s >= STEADY_S:
            self._delays.pop(worker, None)
        if blameless:
            if excuses:
                self._excuse_last()
            return False
        self._lengthen(worker)
        while self._ends and self._ends[0][0] <= now - WINDOW_S:
            self._ends.popleft()
        self._ends.append((now, worker, what))
        if self.given_up or len(self._ends) < self._most_ends:
            return False
        self.given_up, self._given_up_at = True, now
        return True

    def could_not_start(self, worker: int) -> None:
        """Learn that there was not even a process."""
        self._lengthen(worker)

    def delay_s(self, worker: int) -> float:
        """Seconds from the end of a worker until it is started again."""
        return self._delays.get(worker, FIRST_DELAY_S)

    def _lengthen(self, worker: int) -> None:
        delay = self._delays.get(worker)
        self._delays[worker] = FIRST_DELAY_S if delay is None else min(2 * delay, LONGEST_DELAY_S)

    def _excuse_last(self) -> None:
        if self._ends:
            _, worker, _ = self._ends.pop()
            delay = self._delays.pop(worker, FIRST_DELAY_S)
            if delay > FIRST_DELAY_S:
                self._delays[worker] = delay / 2
