"""An open-loop load: requests that arrive when they arrive, however long the replies take.

Clients of a closed loop wait for a slow reply, and send nothing meanwhile: the requests that a slow server would have
delayed are never sent, and the latencies look better than users find them. Here the times of all arrivals are
drawn beforehand, and a latency counts from the time at which its request was due, whatever kept it from being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.connections import Connection, Exchange

_GRACE_S = 10.0
_CLOCK_MONOTONIC = 1
_TIMER_ABSOLUTE = 1


def poisson_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Arrivals of a Poisson process: seconds after the start, ascending, all below `seconds`."""
    draw = random.Random(seed)
    times = []
    now = draw.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += draw.expovariate(rate)
    return times


@dataclass
class Arrivals:
    """What became of the requests, all in seconds.

    Attributes:
        latencies: From the due time to the reply.
        from_send: From the time at which it was sent to the reply.
        refused: From the due time to a refusal; these requests are not in the two above.
        lateness: From the due time to the time at which it was sent.
        wrong: Replies that were wrong, and requests without any.
        seconds: From the start to the last reply.
    """

    latencies: list[float] = field(default_factory=list)
    from_send: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    wrong: int = 0
    seconds: float = 0.0


class DueTimer:
    """Calls back at a time of `time.perf_counter`, to some microseconds; the timers of event loops know milliseconds.

    Args:
        fire: What to call.
    """

    def __init__(self, fire: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._fire = fire
        asyncio.get_running_loop().add_reader(self._file, self._on_readable)

    def set(self, moment: float) -> None:
        """Call back at this time, once; at once if it is over."""
        seconds, rest = divmod(moment, 1.0)
        # Interval and value, each in seconds and nanoseconds; a value of 0 would stop the timer.
        setting = (ctypes.c_long * 4)(0, 0, int(seconds), max(1, int(rest * 1e9)))
        self._libc.timerfd_settime(self._file, _TIMER_ABSOLUTE, setting, None)

    def close(self) -> None:
        """Give the timer back."""
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)

    def _on_readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)
            self._fire()


class OpenLoop:
    """Sends requests over connections when they are due, or as soon as a connection is free.

    Args:
        connections: Open ones; those that take one request at a time should be plenty.
        exchange: The request.
        times: When each is due, in seconds after the start, ascending.
    """

    def __init__(self, connections: Sequence[Connection], exchange: Exchange, times: Sequence[float]) -> None:
        self._free = deque(connections)
        self._exchange = exchange
        self._times = times
        self._next = 0
        self._unanswered = 0
        self._arrivals = Arrivals()

    async def run(self) -> Arrivals:
        """Send all requests, and wait for the replies, for 10 s at most."""
        if not self._times:
            return self._arrivals
        self._finished = asyncio.get_running_loop().create_future()
        self._timer = DueTimer(self._send_what_is_due)
        self._begin = time.perf_counter()
        self._timer.set(self._begin + self._times[0])
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._finished, self._times[-1] + _GRACE_S)
        finally:
            self._timer.close()
        self._arrivals.seconds = time.perf_counter() - self._begin
        self._arrivals.wrong += self._unanswered + len(self._times) - self._next
        return self._arrivals

    def _send_what_is_due(self) -> None:
        now = time.perf_counter() - self._begin
        while self._next < len(self._times) and self._times[self._next] <= now:
            if not self._free:
                return  # the next reply frees a connection, and comes here
            self._send(self._times[self._next])
            self._next += 1
            now = time.perf_counter() - self._begin
        if self._next < len(self._times):
            self._timer.set(self._begin + self._times[self._next])

    def _send(self, due: float) -> None:
        connection = self._free.popleft()
        sent = time.perf_counter() - self._begin
        self._unanswered += 1

        def done(reply: bytes) -> None:
            now = time.perf_counter() - self._begin
            arrivals = self._arrivals
            arrivals.lateness.append(sent - due)
            if reply and reply == self._exchange.refusal:
                arrivals.refused.append(now - due)
            else:
                arrivals.latencies.append(now - due)
                arrivals.from_send.append(now - sent)
                arrivals.wrong += reply != self._exchange.reply
            self._unanswered -= 1
            if not connection.concurrent:
                self._free.append(connection)
                if len(self._free) == 1:
                    self._send_what_is_due()
            if not self._unanswered and self._next == len(self._times) and not self._finished.done():
                self._finished.set_result(None)

        if connection.concurrent:
            self._free.append(connection)
        connection.send(self._exchange.request, done)
