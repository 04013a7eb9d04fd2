"""Rows of a table: figures of several turns of two servers, as medians and as ratios with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.processes import Memory
from benchmarks.turns import Turn

Pair = tuple[Turn, Turn]
"""Neighbouring turns: of the floor, and of the server under test."""


def rounded(value: float, digits: int = 4) -> float:
    """A figure with so many significant digits."""
    return float(f"{value:.{digits}g}")


def spread_of(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most."""
    found = list(values)
    return {
        "median": rounded(statistics.median(found)),
        "min": rounded(min(found)),
        "max": rounded(max(found)),
    }


def row_of(name: str, clients: int, instances: int, pairs: Sequence[Pair], memory: Memory) -> dict[str, Any]:
    """The figures of a row; each ratio is taken between neighbouring turns.

    Args:
        name: Of the workload.
        clients: Closed loops.
        instances: In each request to the server under test.
        pairs: One for each turn.
        memory: Of the server under test, after the last turn.
    """
    floors, ours = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def ratio(figure: Callable[[Turn], float]) -> dict[str, float]:
        return spread_of(figure(own) / figure(base) for base, own in pairs)

    return {
        "row": name,
        "clients": clients,
        "load": ours[0].generator,
        **_medians(ours),
        "instances_per_s": rounded(instances * statistics.median(turn.rate for turn in ours)),
        "cpu_ratio": ratio(lambda turn: turn.cpu_us),
        "rate_ratio": ratio(lambda turn: turn.rate),
        "p50_over_floor_ms": spread_of(own.p50_ms - base.p50_ms for base, own in pairs),
        "floor": _medians(floors),
        "memory_mb": {
            "main": round(memory.main_mb),
            "workers": round(memory.workers_mb),
            "tree": round(memory.tree_mb),
        },
        "checked": sum(turn.checked for pair in pairs for turn in pair),
        "wrong": sum(turn.wrong for pair in pairs for turn in pair),
        "turns": [{"floor": asdict(base), "server": asdict(own)} for base, own in pairs],
    }


def _medians(turns: Sequence[Turn]) -> dict[str, float]:
    figures: dict[str, Callable[[Turn], float]] = {
        "requests_per_s": lambda turn: turn.rate,
        "p50_ms": lambda turn: turn.p50_ms,
        "p99_ms": lambda turn: turn.p99_ms,
        "cpu_us": lambda turn: turn.cpu_us,
    }
    return {name: rounded(statistics.median(map(figure, turns))) for name, figure in figures.items()}


def line_of(row: dict[str, Any]) -> str:
    """A row in one line, for the terminal."""
    cpu, rate = row["cpu_ratio"], row["rate_ratio"]
    wrong = f"  {row['wrong']} WRONG" if row["wrong"] else ""
    return (
        f"{row['row']:46} {row['clients']:3} clients {row['requests_per_s']:>7.0f} req/s "
        f"p50 {row['p50_ms']:>7.3f} p99 {row['p99_ms']:>7.3f} ms  CPU {row['cpu_us']:>6.0f} us = {cpu['median']:.2f} x "
        f"({cpu['min']:.2f}-{cpu['max']:.2f})  rate {rate['median']:.2f} x ({rate['min']:.2f}-{rate['max']:.2f}){wrong}"
    )
