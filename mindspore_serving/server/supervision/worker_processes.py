"""What all worker processes share: the working directory in which they start, and their logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.host.settings import log_to_stdout
from mindspore_serving.server.supervision.log_copy import LogCopy
from mindspore_serving.server.supervision.process_log import LOG_DIRECTORY, ProcessLogs
from mindspore_serving.server.supervision.worker_process import WorkerProcess
from mindspore_serving.server.supervision.working_directory import WorkingDirectory


class WorkerProcesses:
    """Starts worker processes where the main process was at `open`, wherever that directory is by now (ADR 35)."""

    def __init__(self) -> None:
        self._directory: WorkingDirectory | None = None
        self._logs: ProcessLogs | None = None

    def __repr__(self) -> str:
        return f"<WorkerProcesses in {self._directory}, {self._logs}>"

    def open(self, on_logs_moved: Callable[[], None]) -> None:
        """Remember the working directory; to be called before the first `start`.

        Args:
            on_logs_moved: Called, in a thread of the logs, after `follow_logs` has found logs in another file.

        Raises:
            StartUpError: The working directory cannot be opened.
        """
        try:
            self._directory = WorkingDirectory()
        except OSError as cause:
            raise StartUpError(
                f"Serving Error: Master server start failed, the working directory cannot be opened: {cause}"
            ) from cause
        copy = LogCopy() if log_to_stdout() else None
        self._logs = ProcessLogs(self._log_folder, log.rotation(), on_logs_moved, copy)

    def start(self, plan: WorkerPlan, number: int) -> WorkerProcess:
        """Start a process.

        Args:
            plan: What it loads.
            number: Under which it registers.

        Raises:
            StartUpError: The log cannot be written, or the process cannot be started.
        """
        assert self._directory is not None and self._logs is not None
        return WorkerProcess(plan, number, self._directory.path(), self._logs)

    def follow_logs(self) -> None:
        """Open logs again that others have moved away; may be called from any thread."""
        if self._logs is not None:
            self._logs.follow()

    def close(self) -> None:
        """Give the logs and the directory up; safe to call twice."""
        logs, self._logs = self._logs, None
        if logs is not None:
            logs.close()
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close()

    def _log_folder(self) -> Path | None:
        """Where logs are now; None if the working directory has been removed."""
        directory = None if self._directory is None else self._directory.path()
        return directory / LOG_DIRECTORY if directory is not None else None
