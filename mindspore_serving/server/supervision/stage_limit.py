"""Finds calls of a worker that take longer than its servable allows.

The worker writes its calls into memory that it shares with this process (`channel/call_page.py`); this process looks
four times within the limit. Time alone condemns no call: it must also have been seen for half of the looks that fit
into the limit, so that a machine that was suspended does not end workers which could not work meanwhile (ADR 20).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mindspore_serving.server.channel.call_page import CallPage, WrittenCall

_LOOKS = 4
_SHORTEST_PERIOD_S = 0.01
_LONGEST_PERIOD_S = 0.25


@dataclass(frozen=True, slots=True)
class OverdueCall:
    """A call that takes too long.

    Attributes:
        call: What was called, and for which instances.
        seconds: How long it has run.
    """

    call: WrittenCall
    seconds: float


class StageLimit:
    """Looks at the calls of one worker.

    Args:
        page: Where the worker writes them.
        limit_s: Seconds that a call may take.
        on_overdue: Called once, on the event loop, with a call that takes longer.
        clock: Monotonic time in seconds: that by which the worker writes its calls.
    """

    def __init__(
        self,
        page: CallPage,
        limit_s: float,
        on_overdue: Callable[[OverdueCall], None],
        clock: Callable[[], float],
    ) -> None:
        self.period_s = min(max(limit_s / _LOOKS, _SHORTEST_PERIOD_S), _LONGEST_PERIOD_S)
        self._page = page
        self._limit_ns = int(limit_s * 1e9)
        self._least_looks = max(1, int(limit_s / self.period_s / 2))
        self._on_overdue = on_overdue
        self._clock = clock
        self._seen: dict[int, tuple[int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look again and again from now on; on the event loop."""
        self._timer = asyncio.get_running_loop().call_later(self.period_s, self._ring)

    def stop(self) -> None:
        """Look no more; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self, now: int) -> OverdueCall | None:
        """The call that is overdue for longest, if there is one.

        Args:
            now: Monotonic time in nanoseconds.
        """
        overdue = []
        for record, serial, begin in self._page.running():
            last, looks = self._seen.get(record, (serial, 0))
            looks = looks + 1 if last == serial else 1
            self._seen[record] = serial, looks
            if now - begin > self._limit_ns and looks > self._least_looks:
                overdue.append((begin, record, serial))
        for begin, record, serial in sorted(overdue):
            call = self._page.read(record, serial, begin)
            if call is not None:
                return OverdueCall(call, (now - begin) / 1e9)
        return None

    def _ring(self) -> None:
        overdue = self.look(int(self._clock() * 1e9))
        if overdue is None:
            self.start()
        else:
            self._on_overdue(overdue)
