"""One server with 200 servables: its start, its memory, what it does when nobody asks, and the cost of a request.

The cost of a request is that of the main process and of the worker that is asked, beside a server with one servable
in turn. What the main process does at any rate, with each worker every second, is a row of its own, and not counted.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.capacity.figures import Turn, compared, line_of
from benchmarks.capacity.server import CapacityServer, Question, capacity_server, cpu_seconds, memory_of
from benchmarks.load import children_of, tree_cpu_seconds

_SERVABLES = 200
_WORKER_MB = 30
_IDLE_S = 10.0
_WARM_UP_S = 0.3


@dataclass(frozen=True)
class _Idle:
    """A server that has started, and the CPU seconds per second of its main process while nobody asks."""

    server: CapacityServer
    main_cpu: float


def measure_many_servables(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure it; prints and returns the rows."""
    count = servables_that_fit(_available_mb())
    with contextlib.ExitStack() as stack:
        print(f"Starting servers with 1 and with {count} servables ...", flush=True)
        alone, rows = _started(folder / "one", 1, stack)
        many, more_rows = _started(folder / "many", count, stack)
        rows += more_rows
        if alone is None or many is None:
            return rows
        for interface in ("grpc", "rest"):
            for clients in (1, 8):
                rows.append(_dispatch_row(alone, many, interface, clients, turns, seconds))
    return rows


def servables_that_fit(available_mb: float) -> int:
    """200, or as many as half of the memory that is free can hold."""
    return max(1, min(_SERVABLES, int(available_mb / 2 / _WORKER_MB)))


def _started(
    folder: Path, count: int, stack: contextlib.ExitStack
) -> tuple[_Idle | None, list[dict[str, Any]]]:
    """The server and the rows on its start; no server if it does not start."""
    name = f"{count} servable{'s' if count > 1 else ''}"
    folder.mkdir()
    begin = time.perf_counter()
    try:
        server = stack.enter_context(capacity_server(folder, count))
    except RuntimeError as error:
        reason = f"{error} after {time.perf_counter() - begin:.1f} s"
        print(f"{name}: not started: {reason}", flush=True)
        return None, [{"row": f"{name}: start", "failed": reason, "wrong": 0}]
    rows = [_start_row(name, server, time.perf_counter() - begin), _memory_row(name, server)]
    rows.append(_idle_row(name, server))
    return _Idle(server, rows[-1]["main_cpu_ms_per_s"] / 1000), rows


def _start_row(name: str, server: CapacityServer, seconds: float) -> dict[str, Any]:
    count = len(server.servables)
    cpu_s = tree_cpu_seconds(server.pid)
    row = {
        "row": f"{name}: start",
        "seconds": round(seconds, 2),
        "seconds_per_worker": round(seconds / count, 3),
        "cpu_s_per_worker": round(cpu_s / count, 3),
        "wrong": 0,
    }
    print(
        f"{row['row']}: {row['seconds']} s, {row['seconds_per_worker']} s per worker; "
        f"CPU {row['cpu_s_per_worker']} s per worker, main process included",
        flush=True,
    )
    return row


def _memory_row(name: str, server: CapacityServer) -> dict[str, Any]:
    main = memory_of(server.pid)
    workers = [memory_of(pid) for pid in children_of(server.pid)]
    row = {
        "row": f"{name}: memory",
        "main_resident_mb": round(main.resident, 1),
        "main_proportional_mb": round(main.proportional, 1),
        "worker_resident_mb": round(statistics.mean(worker.resident for worker in workers), 1),
        "worker_proportional_mb": round(statistics.mean(worker.proportional for worker in workers), 1),
        "wrong": 0,
    }
    print(
        f"{row['row']}: main {row['main_resident_mb']} MB resident ({row['main_proportional_mb']} proportional), "
        f"a worker {row['worker_resident_mb']} MB ({row['worker_proportional_mb']})",
        flush=True,
    )
    return row


def _idle_row(name: str, server: CapacityServer) -> dict[str, Any]:
    """CPU time while nobody asks."""
    begin, tree, main = time.perf_counter(), tree_cpu_seconds(server.pid), cpu_seconds([server.pid])
    time.sleep(_IDLE_S)
    passed = time.perf_counter() - begin
    row = {
        "row": f"{name}: idle",
        "cpu_ms_per_s": round(1000 * (tree_cpu_seconds(server.pid) - tree) / passed, 1),
        "main_cpu_ms_per_s": round(1000 * (cpu_seconds([server.pid]) - main) / passed, 1),
        "wrong": 0,
    }
    print(
        f"{row['row']}: CPU {row['cpu_ms_per_s']} ms per s, of which main {row['main_cpu_ms_per_s']}",
        flush=True,
    )
    return row


def _dispatch_row(
    alone: _Idle, many: _Idle, interface: str, clients: int, turns: int, seconds: float
) -> dict[str, Any]:
    questions = [
        (idle, Question(idle.server, interface, idle.server.servables[-1], "identity"))
        for idle in (alone, many)
    ]
    pairs = []
    for _ in range(turns):
        base, turn = (_turn(idle, question, clients, seconds) for idle, question in questions)
        pairs.append((base, turn))
    name = f"{interface} identity, {len(many.server.servables)} servables beside 1"
    row = {"row": name, "clients": clients, **compared(pairs)}
    print(line_of(row), flush=True)
    return row


def _turn(idle: _Idle, question: Question, clients: int, seconds: float) -> Turn:
    pids = idle.server.serving_pids(idle.server.servables[-1])
    question.load(clients, _WARM_UP_S)
    before = cpu_seconds(pids)
    load = question.load(clients, seconds)
    cpu_s = cpu_seconds(pids) - before - idle.main_cpu * load.seconds
    return Turn(load, 1e6 * cpu_s / load.requests)


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/meminfo does not say how much memory is available")
