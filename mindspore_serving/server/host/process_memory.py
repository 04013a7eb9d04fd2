"""Resident memory of processes, asked of the system once a second at most."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psutil

KEPT_S = 1.0
"""For so long what was read is given again: reading takes milliseconds where there are many processes."""


def resident_bytes(roots: Collection[int]) -> dict[int, int]:
    """Resident memory of processes, each with its children and theirs.

    Only these processes are looked at, not all of the machine: that would hold up the event loop for milliseconds.

    Args:
        roots: Their ids.

    Returns:
        Bytes by process id. What shared memory they have in common counts for each of them. A process that is gone
        has 0. Children lack where the kernel does not tell of them (CONFIG_PROC_CHILDREN).
    """
    return {root: sum([resident_of(pid) for pid in _with_children(root, roots)]) for root in roots}


def _with_children(root: int, roots: Collection[int]) -> list[int]:
    """A process and those that it has started, and these; not those that are counted by themselves."""
    found = [root]
    for pid in found:  # grows meanwhile
        found += [child for child in _children_of(pid) if child not in found and child not in roots]
    return found


def _children_of(pid: int) -> list[int]:
    """What the threads of a process have started, and is its child."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                children += map(int, (thread / "children").read_bytes().split())
    return children


def resident_of(pid: int) -> int:
    """Resident memory of one process in bytes; 0 where it is gone, or the system does not tell."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, OSError):
        return 0


class ProcessMemory:
    """Remembers for a while how much memory processes have.

    Args:
        now: A monotonic clock, in seconds.
        read: As `resident_bytes`.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        read: Callable[[Collection[int]], dict[int, int]] = resident_bytes,
    ) -> None:
        self._now = now
        self._read = read
        self._read_at = float("-inf")
        self._known: dict[int, int] = {}

    def of(self, pids: Collection[int]) -> Mapping[int, int]:
        """Bytes by process id; this process counts without its children.

        Args:
            pids: The processes.
        """
        now = self._now()
        if now - self._read_at >= KEPT_S or not self._known.keys() >= set(pids):
            own = os.getpid()
            self._known = self._read([pid for pid in pids if pid != own])
            if own in pids:
                self._known[own] = resident_of(own)
            self._read_at = now
        return self._known
