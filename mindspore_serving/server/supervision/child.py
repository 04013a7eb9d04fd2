"""A started worker as supervision sees it, and who starts it: so much of `worker_process` as tests have fakes for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mindspore_serving.server.channel.call_page import CallPage
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import MoveLog
from mindspore_serving.server.channel.worker_plan import WorkerPlan


class Child(Protocol):
    """One process of a worker: `WorkerProcess`.

    Attributes:
        memory: What it shares with main for large tensors; None where the system has none.
        calls: Where it writes its calls; None where they are not limited.
        channel: Main's end of the connection with it.
        channel_number: Inode of that.
    """

    memory: SharedMemory | None
    calls: CallPage | None
    channel: socket.socket
    channel_number: int

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def address(self) -> str:
        """How logs call its end of the channel."""

    @property
    def log_path(self) -> Path:
        """Where its log is."""

    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while the process lives."""

    def signal(self, number: int) -> None:
        """Send a signal to it."""

    def kill(self) -> None:
        """End it, and what its user code started, at once."""

    def end_with_traceback(self) -> None:
        """Let it write where its threads are to its log, and end."""

    def kill_group(self) -> None:
        """End what is left of its group once it is gone; only the first call counts."""

    def how_it_ended(self) -> str:
        """How it ended, to follow its name in logs."""

    def last_log_lines(self) -> str:
        """The end of its log, for error texts."""

    def log_end(self, most_bytes: int) -> bytes:
        """The end of its log, with what was written by processes before it; raises OSError if that is not readable."""

    def log_moved(self) -> MoveLog | None:
        """The message for it where its log is another file than it knows of; None where it is not."""

    def release(self) -> None:
        """Give back what is held here for it once it is gone; safe to call twice."""


class ChildSource(Protocol):
    """Starts processes of workers: `WorkerProcesses`."""

    def open(self, on_logs_moved: Callable[[], None]) -> None:
        """Get ready to start processes; `on_logs_moved` is called, in any thread, when logs are other files."""

    def start(self, plan: WorkerPlan, number: int) -> Child:
        """Start a process; raises StartUpError if there is none then."""

    def follow_logs(self) -> None:
        """Open logs again that others have moved away; may be called from any thread."""

    def close(self) -> None:
        """Give up what `open` has taken; safe to call twice."""
