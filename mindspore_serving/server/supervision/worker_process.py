"""One worker process as its owner sees it: how it is started, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.options import DEFAULT_SLOTS, Limits
from mindspore_serving.server.channel.call_page import TRACEBACK_SIGNAL, CallPage
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import MoveLog
from mindspore_serving.server.dispatch.copy import WAITING_SLOTS
from mindspore_serving.server.host.child_environment import child_environment
from mindspore_serving.server.host.descriptor_limit import descriptor_limit
from mindspore_serving.server.host.forked_child import no_forks
from mindspore_serving.server.host.key_pipe import key_for_child
from mindspore_serving.server.host.process_tree import children_of, kill_all, kill_children
from mindspore_serving.server.host.settings import memory_idle_s, start_timeout_s
from mindspore_serving.server.supervision.process_log import LOG_DIRECTORY, ProcessLog, ProcessLogs
from mindspore_serving.server.supervision.worker_end import ended_by, oom_kills

CALL_SLOTS = 4
"""Calls of models under way per worker that has none of its own."""
_NOWHERE = Path("/")
_SERVER = Path(__file__).resolve().parents[1]
_SCRIPT = _SERVER / "worker" / "start_worker.py"
_DISTRIBUTED_SCRIPT = _SERVER / "distributed" / "start_distributed_worker.py"


@dataclass(frozen=True, slots=True)
class AgentsPlan:
    """Where a distributed worker finds the agents that hold its model.

    Attributes:
        rank_table: Path of the rank table.
        address: `ip:port` on which agents join.
        wait_s: Seconds to wait for them; 0 for without limit.
    """

    rank_table: str
    address: str
    wait_s: int


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker is to load, and where.

    Attributes:
        servable_directory: Directory that holds the servable's folder.
        servable_name: Servable name.
        version: Version number, at least 1.
        device_type: `ascend`, `gpu` or `cpu`.
        device_id: Number of the device; for a worker that was not given a device, its number among those.
        has_device: Whether the user named the device.
        remote_models: Whether its models are held by other workers, which it reaches through the main process.
        serves_calls: Whether it runs models for such workers.
        enable_lite: Whether MindSpore Lite runs its models.
        dec_key: Key of encrypted models; None for plain ones.
        dec_mode: `AES-GCM` or `AES-CBC`.
        agents: Who holds its model; None for a worker that loads models itself.
        batch_slots: Most batches under way of methods that do not wait for others.
        batch_delay_s: How long a batch that is not full may wait for more.
        stage_timeout_ms: Milliseconds that one call of a function or model may take; 0 for any time.
        limits: Most that may be unanswered of its servable, beside the limits of the server.
        cores: CPU cores that its threads keep to; empty for any.
    """

    servable_directory: str
    servable_name: str
    version: int
    device_type: str
    device_id: int
    has_device: bool
    remote_models: bool = False
    serves_calls: bool = False
    enable_lite: bool = False
    dec_key: bytes | None = field(default=None, repr=False)
    dec_mode: str = "AES-GCM"
    agents: AgentsPlan | None = None
    batch_slots: int = DEFAULT_SLOTS
    batch_delay_s: float = 0.0
    stage_timeout_ms: float = 0
    limits: Limits = field(default_factory=Limits)
    cores: tuple[int, ...] = ()

    @property
    def start_timeout_s(self) -> float | None:
        """Seconds after which it should be ready; None where the user wants to wait without limit."""
        if self.agents is None:
            return start_timeout_s()
        return start_timeout_s() + self.agents.wait_s if self.agents.wait_s else None

    @property
    def slots(self) -> int:
        """Slots of its shared memory: for batches, and for its own calls of models."""
        return self.first_call_slot + (CALL_SLOTS if self.remote_models else 0)

    @property
    def first_call_slot(self) -> int:
        """Slots below this one are for batches, and handed out by the main process; the worker hands out the others."""
        return self.batch_slots + WAITING_SLOTS

    @property
    def place(self) -> str:
        """`device0`, or `extra0` for a worker without a device of its own."""
        return f"{'device' if self.has_device else 'extra'}{self.device_id}"

    @property
    def servable(self) -> tuple[str, int]:
        """Name and version of its servable."""
        return self.servable_name, self.version

    @property
    def label(self) -> str:
        """How logs call the worker."""
        return f"servable {self.servable_name} version {self.version} {self.place}"

    @property
    def log_file(self) -> str:
        """File name of its log."""
        return f"log_{self.servable_name}_{self.place}_version{self.version}.log"

    def failure(self, reason: str) -> str:
        """How a failed start of this worker reads."""
        if self.has_device:
            return f"{{servable name:{self.servable_name}, device id:{self.device_id}, <{reason}>}}"
        return (
            f"{{servable:{self.servable_name}, version:{self.version}, extra:{self.device_id}, <{reason}>}}"
        )


def _arguments_of(plan: WorkerPlan, number: int) -> list[str]:
    """What a worker is told on its command line, but for descriptors that it inherits."""
    arguments = [
        f"--servable_directory={plan.servable_directory}",
        f"--servable_name={plan.servable_name}",
        f"--version_number={plan.version}",
        f"--device_type={plan.device_type}",
        f"--device_id={plan.device_id}",
        f"--worker={number}",
        f"--parent={os.getpid()}",
        f"--slots={plan.slots}",
    ]
    if not plan.has_device:
        arguments.append("--device_ids_empty")
    if plan.remote_models:
        arguments += [f"--first_call_slot={plan.first_call_slot}", f"--memory_idle_s={memory_idle_s():g}"]
    if plan.serves_calls:
        arguments.append("--serves_calls")
    if plan.enable_lite:
        arguments.append("--enable_lite")
    if plan.agents is not None:
        arguments += [
            f"--rank_table={plan.agents.rank_table}",
            f"--distributed_address={plan.agents.address}",
            f"--wait_agents={plan.agents.wait_s}",
        ]
    return arguments


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
        arguments = _arguments_of(plan, number)
        if self.memory is not None:
            arguments.append(f"--memory_fd={self.memory.fd}")
        try:
            self.channel, given = socket.socketpair()
        except OSError as cause:
            self.release()
            raise StartUpError(f"Start worker failed: {plan.label}: {cause}") from cause
        self.channel_number = os.fstat(self.channel.fileno()).st_ino
        arguments.append(f"--channel_fd={given.fileno()}")
        try:
            if plan.stage_timeout_ms:
                self.calls = CallPage.create()
                arguments += [
                    f"--calls_fd={self.calls.fd}",
                    f"--stage_timeout_ms={plan.stage_timeout_ms}",
                ]
            self._log = logs.open(plan.log_file)
            self._process = self._start(arguments, given.fileno(), directory, self._log)
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

        Later, when nobody is left in the group, its number may be that of strangers.
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

    def log_moved(self) -> MoveLog | None:
        """What the worker is to be told where its log is another file than it has been told; None where not."""
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

    def _start(
        self, arguments: list[str], channel: int, directory: Path | None, process_log: ProcessLog
    ) -> subprocess.Popen[bytes]:
        environment = child_environment(needs_token=self.plan.agents is not None)
        if self.plan.has_device:
            environment["SERVING_DEVICE_ID"] = str(self.plan.device_id)
        inherited = [memory.fd for memory in (self.memory, self.calls) if memory is not None]
        with no_forks(), contextlib.ExitStack() as stack:
            output = process_log.output()
            stack.callback(os.close, output)
            self._log_identity = process_log.identity
            key_arguments, key_pipe = stack.enter_context(
                key_for_child(self.plan.dec_key, self.plan.dec_mode)
            )
            return subprocess.Popen(
                [
                    sys.executable,
                    str(_SCRIPT if self.plan.agents is None else _DISTRIBUTED_SCRIPT),
                    *arguments,
                    *key_arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory or _NOWHERE,
                env=environment,
                # A session of its own: Ctrl+C at the terminal reaches main alone, which then ends its workers in order.
                start_new_session=True,
                pass_fds=[channel, *inherited, *key_pipe],
            )


def _shared_memory(slots: int) -> SharedMemory | None:
    try:
        return SharedMemory.create(slots)
    except OSError as error:
        log.warning("No shared memory (%s): large tensors pass through the socket, which is slower", error)
        return None
