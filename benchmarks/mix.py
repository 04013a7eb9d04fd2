"""What large requests do to small ones: nine of ten requests are small, one is an image of 600 kB.

The small requests of the mix stand beside the same ones alone, by as many clients; those of each server, also of the
floor, which has large messages in its way as well. Only our own generator sends different requests from one loop.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.columns import rounds_of
from benchmarks.load_process import Job, Kind
from benchmarks.rows import Figures, Record, ratios_of, rounded
from benchmarks.run import Run, Settings, warm_up
from benchmarks.targets import Target
from benchmarks.turns import closed_job, run_job
from benchmarks.workloads import workloads

_SMALL, _LARGE = "gRPC identity, 1 instance", "gRPC image float32, 1 instance"
_SHARES = (0.9, 0.1)
_CLIENTS = 8
_NAME = "gRPC mix, 90 % identity and 10 % images"

_Figures = dict[str, Any]
_COMPARED: Figures[_Figures] = {"cpu": lambda seen: seen["cpu_us"]}


def planned_mix(settings: Settings) -> int:
    """Number of rows."""
    return int(settings.wants(_NAME))


def measure_mix(run: Run) -> list[Record]:
    """One row; prints it."""
    if not planned_mix(run.settings):
        return []
    found = {workload.name: workload for workload in workloads()}
    small, large = found[_SMALL], found[_LARGE]
    small_sample, large_sample = small.sample(run.models), large.sample(run.models)
    pairs = {
        pair[0].server.name: pair
        for pair in zip(run.targets(small, small_sample), run.targets(large, large_sample), strict=True)
    }
    for targets in pairs.values():
        for target in targets:
            warm_up(target, _CLIENTS)
    turns = {name: functools.partial(_turn, run, pair) for name, pair in pairs.items()}
    rounds = rounds_of(turns, run.settings.turns)
    records = [_record(name, rounds) for name in pairs]
    run.progress("\n".join([f"{_NAME}, {_CLIENTS} clients", *map(_line, records)]))
    return records


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


def _record(server: str, rounds: Sequence[Mapping[str, _Figures]]) -> Record:
    turns = [seen[server] for seen in rounds]
    small = [one["mixed"]["kinds"][0] for one in turns]
    return {
        "row": _NAME,
        "clients": _CLIENTS,
        "server": server,
        "load": "own",
        "requests_per_s": _median([one["mixed"]["requests"] / one["mixed"]["seconds"] for one in turns]),
        "cpu_us": _median([one["cpu_us"] for one in turns]),
        "small_p50_ms": _median([one["p50_ms"] for one in small]),
        "small_p99_ms": _median([one["p99_ms"] for one in small]),
        "alone_p50_ms": _median([one["alone"]["p50_ms"] for one in turns]),
        "alone_p99_ms": _median([one["alone"]["p99_ms"] for one in turns]),
        "large_p50_ms": _median([one["mixed"]["kinds"][1]["p50_ms"] for one in turns]),
        **ratios_of(server, rounds, _COMPARED),
        "wrong": sum(seen[way]["wrong"] for seen in turns for way in ("alone", "mixed")),
        "turns": turns,
    }


def _median(values: list[float]) -> float:
    return rounded(statistics.median(values))


def _line(record: Record) -> str:
    wrong = f"  {record['wrong']} WRONG" if record["wrong"] else ""
    return (
        f"    {record['server']:31} small ones p50 {record['small_p50_ms']} p99 {record['small_p99_ms']} ms, "
        f"alone {record['alone_p50_ms']} and {record['alone_p99_ms']}{wrong}"
    )
