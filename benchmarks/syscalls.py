"""What a request costs in the kernel: system calls of the main process and of the workers, and context switches.

Each server is loaded by our own generator, which compares every reply. strace and perf attach to it in turns of their
own, when the load is about to begin, and leave it with the last reply. strace slows a server down. So more requests
wait when the server looks, and it takes more of them at once; and it goes to sleep more often. What perf counts of all
system calls (`undisturbed_calls`) it counts without stopping anybody.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.columns import rounds_of
from benchmarks.processes import children_of
from benchmarks.rows import Record, rounded, spread_of
from benchmarks.run import Run, Settings, starting
from benchmarks.targets import Target
from benchmarks.tracing import HOW_TO_INSTALL, Calls, PerfStat, Strace, countable, is_installed
from benchmarks.turns import closed_job, run_job
from benchmarks.workloads import Workload, workloads

_NAMES = ("gRPC identity, 1 instance", "REST identity, 1 instance")
_CLIENTS = (1, 8, 64)
_SHOWN = 8
_LEAST_SHOWN = 0.005
"""Calls for each request; fewer are left out of the lists."""
_EVENTS = {
    "raw_syscalls:sys_enter": "undisturbed_calls",
    "context-switches": "context_switches",
    "instructions:u": "instructions",
}
"""What perf counts, and what it is called in the table."""


@dataclass(frozen=True)
class Seen:
    """What one turn has shown of one server.

    Attributes:
        requests: While strace was attached.
        calls: By process, `main` or `workers`.
        counted: Requests while perf was attached.
        events: Counts of perf, by process.
        wrong: Replies, in both loads.
    """

    requests: int
    calls: dict[str, Calls]
    counted: int
    events: dict[str, dict[str, int]]
    wrong: int


def measure_syscalls(folder: Path, settings: Settings) -> list[Record]:
    """Load and watch each server; prints and returns the table."""
    if not is_installed("strace"):
        sys.exit(f"strace is not installed (Debian: {HOW_TO_INSTALL['strace']}).")
    events = countable(tuple(_EVENTS))
    if missing := [event for event in _EVENTS if event not in events]:
        print(f"perf (Debian: {HOW_TO_INSTALL['perf']}) cannot count here: {', '.join(missing)}.")
    found = [
        workload for workload in workloads() if workload.name in _NAMES and settings.wants(workload.name)
    ]
    with starting(folder, settings, len(found) * len(_CLIENTS)) as run:
        return [
            record
            for workload in found
            for clients in _CLIENTS
            for record in _row(run, workload, clients, events)
        ]


def _row(run: Run, workload: Workload, clients: int, events: Sequence[str]) -> list[Record]:
    targets = run.targets(workload, workload.sample(run.models))
    turns = {target.server.name: functools.partial(_turn, run, target, clients, events) for target in targets}
    rounds = rounds_of(turns, run.settings.turns)
    records = [
        record_of(workload.name, clients, server, process, [seen[server] for seen in rounds])
        for server in turns
        for process in rounds[0][server].calls
    ]
    run.progress("\n".join([f"{workload.name}, {clients} clients", *map(_line, records)]))
    return records


def _turn(run: Run, target: Target, clients: int, events: Sequence[str], _: int) -> Seen:
    pid = target.server.pid
    processes = {"main": [pid], "workers": children_of(pid)}
    watched = {name: pids for name, pids in processes.items() if pids}
    job = closed_job(target, clients, run.settings.seconds)
    straces = {name: Strace(pids) for name, pids in watched.items()}
    traced = run_job(target, job, _all_of(list(straces.values())))[0]
    perfs = {name: PerfStat(pids, events) for name, pids in watched.items() if events}
    counted = run_job(target, job, _all_of(list(perfs.values())))[0]
    return Seen(
        traced["requests"],
        {name: strace.calls for name, strace in straces.items()},
        counted["requests"],
        {name: perf.counts for name, perf in perfs.items()},
        traced["wrong"] + counted["wrong"],
    )


@contextlib.contextmanager
def _all_of(managers: Sequence[contextlib.AbstractContextManager[object]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


def record_of(name: str, clients: int, server: str, process: str, turns: Sequence[Seen]) -> Record:
    """What the turns have shown of one process, or of the workers together, for each request.

    Args:
        name: Of the workload.
        clients: Closed loops.
        server: Whose process it is.
        process: `main` or `workers`.
        turns: Of this server.
    """
    requests = sum(seen.requests for seen in turns)
    by_call: Counter[str] = Counter()
    by_thread: Counter[str] = Counter()
    for seen in turns:
        for (thread, call), count in seen.calls[process].items():
            by_call[call] += count
            by_thread[thread] += count
    return {
        "row": name,
        "clients": clients,
        "server": server,
        "process": process,
        "calls_per_request": spread_of(seen.calls[process].total() / seen.requests for seen in turns),
        "by_call": _most(by_call, requests),
        "by_thread": _most(by_thread, requests),
        **_events(process, turns),
        "requests": requests,
        "wrong": sum(seen.wrong for seen in turns) if process == "main" else 0,
    }


def _events(process: str, turns: Sequence[Seen]) -> dict[str, Any]:
    """Of perf, for each request; without those that could not be counted."""
    return {
        f"{title}_per_request": spread_of(seen.events[process][event] / seen.counted for seen in turns)
        for event, title in _EVENTS.items()
        if all(event in seen.events.get(process, {}) for seen in turns)
    }


def _most(counts: Counter[str], requests: int) -> list[str]:
    """The largest ones, such as `recvmsg 2.01`."""
    shares = [(name, count / requests) for name, count in counts.most_common(_SHOWN)]
    return [f"{name} {rounded(share, 3):g}" for name, share in shares if share >= _LEAST_SHOWN]


def _line(record: Record) -> str:
    counted = {
        title: record[f"{title}_per_request"]
        for title in _EVENTS.values()
        if f"{title}_per_request" in record
    }
    more = "".join(f"; {spread['median']:g} {title.replace('_', ' ')}" for title, spread in counted.items())
    wrong = f"  {record['wrong']} WRONG" if record["wrong"] else ""
    return (
        f"    {record['server']:31} {record['process']:7} {record['calls_per_request']['median']:>6g} calls each: "
        f"{', '.join(record['by_call'])}{more}{wrong}"
    )
