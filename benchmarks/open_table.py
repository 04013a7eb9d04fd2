"""Latency when requests come as they come: an open loop at a share of the rate that closed loops have reached."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.columns import rounds_of
from benchmarks.goals import judged
from benchmarks.load_process import Job, Kind
from benchmarks.rows import Figures, Record, ending_of, ratios_of, rounded, spread_of
from benchmarks.run import Run, Settings
from benchmarks.targets import Target
from benchmarks.turns import run_job
from benchmarks.workloads import Workload, workloads

_NAMES = (
    "gRPC identity, 1 instance",
    "gRPC add without batch dimension, 1 instance",
    "REST identity, 1 instance",
)
_SHARES = (0.5, 0.8)
_CONNECTIONS = {"grpc": 8, "rest": 256}
_CLIENTS_TO_FIND_THE_RATE = (8, 32, 128)
_LENGTH = (
    2  # times as long as turns of a closed loop: the last thousandth of the latencies needs many requests
)
_FIGURES = ("p50_ms", "p99_ms", "p999_ms", "p99_from_send_ms", "late_p50_ms", "late_p99_ms")

_Seen = dict[str, Any]
_COMPARED: Figures[_Seen] = {
    "cpu": lambda seen: seen["cpu_us"],
    "p50": lambda seen: seen["p50_ms"],
    "p99": lambda seen: seen["p99_ms"],
}


def planned_open(settings: Settings) -> list[tuple[Workload, float]]:
    """Workloads, and shares of their highest rate."""
    found = {workload.name: workload for workload in workloads()}
    return [
        (found[name], share) for name in _NAMES for share in _SHARES if settings.wants(_row_name(name, share))
    ]


def _row_name(name: str, share: float) -> str:
    return f"{name}, open loop at {share} of the rate"


def measure_open(run: Run) -> list[Record]:
    """All rows; prints each. All servers get as many requests, as a share of what the slowest of them can answer."""
    records: list[Record] = []
    for workload, share in planned_open(run.settings):
        targets = run.targets(workload, workload.sample(run.models))
        rate = share * min(_highest_rate(run, workload, target) for target in targets)
        turns = {target.server.name: functools.partial(_turn, run, target, rate) for target in targets}
        rounds = rounds_of(turns, run.settings.turns)
        found = [_record(_row_name(workload.name, share), rate, name, rounds) for name in turns]
        records += found
        run.progress(_lines(found))
    return records


def _highest_rate(run: Run, workload: Workload, target: Target) -> float:
    """Of the rows before; measured now if these were left out."""
    key = workload.name, target.server.name
    if key not in run.best_rates:
        generator = run.generator(workload)
        turns = [
            generator.turn(target, clients, run.settings.seconds) for clients in _CLIENTS_TO_FIND_THE_RATE
        ]
        run.best_rates[key] = max(turn.rate for turn in turns)
    return run.best_rates[key]


def _turn(run: Run, target: Target, rate: float, seed: int) -> _Seen:
    kind = Kind(str(target.plain_file), str(target.expected_file))
    connections = _CONNECTIONS[target.protocol]
    seconds = _LENGTH * run.settings.seconds
    job = Job(
        target.protocol, target.address, target.path, (kind,), connections, seconds, rate=rate, seed=seed
    )
    seen, cpu_s = run_job(target, job)
    answered = max(seen["requests"], 1)
    return {**seen, "requests_per_s": seen["requests"] / seen["seconds"], "cpu_us": 1e6 * cpu_s / answered}


def _record(name: str, rate: float, server: str, rounds: Sequence[Mapping[str, _Seen]]) -> Record:
    turns = [seen[server] for seen in rounds]
    medians = _medians(turns)
    record = {
        "row": name,
        "server": server,
        "load": "own",
        "offered_per_s": round(rate),
        **medians,
        "p99_over_p50": spread_of(seen["p99_ms"] / seen["p50_ms"] for seen in turns),
        **ratios_of(server, rounds, _COMPARED),
        "generator_cores": rounded(
            statistics.median(seen["generator_cpu_s"] / seen["seconds"] for seen in turns), 2
        ),
        "limited_by_generator": generator_limits(medians),
        "wrong": sum(seen["wrong"] for seen in turns),
        "turns": turns,
    }
    return record | {"goals": judged(record)}


def generator_limits(figures: dict[str, float]) -> bool:
    """Whether the lateness of the generator is much of what the row says about the server."""
    return (
        figures["late_p50_ms"] > 0.5 * figures["p50_ms"] or figures["late_p99_ms"] > 0.5 * figures["p99_ms"]
    )


def _medians(turns: Sequence[_Seen]) -> dict[str, float]:
    names = ("requests_per_s", *_FIGURES, "cpu_us")
    return {name: rounded(statistics.median(seen[name] for seen in turns)) for name in names}


def _lines(records: Sequence[Record]) -> str:
    first = records[0]
    return "\n".join([f"{first['row']}, {first['offered_per_s']} req/s offered", *map(_line, records)])


def _line(record: Record) -> str:
    limited = "  LIMITED BY THE GENERATOR" if record["limited_by_generator"] else ""
    return (
        f"    {record['server']:31} p50 {record['p50_ms']:.3f} p99 {record['p99_ms']:.3f} "
        f"p99.9 {record['p999_ms']:.3f} ms  sent late p50 {record['late_p50_ms']:.3f} "
        f"p99 {record['late_p99_ms']:.3f} ms{limited}{ending_of(record)}"
    )
