"""What a process and all that it has started cost: CPU time and resident memory, as Linux counts them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Memory:
    """Resident memory in MB (2**20 bytes); pages that processes share count once for each of them."""

    main_mb: float
    workers_mb: float

    @property
    def tree_mb(self) -> float:
        """Of the whole tree."""
        return self.main_mb + self.workers_mb


def children_of(pid: int) -> list[int]:
    """Process ids of all that a process has started, and they in turn; those that have ended are left out."""
    found = []
    for child in _direct_children(pid):
        found += [child, *children_of(child)]
    return found


def _direct_children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(*_GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(*_GONE):
                found += map(int, (task / "children").read_text().split())
    return found


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process and all that it has started, so far, in seconds.

    The time of a process that has ended counts on: Linux adds it to the parent that has waited for it.
    """
    return sum(map(_cpu_seconds, [pid, *children_of(pid)]))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except _GONE:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def resident_megabytes(pid: int) -> float:
    """Resident memory of one process in MB (2**20 bytes); 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / (1 << 20)
    except _GONE:
        return 0.0


def memory_of(pid: int) -> Memory:
    """Resident memory of a main process, and of its workers together."""
    return Memory(resident_megabytes(pid), sum(map(resident_megabytes, children_of(pid))))
