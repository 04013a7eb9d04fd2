"""The server under test, as it looks from outside: its processes, memory, descriptors and log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.memory_samples import shared_megabytes
from mindspore_serving.server.transport.http.body_process import TITLE
from tests.soak.servables import READY_LINE, environment, write_start_script
from tests.support.serving import START_TIMEOUT_S, RunningScript, free_port
from tests.support.watch import leftovers, lives

_POLL_S = 0.2
_STOP_TIMEOUT_S = 60.0
_STARTS = 4
"""How often longer than in a test the start may take: the machine may be busy."""
_NAMES = re.compile(r"--servable_name=(\S+) .*--device_id=(\d+) ")
_WITHOUT_A_DEVICE = "--device_ids_empty"
_WORKER_READY = "Start servable success"


@dataclass(frozen=True)
class Sample:
    """What the main process holds.

    Attributes:
        memory_mb: Resident memory without shared memory, in MB (2**20 bytes).
        shared_mb: Pages of the memory that it shares with workers, likewise.
        descriptors: Open descriptors.
        threads: Threads.
        children: Processes that it has started.
    """

    memory_mb: float
    shared_mb: float
    descriptors: int
    threads: int
    children: int

    def as_json(self) -> dict[str, float]:
        """All fields, rounded, for JSON."""
        return {name: round(value, 1) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Worker:
    """A worker that lives.

    Attributes:
        pid: Its process id.
        servable: What it serves.
        place: Which of the servable's workers it is: `device0`, `extra0` and so on.
        ready_s: Seconds for which it has been ready, at least; 0 while it starts.
    """

    pid: int
    servable: str
    place: str
    ready_s: float


class SoakServer:
    """A start script of its own, as a user has it.

    Args:
        folder: Where the servables are; it is the working directory.
        backend: `stub` or `mindspore`.
        grpc_library: What gRPC is served by: `core` or `aio`.

    Attributes:
        grpc: Address of the gRPC server.
        rest: Address of the REST server.
        log_path: What the main process has printed.
        seen: Process ids of all workers that were seen, by servable and place.
    """

    def __init__(self, folder: Path, backend: str, grpc_library: str) -> None:
        self.grpc = f"127.0.0.1:{free_port()}"
        self.rest = f"127.0.0.1:{free_port()}"
        self.log_path = folder / "main.log"
        self.seen: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        script = write_start_script(folder, self.grpc, self.rest)
        with self.log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(script)],
                cwd=folder,
                env={**os.environ, **environment(backend, grpc_library)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running = RunningScript(process, folder)

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._running.process.pid

    @property
    def ended(self) -> bool:
        """Whether the main process has ended."""
        return self._running.process.poll() is not None

    def log(self) -> str:
        """What the main process has printed so far."""
        return self.log_path.read_text(errors="replace")

    async def wait_until_ready(self) -> None:
        """Return once both front ends listen.

        Raises:
            RuntimeError: The process has ended, or the time is over.
        """
        ready = await wait_for(lambda: self.ended or READY_LINE in self.log(), _STARTS * START_TIMEOUT_S)
        if self.ended or not ready:
            raise RuntimeError(f"the server did not start, it printed:\n{self.log()}")

    def workers(self) -> list[Worker]:
        """Those that live."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    line = " ".join(child.cmdline())
                    named = _NAMES.search(line)
                    if named and lives(child.pid):
                        place = f"{'extra' if _WITHOUT_A_DEVICE in line else 'device'}{named[2]}"
                        self.seen[named[1], place].add(child.pid)
                        found.append(Worker(child.pid, named[1], place, self._ready_s(named[1], place)))
        return found

    def body_reader(self) -> int | None:
        """Process id of what reads large bodies; None where nothing does at the moment."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if lives(child.pid) and TITLE in " ".join(child.cmdline()):
                        return int(child.pid)
        return None

    def _ready_s(self, servable: str, place: str) -> float:
        """How long a worker has been ready: no longer than its log has been silent."""
        log = self._running.folder / "serving_logs" / f"log_{servable}_{place}_version1.log"
        starts = log.read_text(errors="replace").count(_WORKER_READY)
        ready = starts >= len(self.seen[servable, place])
        return max(0.0, time.time() - log.stat().st_mtime) if ready else 0.0

    def restarts(self) -> dict[str, int]:
        """By servable, how many workers were seen beyond the first ones."""
        again: Counter[str] = Counter()
        for (servable, _), pids in self.seen.items():
            again[servable] += len(pids) - 1
        return dict(again)

    def sample(self) -> Sample:
        """Look now.

        Raises:
            RuntimeError: The main process has ended.
        """
        try:
            main = psutil.Process(self.pid)
            return Sample(
                _own_megabytes(self.pid),
                shared_megabytes(self.pid),
                main.num_fds(),
                main.num_threads(),
                len(self.workers()),
            )
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError) as cause:
            raise RuntimeError("the main process has ended") from cause

    def terminate(self) -> None:
        """Ask it to end."""
        self._running.signal(signal.SIGTERM)

    async def wait_until_ended(self) -> list[str]:
        """Wait for its end after `terminate`; returns what was not as it should be."""
        problems = []
        if not await wait_for(lambda: self.ended, _STOP_TIMEOUT_S):
            problems.append(f"the server had not ended {_STOP_TIMEOUT_S:g} s after SIGTERM")
            self.kill()
        status = self._running.process.wait()
        if status:
            problems.append(f"exit status 0 was expected after SIGTERM, got {status}")
        problems += [f"left behind: {what}" for what in leftovers(self._running)]
        problems += [
            f"{address} still accepts connections" for address in (self.grpc, self.rest) if _listens(address)
        ]
        return problems

    def kill(self) -> None:
        """End it at once, if it lives."""
        if not self.ended:
            self._running.process.kill()
            self._running.process.wait()


async def wait_for(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until a condition holds; whether it does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def _own_megabytes(pid: int) -> float:
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0] in ("RssAnon:", "RssFile:")) / 1024


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
