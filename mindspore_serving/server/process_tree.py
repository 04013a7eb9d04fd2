"""Processes that user code has started."""

from __future__ import annotations

import contextlib

import psutil


def kill_children(pid: int) -> None:
    """Kill the children of a process and theirs, also those that lead a session of their own.

    Args:
        pid: The process; nothing happens if it is gone.
    """
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
