"""How the cost of a request depends on how many wait: 1000 to 10000 are sent at once to a stage that is held up.

A gate, the first request, keeps the only worker busy until all others have been taken in; then the queue is drained.
Every size is repeated until 10000 requests have been sent. Each request has a value of its own, and every reply is
compared with it. CPU per request counts both taking in and draining, of the whole process tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.capacity.figures import median, ratios
from benchmarks.capacity.server import CapacityServer, capacity_server, exchanged, memory_of, message_in
from benchmarks.connections import Connection, connect
from benchmarks.load import tree_cpu_seconds
from benchmarks.messages import is_reply, path_of, request_bytes

_SIZES = (1000, 2500, 5000, 10_000)
_MOST_REQUESTS = 20_000
_SPARE_FILES = 500
_GRPC_CONNECTIONS = 8
_CONNECTING_AT_A_TIME = 64
_QUIET_S = 0.2
_QUIET_CPU_S = 0.03
_LIMIT_S = 120.0
_GATE_POLL_S = 0.01


@dataclass(frozen=True)
class Drained:
    """One queue, or several of the same size together.

    Attributes:
        requests: How many waited.
        taking_cpu_s: CPU seconds until all were taken in.
        draining_cpu_s: CPU seconds from the opening of the gate to the last reply.
        draining_s: Wall-clock seconds of that.
        resident_mb: Memory of the main process when all waited.
        wrong: Wrong replies.
    """

    requests: int
    taking_cpu_s: float
    draining_cpu_s: float
    draining_s: float
    resident_mb: float
    wrong: int

    @property
    def cpu_us(self) -> float:
        """CPU time per request."""
        return 1e6 * (self.taking_cpu_s + self.draining_cpu_s) / self.requests


def measure_long_queue(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure it; prints and returns the rows, one per interface and size. The length of a turn is not used."""
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    rows = []
    for interface in ("grpc", "rest"):
        sizes = sizes_that_fit(interface, most_files)
        (folder / interface).mkdir()
        with capacity_server(folder / interface, 1, _MOST_REQUESTS) as server:
            asyncio.run(_turn(server, interface, sizes[:1]))
            empty_mb = memory_of(server.pid).resident
            taken = [asyncio.run(_turn(server, interface, sizes)) for _ in range(turns)]
        rows += _rows(interface, sizes, taken, empty_mb)
    return rows


def sizes_that_fit(interface: str, most_files: int) -> tuple[int, ...]:
    """The sizes for which there are connections enough: each waiting REST request needs one of its own."""
    most = _SIZES[-1] if interface == "grpc" else most_files - _SPARE_FILES
    return tuple(size for size in _SIZES if size <= most) or (most,)


def _rows(
    interface: str, sizes: Sequence[int], turns: Sequence[dict[int, Drained]], empty_mb: float
) -> list[dict[str, Any]]:
    rows = []
    for size in sizes:
        drained = [turn[size] for turn in turns]
        row: dict[str, Any] = {
            "row": f"{interface} queue of {size} beside {sizes[0]}",
            "cpu_us": median([one.cpu_us for one in drained], 0),
            "draining_cpu_us": median([1e6 * one.draining_cpu_s / one.requests for one in drained], 0),
            "draining_requests_per_s": median([one.requests / one.draining_s for one in drained], 0),
            **ratios("cpu", [turn[size].cpu_us / turn[sizes[0]].cpu_us for turn in turns]),
            "wrong": sum(one.wrong for one in drained),
        }
        rows.append(row)
        low, high = row["cpu_ratio_spread"]
        print(
            f"{row['row']:44}  CPU {row['cpu_us']:g} us/req = {row['cpu_ratio']} x ({low}-{high}), draining "
            f"{row['draining_cpu_us']:g} us/req, {row['draining_requests_per_s']:g} req/s",
            flush=True,
        )
    # Of the longest queue only: what it has taken from the system is used again by shorter ones.
    grown_mb = max(turn[sizes[-1]].resident_mb for turn in turns) - empty_mb
    rows[-1]["kb_per_request"] = round(1024 * grown_mb / sizes[-1], 1)
    print(
        f"{interface}, {sizes[-1]} waiting: {rows[-1]['kb_per_request']} kB of memory per request", flush=True
    )
    return rows


async def _turn(server: CapacityServer, interface: str, sizes: Sequence[int]) -> dict[int, Drained]:
    """All sizes once."""
    count = _GRPC_CONNECTIONS if interface == "grpc" else max(sizes)
    path = path_of(interface, server.servables[0], "gated")
    connections: list[Connection] = []
    try:
        while len(connections) < count + 1:  # one for the gate
            wave = min(_CONNECTING_AT_A_TIME, count + 1 - len(connections))
            opening = (connect(interface, server.addresses[interface], path) for _ in range(wave))
            connections += await asyncio.gather(*opening)
        found = {}
        for size in sizes:
            queues = [await _queue(server, interface, connections, size) for _ in range(max(sizes) // size)]
            found[size] = _together(queues)
        return found
    finally:
        for connection in connections:
            connection.close()


def _together(queues: Sequence[Drained]) -> Drained:
    return Drained(
        sum(queue.requests for queue in queues),
        sum(queue.taking_cpu_s for queue in queues),
        sum(queue.draining_cpu_s for queue in queues),
        sum(queue.draining_s for queue in queues),
        max(queue.resident_mb for queue in queues),
        sum(queue.wrong for queue in queues),
    )


async def _queue(
    server: CapacityServer, interface: str, connections: Sequence[Connection], size: int
) -> Drained:
    """Let requests wait, and drain them."""
    requests = [_request(server, interface, number) for number in range(size)]
    gate_connection, *others = connections
    with _gate(server.folder / server.servables[0] / "gate") as gate:
        gate_reply = _send(gate_connection, _request(server, interface, -1))
        await asyncio.wait_for(gate.reached(), _LIMIT_S)
        before = tree_cpu_seconds(server.pid)
        replies = [_send(others[number % len(others)], request) for number, request in enumerate(requests)]
        await _until_quiet(server.pid)
        waiting, resident_mb = tree_cpu_seconds(server.pid), memory_of(server.pid).resident
        begin = time.perf_counter()
        gate.open()
        answers = await asyncio.wait_for(asyncio.gather(gate_reply, *replies), _LIMIT_S)
        seconds = time.perf_counter() - begin
        after = tree_cpu_seconds(server.pid)
    wrong = sum(
        not is_reply(interface, message_in(interface, answer), [{"y": _value(number)}])
        for number, answer in enumerate(answers, -1)
    )
    return Drained(size, waiting - before, after - waiting, seconds, resident_mb, wrong)


def _value(number: int) -> np.ndarray:
    return np.full((2, 2), number, np.float32)


def _request(server: CapacityServer, interface: str, number: int) -> bytes:
    path = path_of(interface, server.servables[0], "gated")
    body = request_bytes(interface, server.servables[0], "gated", [{"x": _value(number)}])
    return exchanged(interface, server.addresses[interface], path, body)


def _send(connection: Connection, request: bytes) -> asyncio.Future[bytes]:
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection.send(request, answered.set_result)
    return answered


async def _until_quiet(pid: int) -> None:
    """Return once the server hardly computes any more: it has taken in all that was sent."""
    seen = tree_cpu_seconds(pid)
    while True:
        await asyncio.sleep(_QUIET_S)
        now = tree_cpu_seconds(pid)
        if now - seen < _QUIET_CPU_S:
            return
        seen = now


class _Gate:
    """The writing end of the named pipe that a stage reads from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    async def reached(self) -> None:
        """Return once the stage reads from the pipe, and holds up everything."""
        while self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                await asyncio.sleep(_GATE_POLL_S)

    def open(self) -> None:
        """Let the stage go on; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextlib.contextmanager
def _gate(path: Path) -> Iterator[_Gate]:
    os.mkfifo(path)
    gate = _Gate(path)
    try:
        yield gate
    finally:
        gate.open()
        path.unlink()
