"""What was counted a while ago, so that rates and percentiles of the last seconds and minutes can be told.

A counter that only grows says nothing of the last minute by itself. So every 10 s a timer reads all counters, and each
look at the page does as well, at most once a second. Of these readings some are kept: all of the last seconds, and
older ones the sparser the older they are, so that 10 s, 1 min and 5 min ago there is one each. It costs requests
nothing: dispatch counts in any case, and a reading is a look at it.

Where the memory would grow with the number of methods, it is bounded in two ways. A method that was not called since
the last reading shares that one's numbers. And of more than `MOST_KEPT` methods that were called since, the numbers of
the busiest are kept; the others have no recent figures, but they count in those of the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from mindspore_serving.server.console.status.counted import NOTHING, Counted, together
from mindspore_serving.server.dispatch.method_statistics import MethodStatistics
from mindspore_serving.server.service.server_statistics import ServerStatistics

READ_EVERY_S: Final = 10.0
"""Between two readings of the timer."""
MOST_KEPT: Final = 256
"""Methods that may have changed in a reading, and be kept."""
LONGEST_WINDOW_S: Final = 300.0
_SPACING: Final = ((11.0, 0.9), (25.0, 4.5), (95.0, 9.5), (float("inf"), 59.0))
"""Up to which age, in seconds, readings are kept that are how far apart."""
_LARGEST_SHARE: Final = 0.05
"""Of the event loop's time, that looks at the page may take for readings."""


class MethodKey(NamedTuple):
    """A method of a version of a servable."""

    servable: str
    version: int
    method: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted until a moment.

    Attributes:
        at: When, in seconds of the clock.
        total: Of all methods together, and what the server has refused.
        methods: Of each that was ever called; None where it was not kept.
    """

    at: float
    total: Counted = NOTHING
    methods: Mapping[MethodKey, Counted | None] = field(default_factory=dict)


class Source(Protocol):
    """Who knows what was counted: `Statistics`."""

    def server(self) -> ServerStatistics:
        """What was counted of the whole server until now. Of the event loop."""
        ...


class StatusHistory:
    """Reads counters now and then, and keeps what it has read. All of it is of the event loop.

    Args:
        source: Whose counters.
        now: A monotonic clock, in seconds.
        most_kept: As of `MOST_KEPT`.
    """

    def __init__(
        self, source: Source, now: Callable[[], float] = time.monotonic, most_kept: int = MOST_KEPT
    ) -> None:
        self._source = source
        self._now = now
        self._most_kept = most_kept
        self._timer: asyncio.TimerHandle | None = None
        self._begin: Reading | None = None
        self._kept: list[Reading] = []
        self._seen: dict[MethodKey, tuple[MethodStatistics, Counted]] = {}
        self._last: tuple[ServerStatistics, Reading] | None = None
        self._cost_s = 0.0

    def __repr__(self) -> str:
        return f"<StatusHistory {len(self._kept)} readings, {len(self._seen)} methods>"

    @property
    def readings(self) -> Sequence[Reading]:
        """Those that are kept, the oldest first."""
        return self._kept

    def start(self) -> None:
        """Read from now on, on the loop that runs; safe to call twice."""
        if self._timer is None:
            self._read_again()

    def stop(self) -> None:
        """Read no more; safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(READ_EVERY_S, self._read_again)
        self.read()

    def read(self) -> tuple[ServerStatistics, Reading]:
        """What was counted until now.

        Where there is so much to read that it takes long, what was read a moment ago counts as well: whoever looks
        again and again cannot keep the loop from its work.
        """
        began = self._now()
        if self._last is not None and began - self._last[1].at < self._cost_s / _LARGEST_SHARE:
            return self._last
        statistics = self._source.server()
        reading = self._reading(statistics, began)
        self._keep(reading, statistics.uptime_s)
        self._last = statistics, reading
        self._cost_s = self._now() - began
        return self._last

    def before(self, seconds: float, now: float) -> Reading:
        """The newest reading that is at least so old; where the server is younger, its begin, when all was 0.

        Args:
            seconds: How old.
            now: The time.
        """
        old = [one for one in self._kept if one.at <= now - seconds]
        return old[-1] if old else self._begin or Reading(now)

    def _reading(self, statistics: ServerStatistics, now: float) -> Reading:
        last = self._last[1] if self._last is not None else Reading(now)
        methods: dict[MethodKey, Counted | None] = {}
        changed: list[tuple[MethodKey, Counted, Counted]] = []
        for version in statistics.versions:
            for name, method in version.methods.items():
                key = MethodKey(version.servable, version.version, name)
                known = self._seen.get(key)
                if known is not None and (known[0] is method or known[0] == method):
                    methods[key] = known[1]
                elif known is not None or _was_called(method):
                    counted = Counted.of(method)
                    changed.append((key, counted, NOTHING if known is None else known[1]))
                    methods[key] = counted
                    self._seen[key] = method, counted
        total = together([last.total, *[now_ for _, now_, _ in changed]])
        if changed:
            total = total.since(together([before for _, _, before in changed]))
        for key in _least_busy(changed, self._most_kept):
            methods[key] = None
        return Reading(now, replace(total, refused=dict(statistics.refused)), methods)

    def _keep(self, reading: Reading, uptime_s: float) -> None:
        if self._begin is None:
            self._begin = Reading(reading.at - uptime_s)
            self._kept.append(self._begin)
        times = [one.at for one in self._kept]
        self._kept = [self._kept[place] for place in kept_places(times, reading.at)]
        if reading.at - self._kept[-1].at >= _SPACING[0][1]:
            self._kept.append(reading)


def kept_places(times: Sequence[float], now: float) -> list[int]:
    """Which readings are kept.

    Args:
        times: When they were made, ascending; at least one.
        now: The time.

    Returns:
        Their places, ascending; at least one.
    """
    oldest = max([place for place, at in enumerate(times) if at <= now - LONGEST_WINDOW_S], default=0)
    kept = [oldest]
    for place in range(oldest + 1, len(times)):
        age = now - times[place]
        spacing = next(apart for up_to, apart in _SPACING if age <= up_to)
        if times[place] - times[kept[-1]] >= spacing:
            kept.append(place)
    return kept


def _was_called(method: MethodStatistics) -> bool:
    return bool(
        method.success.count
        or method.fail.count
        or method.queue.count
        or method.cancelled_before_run
        or method.refused
    )


def _least_busy(changed: Sequence[tuple[MethodKey, Counted, Counted]], most: int) -> list[MethodKey]:
    """The methods that are not kept, where more than `most` have changed."""
    if len(changed) <= most:
        return []
    by_requests = sorted(changed, key=lambda one: sum(one[1].requests) - sum(one[2].requests))
    return [key for key, _, _ in by_requests[: len(changed) - most]]
