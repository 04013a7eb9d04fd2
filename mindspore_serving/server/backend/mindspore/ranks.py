"""The collective communication that the ranks of a distributed model join before they load their parts of it.

Where MindSpore has no rank table to read, on CPU and GPU, a scheduler process brings the ranks together.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.mindspore.exclusive_turn import TURN
from mindspore_serving.server.backend.mindspore.runtime import reason_of, start_mindspore
from mindspore_serving.server.host.child_environment import child_environment
from mindspore_serving.server.host.process_title import show_as

_LIBRARIES = {"ascend": "hccl", "gpu": "nccl", "cpu": "mccl"}
_SCRIPT = Path(__file__).with_name("start_scheduler.py")
_LISTENS_WITHIN_S = 60.0
_POLL_S = 0.05
_RANK_TABLE_VARIABLES = ("RANK_TABLE_FILE", "MINDSPORE_HCCL_CONFIG_PATH")
_RANK_DEFAULTS = {
    # Seconds without the scheduler after which a rank ends itself, with exit code 0 and without a word; 20 by default.
    # MS_DISABLE_HEARTBEAT would be the name for it, but with it ranks hang while they join.
    "MS_HEARTBEAT_RETRY_TIMEOUT": "1000000",
    # Seconds that a rank waits for the others in an operation on CPU. They load their parts at different speed, and
    # MindSpore would give up after half a minute.
    "MS_CPU_COMM_OP_TIMEOUT": "1800",
    # Seconds between attempts to reach the scheduler, which listens by now; several by default.
    "MS_RETRY_INTERVAL_LOWER": "1",
    "MS_RETRY_INTERVAL_UPPER": "1",
}
_CLUSTER_VARIABLES = (
    "MS_ROLE",
    "MS_NODE_ID",
    "MS_WORKER_NUM",
    "MS_WORKER_IP",
    "MS_SCHED_HOST",
    "MS_SCHED_PORT",
)


def needs_scheduler(device_type: str) -> bool:
    """Whether ranks come together through a scheduler, which the agent of rank 0 starts.

    Args:
        device_type: `ascend`, `gpu` or `cpu`; on Ascend the ranks read a rank table.
    """
    return device_type in ("cpu", "gpu")


class Scheduler:
    """The scheduler of a group of ranks, a child process that ends with this one at the latest.

    Returns when it listens, which takes about as long as the import of MindSpore.

    Args:
        ip: Address of this machine that all ranks reach.
        rank_size: Number of ranks.

    Raises:
        StartUpError: The process cannot be started, or does not listen.
    """

    def __init__(self, ip: str, rank_size: int) -> None:
        self.address = f"{ip}:{_free_port(ip)}"
        self._arguments = [f"--address={self.address}", f"--rank_size={rank_size}", f"--parent={os.getpid()}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._started = threading.Event()
        # The kernel ends the scheduler with the thread that started it, and the caller's may be a short one.
        threading.Thread(target=self._keep, name="scheduler", daemon=True).start()
        self._started.wait()
        try:
            self._wait_until_it_listens()
        except StartUpError:
            self.stop()
            raise

    def __repr__(self) -> str:
        return f"<Scheduler {self.address} pid {self.pid}>"

    @property
    def pid(self) -> int:
        """Process id; 0 where the process could not be started."""
        return self._process.pid if self._process else 0

    def stop(self) -> None:
        """End the scheduler; safe to call twice. The ranks should have ended before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        """Body of the thread that starts the process, and lasts as long."""
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(_SCRIPT), *self._arguments],
                stdin=subprocess.DEVNULL,
                env=child_environment(),
                start_new_session=True,  # Ctrl+C at the terminal is for the agents, which need it to the end
            )
        except OSError as cause:
            self._failure = cause
            return
        finally:
            self._started.set()
        self._process.wait()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + _LISTENS_WITHIN_S
        while not self._listens():
            if self._process is None or self._process.poll() is not None:
                status = self._failure or f"exit code {self._process and self._process.returncode}"
                raise StartUpError(f"Start scheduler on {self.address} failed: {status}")
            if time.monotonic() > deadline:
                raise StartUpError(
                    f"Scheduler on {self.address} does not listen within {_LISTENS_WITHIN_S:.0f} s"
                )
            time.sleep(_POLL_S)

    def _listens(self) -> bool:
        """Whether the port is in use by this scheduler, and not by another process that was quicker."""
        port = int(self.address.rpartition(":")[2])
        try:
            sockets = psutil.Process(self.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(entry.laddr[1] == port and entry.status == psutil.CONN_LISTEN for entry in sockets)


def schedule(address: str, rank_size: int) -> None:
    """Be the scheduler until all ranks have ended in order; MindSpore may end the process here.

    Args:
        address: `ip:port` to listen on.
        rank_size: Number of ranks.

    Raises:
        StartUpError: MindSpore cannot listen, or lost a rank.
    """
    show_as("start_scheduler.py")
    _forget(*_RANK_TABLE_VARIABLES, *_CLUSTER_VARIABLES)
    os.environ.update(_cluster_variables("MS_SCHED", address, rank_size))
    _communicate("cpu", 0, f"Scheduler on {address}")


def join_ranks(
    *,
    device_type: str,
    device_id: int,
    rank_id: int,
    rank_size: int,
    ip: str,
    scheduler: str,
    rank_table_file: str | None,
) -> None:
    """Make this process a rank of the collective communication. Returns when all ranks have joined.

    No other thread of this process runs Python meanwhile: MindSpore keeps the interpreter lock. Only CPU could be tried
    by the tests; GPU and Ascend take the calls and variables that MindSpore documents.

    Args:
        device_type: `ascend`, `gpu` or `cpu`.
        device_id: Number of the device; on CPU of no account.
        rank_id: Rank of this process, 0 to `rank_size - 1`.
        rank_size: Number of ranks.
        ip: Address of this machine that the other ranks reach.
        scheduler: `ip:port` of the scheduler; of no account on Ascend.
        rank_table_file: Rank table for Ascend; of no account elsewhere.

    Raises:
        StartUpError: MindSpore does not take the device, or the ranks do not come together.
    """
    _forget(*_RANK_TABLE_VARIABLES, *_CLUSTER_VARIABLES)
    if device_type == "ascend":
        if rank_table_file is None:
            raise StartUpError(f"Rank {rank_id} cannot join on Ascend: there is no rank table file")
        os.environ.update(_rank_table_variables(rank_table_file, device_id, rank_id, rank_size))
    else:
        os.environ.update(_cluster_variables("MS_WORKER", scheduler, rank_size))
        os.environ.update(MS_NODE_ID=str(rank_id), MS_WORKER_IP=ip)
        for variable, value in _RANK_DEFAULTS.items():
            os.environ.setdefault(variable, value)
    joined = _communicate(device_type, device_id, f"Rank {rank_id} of {rank_size}")
    got = joined.get_rank(), joined.get_group_size()
    if got != (rank_id, rank_size):
        raise StartUpError(
            f"Rank {rank_id} of {rank_size} has become rank {got[0]} of {got[1]} of the communication"
        )


def _communicate(device_type: str, device_id: int, who: str) -> Any:
    """Start MindSpore and its communication library; returns the module `mindspore.communication`."""
    with TURN:
        start_mindspore(device_type, device_id)
        communication = importlib.import_module("mindspore.communication")
        try:
            communication.init(_LIBRARIES[device_type])
        except (RuntimeError, ValueError, TypeError) as cause:
            raise StartUpError(f"{who} cannot join the communication: {reason_of(cause)}") from cause
    return communication


def _cluster_variables(role: str, scheduler: str, rank_size: int) -> dict[str, str]:
    """What MindSpore's dynamic cluster reads from the environment."""
    host, _, port = scheduler.rpartition(":")
    return {
        "MS_ROLE": role,
        "MS_WORKER_NUM": str(rank_size),
        "MS_SCHED_HOST": host,
        "MS_SCHED_PORT": port,
    }


def _rank_table_variables(
    rank_table_file: str, device_id: int, rank_id: int, rank_size: int
) -> dict[str, str]:
    """What MindSpore reads from the environment on Ascend."""
    return {
        "RANK_TABLE_FILE": rank_table_file,
        "RANK_ID": str(rank_id),
        "RANK_SIZE": str(rank_size),
        "DEVICE_ID": str(device_id),
        "MS_ENABLE_HCCL": "1",
    }


def _forget(*variables: str) -> None:
    """Remove what a user's shell may have set for something else, and what would change the ranks' order."""
    for variable in variables:
        os.environ.pop(variable, None)


def _free_port(ip: str) -> int:
    """A port of this machine that nothing uses at the moment; MindSpore takes none that is bound already."""
    try:
        with socket.socket() as probe:
            probe.bind((ip, 0))
            return int(probe.getsockname()[1])
    except OSError as cause:
        raise StartUpError(f"Scheduler cannot listen on {ip}: {cause}") from cause
