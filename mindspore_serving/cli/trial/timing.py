"""How long something takes, measured again and again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import psutil

from mindspore_serving.cli.trial.jobs import BatchTime

_LEAST_RUNS = 3
_MOST_RUNS = 1000


def resident_mb() -> float:
    """Resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss) / (1 << 20)


def sizes_up_to(most: int, *, fixed: bool = False) -> list[int]:
    """Sizes of batches to measure: powers of two and the largest; the largest alone where no other runs.

    Args:
        most: Largest batch, at least 1.
        fixed: Whether all batches are of this size.
    """
    if fixed:
        return [most]
    sizes = [1 << power for power in range(most.bit_length())]
    return sizes if sizes[-1] == most else [*sizes, most]


def times_of(
    run: Callable[[int], object],
    sizes: Sequence[int],
    seconds: float,
    now: Callable[[], float] = time.perf_counter,
) -> list[BatchTime]:
    """Measure batches of each size.

    Args:
        run: Runs a batch of so many rows.
        sizes: The sizes.
        seconds: How long each is measured; 3 runs at least, 1000 at most.
        now: A monotonic clock, in seconds.
    """
    return [_time_of(run, rows, seconds, now) for rows in sizes]


def _time_of(run: Callable[[int], object], rows: int, seconds: float, now: Callable[[], float]) -> BatchTime:
    run(rows)  # the first one may compile, or take memory
    took: list[float] = []
    end = now() + seconds
    while len(took) < _LEAST_RUNS or (now() < end and len(took) < _MOST_RUNS):
        begin = now()
        run(rows)
        took.append(now() - begin)
    quarter, middle, three_quarters = statistics.quantiles(took, n=4, method="inclusive")
    middle = max(middle, 1e-9)
    return BatchTime(rows, middle * 1e3, rows / middle, (three_quarters - quarter) / 2 / middle)
