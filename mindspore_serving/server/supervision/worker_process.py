"""One worker process as its owner sees it: how it is started, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.channel.call_page import TRACEBACK_SIGNAL, CallPage
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import MoveLog
from mindspore_serving.server.channel.worker_plan import WorkerPlan, WorkerStart, start_file
from mindspore_serving.server.host.child_environment import child_environment
from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.key_pipe import open_key_pipe
from mindspore_serving.server.host.process_tree import children_of, kill_all, kill_children
from mindspore_serving.server.host.settings import memory_idle_s
from mindspore_serving.server.supervision.process_log import LOG_DIRECTORY, ProcessLog, ProcessLogs
from mindspore_serving.server.supervision.worker_end import ended_by, oom_kills

_NOWHERE = Path("/")
_SERVER = Path(__file__).resolve().parents[1]
_SCRIPT = _SERVER / "worker" / "start_worker.py"
_DISTRIBUTED_SCRIPT = _SERVER / "distributed" / "start_distributed_worker.py"


def start_timeout_of(plan: WorkerPlan, timeout_s: float) -> float | None:
    """Seconds after which a worker should be ready; None where the user wants to wait without limit.

    Args:
        plan: Its plan.
        timeout_s: As `settings.start_timeout_s` was when the server was started.
    """
    if plan.agents is None:
        return timeout_s
    return timeout_s + plan.agents.wait_s if plan.agents.wait_s else None


def _shown_arguments(plan: WorkerPlan, number: int) -> list[str]:
    """What lists of processes show of a worker. It reads none of this itself, see `WorkerStart`."""
    arguments = [
        f"--servable_directory={plan.settings.servable_directory}",
        f"--servable_name={plan.servable_name}",
        f"--version_number={plan.version}",
        f"--device_type={plan.device_type}",
        f"--device_id={plan.device_id}",
        f"--worker={number}",
        f"--parent={os.getpid()}",
    ]
    return arguments if plan.has_device else [*arguments, "--device_ids_empty"]


def _not_started(plan: WorkerPlan, directory: Path | None, cause: OSError) -> StartUpError:
    log_file = (directory or _NOWHERE) / LOG_DIRECTORY / plan.log_file
    hint = (
        ". The working directory, where logs are, must be writable and have space" if cause.filename else ""
    )
    return StartUpError(f"Start worker failed: {plan.label}, log {log_file}: {cause}{hint}")


class WorkerProcess:
    """A started worker.

    Args:
        plan: What it loads.
        number: Its number, under which it registers.
        directory: Working directory of the main process when it started; None if it has been removed meanwhile.
        logs: Where its log is opened.

    Attributes:
        channel: Main's end of the connection with it.
        channel_number: Inode of that.

    Raises:
        StartUpError: The log cannot be written, or the process cannot be started.
    """

    def __init__(self, plan: WorkerPlan, number: int, directory: Path | None, logs: ProcessLogs) -> None:
        self.plan = plan
        self.number = number
        self._log_identity = (0, 0)
        self.memory = _shared_memory(plan.slots)
        self.calls: CallPage | None = None
        self._oom_kills = oom_kills()
        self._group_ended = False
        try:
            self.channel, given = socket.socketpair()
        except OSError as cause:
            self.release()
            raise StartUpError(f"Start worker failed: {plan.label}: {cause}") from cause
        self.channel_number = os.fstat(self.channel.fileno()).st_ino
        try:
            if plan.settings.stage_timeout_ms:
                self.calls = CallPage.create()
            self._log = logs.open(plan.log_file)
            self._process = self._start(given.fileno(), directory, self._log)
        except OSError as cause:
            self.channel.close()
            self.release()
            raise _not_started(plan, directory, cause) from cause
        finally:
            given.close()
        descriptor_limit.restore_in(self.pid)
        self._keep_to_cores()

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.number} {self.plan.label} pid {self.pid}>"

    def _keep_to_cores(self) -> None:
        """Bind the process to its cores before it has started a thread."""
        if self.plan.cores:
            try:
                os.sched_setaffinity(self.pid, self.plan.cores)
            except OSError as error:
                log.warning("%s cannot be kept to the cores %s: %s", self.plan.label, self.plan.cores, error)

    @property
    def log_path(self) -> Path:
        """Where its log is."""
        return self._log.path

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def address(self) -> str:
        """How logs call its end of the channel."""
        plan = self.plan
        place = plan.place if plan.has_device else f"version{plan.version}_{plan.place}"
        return f"unix:serving_worker_{plan.servable_name}_{place}_{self.pid}"

    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while the process lives."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the worker."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the worker, and what its user code started, at once."""
        kill_children(self.pid)
        self._process.kill()

    def end_with_traceback(self) -> None:
        """Let a worker whose calls are limited write where its threads are to its log, and end, and what it started."""
        children = children_of(self.pid)
        self._process.send_signal(TRACEBACK_SIGNAL)
        kill_all(children)

    def kill_group(self) -> None:
        """End what a worker that is gone has left: processes of the group that it led. Only the first call counts.

        Later, when nobody is left in the group, its number may be that of other processes.
        """
        if not self._group_ended:
            self._group_ended = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        """How it ended, to follow its name in logs."""
        status = self.exit_status()
        return "lives" if status is None else ended_by(status, self._oom_kills, oom_kills())

    def last_log_lines(self, count: int = 30) -> str:
        """The end of what it has written to its log, for error texts."""
        try:
            lines = self._log.last_lines(count)
        except OSError as error:
            return f"(log not readable: {error})"
        return "\n".join(lines) or "(the log is empty; with GLOG_v=1 it names the models that are loaded)"

    def log_end(self, most_bytes: int) -> bytes:
        """The end of its log, with what was written by processes before it.

        Args:
            most_bytes: Most bytes of it.

        Raises:
            OSError: It cannot be read.
        """
        return self._log.end(most_bytes)

    def log_moved(self) -> MoveLog | None:
        """The message for the worker where its log is another file than it knows of; None where it is not."""
        earlier = self._log_identity
        if self._log.identity == earlier:
            return None
        self._log_identity = self._log.identity
        return MoveLog(os.fsencode(self._log.path).decode("latin-1"), *earlier)

    def release(self) -> None:
        """Give back what main holds for a worker that is gone; safe to call twice."""
        for memory in (self.memory, self.calls):
            if memory is not None:
                memory.close()

    def _given(self, channel: int, key_fd: int | None) -> WorkerStart:
        """What the process reads at its start."""
        return WorkerStart(
            plan=self.plan,
            number=self.number,
            parent=os.getpid(),
            memory_idle_s=memory_idle_s(),
            channel_fd=channel,
            memory_fd=None if self.memory is None else self.memory.fd,
            calls_fd=None if self.calls is None else self.calls.fd,
            key_fd=key_fd,
        )

    def _start(
        self, channel: int, directory: Path | None, process_log: ProcessLog
    ) -> subprocess.Popen[bytes]:
        plan = self.plan
        environment = child_environment(needs_token=plan.agents is not None)
        if plan.has_device:
            environment["SERVING_DEVICE_ID"] = str(plan.device_id)
        with no_forks(), contextlib.ExitStack() as stack:
            output = process_log.output()
            stack.callback(os.close, output)
            self._log_identity = process_log.identity
            key = plan.settings.dec_key
            key_fd = None if key is None else open_key_pipe(key)
            if key_fd is not None:
                stack.callback(os.close, key_fd)
            start = self._given(channel, key_fd)
            start_fd = start_file(start)
            stack.callback(os.close, start_fd)
            inherited = (start_fd, channel, start.memory_fd, start.calls_fd, key_fd)
            return subprocess.Popen(
                [
                    sys.executable,
                    str(_SCRIPT if plan.agents is None else _DISTRIBUTED_SCRIPT),
                    *_shown_arguments(plan, self.number),
                    f"--start_fd={start_fd}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory or _NOWHERE,
                env=environment,
                # A session of its own: Ctrl+C at the terminal reaches main alone, which then ends its workers in order.
                start_new_session=True,
                pass_fds=[descriptor for descriptor in inherited if descriptor is not None],
            )


def _shared_memory(slots: int) -> SharedMemory | None:
    try:
        return SharedMemory.create(slots)
    except OSError as error:
        log.warning("No shared memory (%s): large tensors pass through the socket, which is slower", error)
        return None
