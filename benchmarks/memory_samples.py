"""What a server holds in memory, and whether that grows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import children_of

MEGABYTE = 1 << 20
LIMIT_MB = 3.0
"""Growth per 100 thousand requests that counts as none.

One object that every request leaves behind is at least 48 bytes with what holds it, 4.6 MB per 100 thousand.
"""
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system
_SHARED_FILE = "/memfd:mindspore_serving"


@dataclass(frozen=True)
class Sample:
    """Memory of a server between two stretches of requests, in MB (2**20 bytes).

    Attributes:
        requests: Requests answered so far.
        main: Resident memory of the main process, without shared memory.
        workers: Of each worker, likewise.
        shared: Pages of all shared memory between main and workers.
    """

    requests: int
    main: float
    workers: tuple[float, ...]
    shared: float

    @classmethod
    def take(cls, pid: int, requests: int) -> Sample:
        """Look at a server now."""
        workers = tuple(map(_own_megabytes, children_of(pid)))
        return cls(requests, _own_megabytes(pid), workers, shared_megabytes(pid))


class Growth(NamedTuple):
    """What 100 thousand requests add, in MB, and the standard error of that figure."""

    megabytes: float
    error: float

    @property
    def is_flat(self) -> bool:
        """Whether this is no growth, for all that can be said beside the samples' ups and downs."""
        return self.megabytes - 2 * self.error <= LIMIT_MB


def growth_of(samples: Sequence[tuple[int, float]]) -> Growth:
    """Slope of the line that fits (requests, MB) best.

    Raises:
        ValueError: There are fewer than three samples.
    """
    count = len(samples)
    if count < 3:
        raise ValueError(f"a slope and its error need three samples, got {count}")
    middle = sum(requests for requests, _ in samples) / count
    mean = sum(size for _, size in samples) / count
    spread = sum((requests - middle) ** 2 for requests, _ in samples)
    slope = sum((requests - middle) * (size - mean) for requests, size in samples) / spread
    rest = sum((size - mean - slope * (requests - middle)) ** 2 for requests, size in samples)
    return Growth(1e5 * slope, 1e5 * math.sqrt(rest / (count - 2) / spread))


def after_warm_up(samples: Sequence[Sample]) -> list[Sample]:
    """Those after the first quarter of the requests between the first and the last."""
    first, last = samples[0].requests, samples[-1].requests
    return [sample for sample in samples if 4 * (sample.requests - first) >= last - first]


def _own_megabytes(pid: int) -> float:
    """Resident memory of a process but for what it shares with others through memory files, in MB."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("RssAnon:", "RssFile:")) / 1024


def shared_megabytes(pid: int) -> float:
    """Pages of the memory files that a main process has open, one per worker, in MB."""
    # Every mapping that Python makes of a file keeps a descriptor of its own.
    files = {(status.st_dev, status.st_ino): status.st_blocks for status in _shared_files(pid)}
    return sum(blocks * _BLOCK_BYTES for blocks in files.values()) / MEGABYTE


def _shared_files(pid: int) -> Iterator[os.stat_result]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(link.readlink()).startswith(_SHARED_FILE):
                yield link.stat()
        except FileNotFoundError:  # closed since it was listed
            continue
