"""Whether a batch stays open while requests are still coming in (ADR 16).

Requests of many clients may reach the main process one by one, each behind several events of the network library, as
those of grpc.aio do. A quick worker would get each in a batch of its own, which costs both processes more than the
request. So while the event loop has other work, which is likely to bring more requests, the batch may stay open: it is
sent as soon as the loop has had nothing to do for a moment, or the batch has been open for `_LONGEST_S`.

That pays only where it brings more than had come together by itself. It is tried with one batch in `_TRY_EVERY`, and
done with each for as long as those that stayed open had at least `_WORTH_IT` requests, and had grown to `_GREW` times
as many, on average.
"""

from __future__ import annotations

from collections.abc import Callable

_LULL_S = 40e-6
"""How long the loop is to have had nothing else to do."""
_IDLE_ITERATION_S = 15e-6
"""An iteration of the loop that took longer had something to do."""
_LONGEST_S = 2e-3
_TRY_EVERY = 64
_WORTH_IT = 2.1
"""More than two, so that two clients in turn do not have to wait for each other."""
_GREW = 1.3
"""Batches of the C core, whose requests are there together, grew by a tenth; those of grpc.aio to 8 times as many."""
_WEIGHT = 0.25


class Gathering:
    """Decides for one servable. Times are those of one clock, in seconds."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._growth = 0.0
        self._first = 0
        self._untried = 0
        self._may_stay = False
        self._opened = 0.0
        self._asked = 0.0
        self._busy = 0.0

    def __repr__(self) -> str:
        return f"<Gathering {self._mean:.1f} requests a batch, {self._growth:.1f} times those at first>"

    def open(self, now: float) -> None:
        """Learn that there is something to send."""
        self._untried += 1
        pays = self._mean >= _WORTH_IT and self._growth >= _GREW
        if pays or self._untried >= _TRY_EVERY:
            self._may_stay = True
            self._first = 0
            self._opened = self._asked = self._busy = now

    def stays_open(self, now: float, waiting: Callable[[], int]) -> bool:
        """Whether to wait for another iteration of the loop; to be asked once in each.

        Args:
            now: The time.
            waiting: How many requests wait.
        """
        if not self._may_stay:
            return False
        if not self._first:
            self._first = waiting()
        if now - self._asked > _IDLE_ITERATION_S:
            self._busy = now
        self._asked = now
        return now - self._busy < _LULL_S and now - self._opened < _LONGEST_S

    def close(self, requests: int) -> None:
        """Learn how many requests came together in what is sent now; none if there was no free slot."""
        stayed, self._may_stay = self._may_stay, False
        if stayed and requests:
            self._untried = 0
            self._mean += (requests - self._mean) * _WEIGHT
            self._growth += (requests / max(self._first, 1) - self._growth) * _WEIGHT
