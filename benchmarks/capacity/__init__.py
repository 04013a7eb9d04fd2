"""What a server holds: many servables, many idle connections, many waiting requests. Models are stubs."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from benchmarks.capacity.idle_connections import measure_idle_connections
from benchmarks.capacity.long_queue import measure_long_queue
from benchmarks.capacity.many_servables import measure_many_servables

__all__ = ["measure_capacity"]


def measure_capacity(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure all three; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per row.
        seconds: Length of a turn, where its length is not that of a queue.
    """
    _open_as_many_files_as_allowed()
    rows = []
    for measure in (measure_many_servables, measure_idle_connections, measure_long_queue):
        own_folder = folder / measure.__name__
        own_folder.mkdir()
        rows += measure(own_folder, turns, seconds)
    return rows


def _open_as_many_files_as_allowed() -> None:
    """For this process and, as they inherit it, for the servers: each connection is a file at both ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
