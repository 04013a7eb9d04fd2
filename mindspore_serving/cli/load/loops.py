"""When requests are sent: closed loops, and open loops, whose requests come when they come.

Clients of a closed loop wait for a slow reply, and send nothing meanwhile: the requests that a slow server would have
delayed are never sent, and the latencies look better than users find them. For an open loop the times of all arrivals
are drawn beforehand, and a latency counts from the time at which its request was due, whatever kept it from being sent.
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
from typing import Protocol

from mindspore_serving.cli.load.connections import Connection

_CLOCK_MONOTONIC = 1
_TIMER_ABSOLUTE = 1


class Note(Protocol):
    """Takes what became of a request."""

    def __call__(
        self, request: int, due: float, sent: float, now: float, reply: bytes, connection: Connection
    ) -> None:
        """Take one.

        Args:
            request: Its number among the requests.
            due: When it was to be sent, in seconds after the start; in a closed loop, when it was.
            sent: When it was sent.
            now: When the reply was there.
            reply: The reply; empty where there is none.
            connection: Over which it was sent; says why there is none.
        """


def poisson_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Arrivals of a Poisson process: seconds after the start, ascending, all below `seconds`."""
    draw = random.Random(seed)
    times = []
    now = draw.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += draw.expovariate(rate)
    return times


def even_times(rate: float, seconds: float) -> list[float]:
    """Arrivals in equal steps: seconds after the start, ascending, all below `seconds`."""
    return [number / rate for number in range(int(rate * seconds))]


class ClosedLoop:
    """Keeps each connection busy with one request.

    Args:
        connections: One per client.
        requests: As the connections send them.
        choose: Says the number of the next request.
        seconds: How long new requests are sent.
        note: Takes each reply.
        grace_s: Seconds to wait for the last replies; None waits for all.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        requests: Sequence[bytes],
        choose: Callable[[], int],
        seconds: float,
        note: Note,
        grace_s: float | None = None,
    ) -> None:
        self._connections = connections
        self._requests = requests
        self._choose = choose
        self._seconds = seconds
        self._note = note
        self._grace_s = grace_s
        self._over = False  # what comes then is of connections that are closed
        self.in_flight = 0

    async def run(self) -> float:
        """Send requests, and wait for the last replies.

        Returns:
            Seconds until the last reply. A connection that fails and does not last ends its client.
        """
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin = time.perf_counter()
        self._end = self._begin + self._seconds
        self._running = len(self._connections)
        for connection in self._connections:
            self._start(connection)
        limit = None if self._grace_s is None else self._seconds + self._grace_s
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._finished, limit)
        self._over = True
        return time.perf_counter() - self._begin

    def stop(self) -> None:
        """Send nothing more."""
        self._end = 0.0

    def _start(self, connection: Connection) -> None:
        request = self._choose()
        sent = time.perf_counter()
        self.in_flight += 1

        def done(reply: bytes) -> None:
            if self._over:
                return
            now = time.perf_counter()
            self.in_flight -= 1
            self._note(request, sent - self._begin, sent - self._begin, now - self._begin, reply, connection)
            if (reply or connection.lasting) and now < self._end:
                self._start(connection)
                return
            self._running -= 1
            if not self._running and not self._finished.done():
                self._finished.set_result(None)

        connection.send(self._requests[request], done)


class DueTimer:
    """Calls back at a time of `time.perf_counter`, to some microseconds; the timers of event loops know milliseconds.

    Args:
        fire: Called on the event loop.
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
        requests: As the connections send them.
        choose: Says the number of the next request.
        times: When each is due, in seconds after the start, ascending.
        note: Takes each reply.
        grace_s: Seconds to wait for the last replies.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        requests: Sequence[bytes],
        choose: Callable[[], int],
        times: Sequence[float],
        note: Note,
        grace_s: float,
    ) -> None:
        self._free = deque(connections)
        self._requests = requests
        self._choose = choose
        self._times = times
        self._note = note
        self._grace_s = grace_s
        self._next = 0
        self._stopped_at: int | None = None
        self._over = False  # what comes then is of connections that are closed
        self.in_flight = 0

    @property
    def unsent(self) -> int:
        """Requests that were due, or are to come, and were not sent."""
        return (len(self._times) if self._stopped_at is None else self._stopped_at) - self._next

    async def run(self) -> float:
        """Send all requests, and wait for the replies.

        Returns:
            Seconds until the last reply.
        """
        if not self._times:
            return 0.0
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer = DueTimer(self._send_what_is_due)
        self._begin = time.perf_counter()
        self._timer.set(self._begin + self._times[0])
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._finished, self._times[-1] + self._grace_s)
        finally:
            self._timer.close()
            self._over = True
        return time.perf_counter() - self._begin

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped_at = self._next
        if not self.in_flight and not self._finished.done():
            self._finished.set_result(None)

    def _send_what_is_due(self) -> None:
        now = time.perf_counter() - self._begin
        while self.unsent and self._times[self._next] <= now:
            if not self._free:
                return  # the next reply frees a connection, and comes here
            self._send(self._times[self._next])
            self._next += 1
            now = time.perf_counter() - self._begin
        if self.unsent:
            self._timer.set(self._begin + self._times[self._next])

    def _send(self, due: float) -> None:
        connection = self._free.popleft()
        request = self._choose()
        sent = time.perf_counter() - self._begin
        self.in_flight += 1

        def done(reply: bytes) -> None:
            if self._over:
                return
            now = time.perf_counter() - self._begin
            self.in_flight -= 1
            self._note(request, due, sent, now, reply, connection)
            if not connection.concurrent:
                self._free.append(connection)
                if len(self._free) == 1:
                    self._send_what_is_due()
            if not self.in_flight and not self.unsent and not self._finished.done():
                self._finished.set_result(None)

        if connection.concurrent:
            self._free.append(connection)
        connection.send(self._requests[request], done)
