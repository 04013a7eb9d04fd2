"""What workers have written to their logs, for who may read that.

Those who own workers say so here, and are asked each time. A worker is asked for by its name: nobody names a file.
"""

from __future__ import annotations

from typing import Protocol


class LogSource(Protocol):
    """Who owns workers with logs on this machine."""

    def log_end(self, worker: str, most_bytes: int) -> bytes | None:
        """The end of what a worker has written to its log.

        Args:
            worker: As `CopyStatistics.worker`.
            most_bytes: Most bytes of it.

        Returns:
            None where it has no such worker, or that has no log yet.

        Raises:
            OSError: The log cannot be read.
        """


class WorkerLogs:
    """The logs of all workers whose owners are known."""

    def __init__(self) -> None:
        self._sources: list[LogSource] = []

    def __repr__(self) -> str:
        return f"<WorkerLogs {self._sources}>"

    def add(self, source: LogSource) -> None:
        """Ask an owner of workers, too; safe to call twice."""
        if source not in self._sources:
            self._sources.append(source)

    def remove(self, source: LogSource) -> None:
        """Forget an owner and its workers; safe to call twice."""
        if source in self._sources:
            self._sources.remove(source)

    def end_of(self, worker: str, most_bytes: int) -> bytes | None:
        """The end of a worker's log; see `LogSource.log_end`."""
        for source in self._sources:
            end = source.log_end(worker, most_bytes)
            if end is not None:
                return end
        return None
