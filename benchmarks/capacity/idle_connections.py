"""What 5000 connections that say nothing cost the clients that do: 8 closed loops without and with them in turn."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.capacity.figures import Turn, compared, line_of
from benchmarks.capacity.server import CapacityServer, Question, capacity_server, memory_of
from benchmarks.load import tree_cpu_seconds
from benchmarks.servers import running

_ROOT = Path(__file__).resolve().parents[2]
_CONNECTIONS = 5000
_SPARE_FILES = 500
_CLIENTS = 8
_WARM_UP_S = 0.3
_CLOSED_LIMIT_S = 30.0
_CLOSED_POLL_S = 0.1


def measure_idle_connections(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure it; prints and returns the rows, one per interface."""
    count = connections_that_fit(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with capacity_server(folder, 1) as server:
        return [_row(server, interface, count, turns, seconds) for interface in ("grpc", "rest")]


def connections_that_fit(most_files: int) -> int:
    """5000, or as many as a process may open."""
    return min(_CONNECTIONS, most_files - _SPARE_FILES)


def _row(server: CapacityServer, interface: str, count: int, turns: int, seconds: float) -> dict[str, Any]:
    question = Question(server, interface, server.servables[0], "identity")
    address, path = question.address, question.path
    holder = [sys.executable, "-m", "benchmarks.capacity.idle_holder", interface, address, path, str(count)]
    pairs, open_at_end, kilobytes = [], [], []
    sockets = _sockets_of(server.pid)
    for _ in range(turns):
        base = _turn(server, question, seconds)
        _wait_for_sockets(server.pid, sockets)
        memory = memory_of(server.pid)
        with running([*holder, question.body.hex()], _ROOT):
            kilobytes.append(1024 * (memory_of(server.pid).resident - memory.resident) / count)
            turn = _turn(server, question, seconds)
            open_at_end.append(_sockets_of(server.pid) - sockets)
        pairs.append((base, turn))
        _wait_for_sockets(server.pid, sockets)
    row = {
        "row": f"{interface} identity, {count} idle connections beside none",
        "clients": _CLIENTS,
        **compared(pairs),
        "open_connections": min(open_at_end),
        # What the first turn has taken from the system is used again in the later ones.
        "kb_per_connection": round(max(kilobytes), 1),
    }
    print(
        f"{line_of(row)}  {row['kb_per_connection']} kB per connection, {row['open_connections']} still open",
        flush=True,
    )
    return row


def _turn(server: CapacityServer, question: Question, seconds: float) -> Turn:
    question.load(_CLIENTS, _WARM_UP_S)
    before = tree_cpu_seconds(server.pid)
    load = question.load(_CLIENTS, seconds)
    return Turn(load, 1e6 * (tree_cpu_seconds(server.pid) - before) / load.requests)


def _sockets_of(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return count


def _wait_for_sockets(pid: int, most: int) -> None:
    """Return once the server has closed the connections that are gone.

    Raises:
        RuntimeError: It has not within half a minute.
    """
    deadline = time.monotonic() + _CLOSED_LIMIT_S
    while (left := _sockets_of(pid)) > most:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server still has {left} sockets open, expected {most}")
        time.sleep(_CLOSED_POLL_S)
