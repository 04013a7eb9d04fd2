"""Processes that user code has started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def children_of(pid: int) -> list[psutil.Process]:
    """The children of a process and theirs, also those that lead a session of their own.

    Returns:
        None of them if it is gone, or if the system does not tell, for want of descriptors for example.
    """
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except (psutil.Error, OSError):
        return []


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes; those that are gone are left out."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_children(pid: int) -> None:
    """Kill the `children_of` a process.

    Args:
        pid: The process; nothing happens if it is gone.
    """
    kill_all(children_of(pid))
