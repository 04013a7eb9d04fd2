"""What large requests do to small ones: nine of ten requests are small, one is an image of 600 kB.

The small requests of the mix stand beside the same ones alone, by as many clients; so do those of the floor, which
has large messages in its way as well. Only our own generator sends different requests from one loop.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.load_process import Job, Kind
from benchmarks.rows import rounded, spread_of
from benchmarks.run import Run, Settings, warm_up
from benchmarks.targets import Target
from benchmarks.turns import closed_job, run_job
from benchmarks.workloads import workloads

_SMALL, _LARGE = "gRPC identity, 1 instance", "gRPC image float32, 1 instance"
_SHARES = (0.9, 0.1)
_CLIENTS = 8
_NAME = "gRPC mix, 90 % identity and 10 % images"

_Figures = dict[str, Any]


def planned_mix(settings: Settings) -> int:
    """Number of rows."""
    return int(settings.wants(_NAME))


def measure_mix(run: Run) -> list[dict[str, Any]]:
    """One row; prints it."""
    if not planned_mix(run.settings):
        return []
    found = {workload.name: workload for workload in workloads()}
    small, large = found[_SMALL], found[_LARGE]
    small_sample, large_sample = small.sample(run.models), large.sample(run.models)
    pairs = {
        "floor": (run.echo_target(small, small_sample), run.echo_target(large, large_sample)),
        "server": (run.target(small, small_sample), run.target(large, large_sample)),
    }
    for targets in pairs.values():
        for target in targets:
            warm_up(target, _CLIENTS)
    turns = [
        {name: _turn(run, pair, seed) for name, pair in pairs.items()} for seed in range(run.settings.turns)
    ]
    row = _row(turns)
    run.progress(_line(row))
    return [row]


def _turn(run: Run, pair: tuple[Target, Target], seed: int) -> _Figures:
    small, seconds = pair[0], run.settings.seconds
    alone, _ = run_job(small, closed_job(small, _CLIENTS, seconds))
    kinds = tuple(
        Kind(str(target.plain_file), str(target.expected_file), share)
        for target, share in zip(pair, _SHARES, strict=True)
    )
    job = Job(small.protocol, small.address, small.path, kinds, _CLIENTS, seconds, seed=seed)
    mixed, cpu_s = run_job(small, job)
    return {"alone": alone, "mixed": mixed, "cpu_us": 1e6 * cpu_s / mixed["requests"]}


def _row(turns: list[dict[str, _Figures]]) -> dict[str, Any]:
    def figures(server: str) -> dict[str, float]:
        seen = [turn[server] for turn in turns]
        small = [one["mixed"]["kinds"][0] for one in seen]
        return {
            "requests_per_s": _median([one["mixed"]["requests"] / one["mixed"]["seconds"] for one in seen]),
            "cpu_us": _median([one["cpu_us"] for one in seen]),
            "small_p50_ms": _median([one["p50_ms"] for one in small]),
            "small_p99_ms": _median([one["p99_ms"] for one in small]),
            "alone_p50_ms": _median([one["alone"]["p50_ms"] for one in seen]),
            "alone_p99_ms": _median([one["alone"]["p99_ms"] for one in seen]),
            "large_p50_ms": _median([one["mixed"]["kinds"][1]["p50_ms"] for one in seen]),
        }

    return {
        "row": _NAME,
        "clients": _CLIENTS,
        "load": "own",
        **figures("server"),
        "cpu_ratio": spread_of(turn["server"]["cpu_us"] / turn["floor"]["cpu_us"] for turn in turns),
        "floor": figures("floor"),
        "wrong": sum(
            seen[way]["wrong"] for turn in turns for seen in turn.values() for way in ("alone", "mixed")
        ),
        "turns": turns,
    }


def _median(values: list[float]) -> float:
    return rounded(statistics.median(values))


def _line(row: dict[str, Any]) -> str:
    floor = row["floor"]
    wrong = f"  {row['wrong']} WRONG" if row["wrong"] else ""
    return (
        f"{row['row']:46} {row['clients']:3} clients  small ones p50 {row['small_p50_ms']} "
        f"p99 {row['small_p99_ms']} ms, alone {row['alone_p50_ms']} and {row['alone_p99_ms']}; "
        f"floor {floor['small_p50_ms']} and {floor['small_p99_ms']}, "
        f"alone {floor['alone_p50_ms']} and {floor['alone_p99_ms']}{wrong}"
    )
