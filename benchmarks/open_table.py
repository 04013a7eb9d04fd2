"""Latency when requests come as they come: an open loop at a share of the rate that closed loops have reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.load_process import Job, Kind
from benchmarks.rows import rounded, spread_of
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


def planned_open(settings: Settings) -> list[tuple[Workload, float]]:
    """Workloads, and shares of their highest rate."""
    found = {workload.name: workload for workload in workloads()}
    return [
        (found[name], share) for name in _NAMES for share in _SHARES if settings.wants(_row_name(name, share))
    ]


def _row_name(name: str, share: float) -> str:
    return f"{name}, open loop at {share} of the rate"


def measure_open(run: Run) -> list[dict[str, Any]]:
    """All rows; prints each. The floor gets as many requests as the server under test, not a share of its own rate."""
    rows = []
    for workload, share in planned_open(run.settings):
        sample = workload.sample(run.models)
        target, floor = run.target(workload, sample), run.echo_target(workload, sample)
        rate = share * _highest_rate(run, workload, target)
        pairs = []
        for number in range(run.settings.turns):
            pairs.append((_turn(run, floor, rate, number), _turn(run, target, rate, number)))
        row = _row(_row_name(workload.name, share), rate, pairs)
        rows.append(row | {"interface": workload.interface, "floor_name": floor.server.name})
        run.progress(_line(row))
    return rows


def _highest_rate(run: Run, workload: Workload, target: Target) -> float:
    """Of the rows before; measured now if these were left out."""
    if workload.name not in run.best_rates:
        generator = run.generator(workload)
        turns = [
            generator.turn(target, clients, run.settings.seconds) for clients in _CLIENTS_TO_FIND_THE_RATE
        ]
        run.best_rates[workload.name] = max(turn.rate for turn in turns)
    return run.best_rates[workload.name]


def _turn(run: Run, target: Target, rate: float, seed: int) -> dict[str, Any]:
    kind = Kind(str(target.plain_file), str(target.expected_file))
    connections = _CONNECTIONS[target.protocol]
    seconds = _LENGTH * run.settings.seconds
    job = Job(
        target.protocol, target.address, target.path, (kind,), connections, seconds, rate=rate, seed=seed
    )
    seen, cpu_s = run_job(target, job)
    answered = max(seen["requests"], 1)
    return {**seen, "requests_per_s": seen["requests"] / seen["seconds"], "cpu_us": 1e6 * cpu_s / answered}


def _row(name: str, rate: float, pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    floors, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    own = _medians(ours)
    return {
        "row": name,
        "load": "own",
        "offered_per_s": round(rate),
        **own,
        "p99_over_p50": spread_of(seen["p99_ms"] / seen["p50_ms"] for seen in ours),
        "p50_over_floor_ms": spread_of(seen["p50_ms"] - base["p50_ms"] for base, seen in pairs),
        "generator_cores": rounded(
            statistics.median(seen["generator_cpu_s"] / seen["seconds"] for seen in ours), 2
        ),
        "limited_by_generator": generator_limits(own),
        "floor": _medians(floors),
        "wrong": sum(seen["wrong"] for pair in pairs for seen in pair),
        "turns": [{"floor": base, "server": seen} for base, seen in pairs],
    }


def generator_limits(figures: dict[str, float]) -> bool:
    """Whether the lateness of the generator is much of what the row says about the server."""
    return (
        figures["late_p50_ms"] > 0.5 * figures["p50_ms"] or figures["late_p99_ms"] > 0.5 * figures["p99_ms"]
    )


def _medians(turns: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = ("requests_per_s", *_FIGURES, "cpu_us")
    return {name: rounded(statistics.median(seen[name] for seen in turns)) for name in names}


def _line(row: dict[str, Any]) -> str:
    limited = "  LIMITED BY THE GENERATOR" if row["limited_by_generator"] else ""
    wrong = f"  {row['wrong']} WRONG" if row["wrong"] else ""
    return (
        f"{row['row']:60} {row['offered_per_s']:>6} req/s offered  p50 {row['p50_ms']:.3f} p99 {row['p99_ms']:.3f} "
        f"p99.9 {row['p999_ms']:.3f} ms (floor {row['floor']['p50_ms']:.3f} {row['floor']['p99_ms']:.3f} "
        f"{row['floor']['p999_ms']:.3f})  sent late p50 {row['late_p50_ms']:.3f} p99 {row['late_p99_ms']:.3f} ms"
        f"{limited}{wrong}"
    )
