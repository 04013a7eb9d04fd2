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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_AT_A_TIME: Final = 100
"""Methods that are read before requests go on."""
_CHEAP_S: Final = 0.01
"""A reading that takes no longer is made for each look."""


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


class _Change(NamedTuple):
    """A method that was called since the last reading."""

    key: MethodKey
    now: Counted
    before: Counted

    @property
    def requests(self) -> int:
        """How many have ended since then."""
        return sum(self.now.requests.values()) - sum(self.before.requests.values())


class _UnderWay:
    """A reading that is being made.

    Args:
        total: Of the last one.

    Attributes:
        methods: Those that were read so far.
    """

    def __init__(self, total: Counted) -> None:
        self.methods: dict[MethodKey, Counted | None] = {}
        self._total = total
        self._changed: list[tuple[int, MethodKey]] = []

    def add(self, changed: Sequence[_Change]) -> None:
        """Add what methods have counted since the last reading to what all have."""
        if changed:
            total = together([self._total, *[one.now for one in changed]])
            self._total = total.since(together([one.before for one in changed]))
            self._changed += [(one.requests, one.key) for one in changed]

    def reading(self, at: float, refused: Mapping[str, int], most_kept: int) -> Reading:
        """All of it; the least busy methods are not kept where more than `most_kept` have changed."""
        for _, key in sorted(self._changed, reverse=True)[most_kept:]:
            self.methods[key] = None
        return Reading(at, replace(self._total, refused=dict(refused)), self.methods)


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
        spent: A clock of the time that the loop has worked, in seconds.
    """

    def __init__(
        self,
        source: Source,
        now: Callable[[], float] = time.monotonic,
        most_kept: int = MOST_KEPT,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._source = source
        self._now = now
        self._spent = spent
        self._most_kept = most_kept
        self._timer: asyncio.TimerHandle | None = None
        self._begin: Reading | None = None
        self._kept: list[Reading] = []
        self._seen: dict[MethodKey, tuple[MethodStatistics, Counted]] = {}
        self._last: tuple[ServerStatistics, Reading] | None = None
        self._may_be_old_s = 0.0
        self._reading_now: asyncio.Task[tuple[ServerStatistics, Reading]] | None = None

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
        wait_s = max(READ_EVERY_S, self._may_be_old_s)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._read_again)
        self._begin_reading()

    async def read(self) -> tuple[ServerStatistics, Reading]:
        """What was counted until now.

        Where there is so much to read that it takes long, what was read a moment ago counts as well: whoever looks
        again and again cannot keep the loop from its work. Of thousands of methods some are read at a time, and
        requests go on in between.
        """
        if self._last is not None and self._now() - self._last[1].at < self._may_be_old_s:
            return self._last
        return await asyncio.shield(self._begin_reading())

    def _begin_reading(self) -> asyncio.Task[tuple[ServerStatistics, Reading]]:
        """Read, unless somebody does already."""
        if self._reading_now is None or self._reading_now.done():
            self._reading_now = asyncio.get_running_loop().create_task(self._read())
        return self._reading_now

    async def _read(self) -> tuple[ServerStatistics, Reading]:
        now, began = self._now(), self._spent()
        statistics = self._source.server()
        under_way = _UnderWay(self._last[1].total if self._last is not None else NOTHING)
        cost_s = self._spent() - began
        for part in _parts(statistics):
            began = self._spent()
            self._read_part(part, under_way)
            cost_s += self._spent() - began
            await asyncio.sleep(0)
        reading = under_way.reading(now, statistics.refused, self._most_kept)
        self._keep(reading, statistics.uptime_s)
        expensive = self._last is not None and cost_s > _CHEAP_S  # the first one has more to do
        self._may_be_old_s = cost_s / _LARGEST_SHARE if expensive else 0.0
        self._last = statistics, reading
        return self._last

    def _read_part(self, part: Sequence[tuple[MethodKey, MethodStatistics]], under_way: _UnderWay) -> None:
        changed = []
        for key, method in part:
            known = self._seen.get(key)
            if known is not None and (known[0] is method or known[0] == method):
                under_way.methods[key] = known[1]
            elif known is not None or _was_called(method):
                counted = Counted.of(method)
                changed.append(_Change(key, counted, NOTHING if known is None else known[1]))
                under_way.methods[key] = counted
                self._seen[key] = method, counted
        under_way.add(changed)

    def before(self, seconds: float, now: float) -> Reading:
        """The newest reading that is at least so old; where the server is younger, its begin, when all was 0.

        Args:
            seconds: How old.
            now: The time.
        """
        old = [one for one in self._kept if one.at <= now - seconds]
        return old[-1] if old else self._begin or Reading(now)

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


def _parts(statistics: ServerStatistics) -> Iterator[Sequence[tuple[MethodKey, MethodStatistics]]]:
    """All methods, some at a time."""
    part: list[tuple[MethodKey, MethodStatistics]] = []
    for version in statistics.versions:
        for name, method in version.methods.items():
            part.append((MethodKey(version.servable, version.version, name), method))
            if len(part) == _AT_A_TIME:
                yield part
                part = []
    if part:
        yield part
