"""Ratios of neighbouring turns, for the tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load import Load


@dataclass(frozen=True)
class Turn:
    """A server under load once."""

    load: Load
    cpu_us: float


def median(values: Sequence[float], digits: int) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def ratios(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Median and spread, under the names that the tables use."""
    return {
        f"{name}_ratio": median(values, 2),
        f"{name}_ratio_spread": [round(min(values), 2), round(max(values), 2)],
    }


def compared(pairs: Sequence[tuple[Turn, Turn]]) -> dict[str, Any]:
    """Figures of the second of each pair, and their ratios to the first's.

    Args:
        pairs: Neighbouring turns of two servers, or of one in two conditions.
    """
    bases, turns = zip(*pairs, strict=True)
    return {
        "requests_per_s": median([turn.load.rate for turn in turns], 0),
        "p50_ms": median([turn.load.p50_ms for turn in turns], 3),
        "p99_ms": median([turn.load.p99_ms for turn in turns], 3),
        "cpu_us": median([turn.cpu_us for turn in turns], 0),
        "base_cpu_us": median([base.cpu_us for base in bases], 0),
        "base_p50_ms": median([base.load.p50_ms for base in bases], 3),
        **ratios("cpu", [turn.cpu_us / base.cpu_us for base, turn in pairs]),
        **ratios("rate", [turn.load.rate / base.load.rate for base, turn in pairs]),
        **ratios("p50", [turn.load.p50_ms / base.load.p50_ms for base, turn in pairs]),
        "wrong": sum(turn.load.wrong for pair in pairs for turn in pair),
    }


def line_of(row: dict[str, Any]) -> str:
    """A compared row in one line."""
    shown = [f"{row['row']:52} {row['clients']:2} clients {row['requests_per_s']:>6.0f} req/s"]
    for name, figure, unit in (("cpu", "cpu_us", "us/req"), ("p50", "p50_ms", "ms")):
        low, high = row[f"{name}_ratio_spread"]
        shown.append(f"{name} {row[figure]:g} {unit} = {row[f'{name}_ratio']} x ({low}-{high})")
    low, high = row["rate_ratio_spread"]
    shown.append(f"rate {row['rate_ratio']} x ({low}-{high})")
    return "  ".join(shown)
