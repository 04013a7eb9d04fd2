"""strace and perf on processes that run: which system calls their threads make, and what perf counts of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

HOW_TO_INSTALL = {"strace": "apt-get install strace", "perf": "apt-get install linux-perf"}
_WAIT_S = 20.0
_MAIN_THREAD = "main thread"
_ENDED_THREAD = "ended"
# Lines of calls that another thread has interrupted begin with `<...`, those of signals with `---`: not counted again.
_CALL_LINE = re.compile(r"(\d+)\s+(\w+)\(")

Calls = Counter[tuple[str, str]]
"""How often threads, by name, have made system calls, by name."""


def is_installed(tool: str) -> bool:
    """Whether the tool is there."""
    return shutil.which(tool) is not None


class _Attached:
    """A tool that watches processes until it gets SIGINT, and has then written its file."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def _end(self) -> str:
        """Detach; returns what is in the file."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(signal.SIGINT)
        with self._folder:
            return self._output_of(process)

    def _output_of(self, process: subprocess.Popen[bytes]) -> str:
        try:
            process.wait(_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()
        return self._file.read_text() if self._file.exists() else ""


class Strace(_Attached):
    """Counts system calls while the block lasts.

    Args:
        pids: Processes, with all their threads and children.

    Attributes:
        calls: After the block.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(pids)
        self.calls: Calls = Counter()

    def __enter__(self) -> Strace:
        # With raw arguments strace reads no memory of the process: it holds up calls for less time.
        command = ["strace", "-f", "-e", "raw=all", "-o", str(self._file)]
        for pid in self._pids:
            command += ["-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self._threads = _thread_names(self._pids)
        assert self._process.stderr is not None
        said = b""
        while said.count(b" attached") < len(self._pids):
            piece = _read_within(self._process.stderr.fileno(), _WAIT_S)
            if not piece:
                self._end()
                raise RuntimeError(f"strace has not attached: {said.decode()!r}")
            said += piece
        return self

    def __exit__(self, *_: object) -> None:
        threads = {**self._threads, **_thread_names(self._pids)}
        self.calls = read_strace(self._end().splitlines(), threads)


class PerfStat(_Attached):
    """Counts events while the block lasts.

    Args:
        pids: Processes, with all their threads.
        events: Some of those that `countable` has found.

    Attributes:
        counts: After the block, by event.
    """

    def __init__(self, pids: Sequence[int], events: Sequence[str]) -> None:
        super().__init__(pids)
        self._events = events
        self.counts: dict[str, int] = {}

    def __enter__(self) -> PerfStat:
        commands, to_perf = os.pipe()
        answers, from_perf = os.pipe()
        # It starts with counting off: who has the answer to the command to count knows that all is counted from now on.
        command = ["perf", "stat", "-D", "-1", f"--control=fd:{commands},{from_perf}", "-x", ","]
        command += ["-e", ",".join(self._events), "-o", str(self._file), "-p", ",".join(map(str, self._pids))]
        self._process = subprocess.Popen(command, pass_fds=(commands, from_perf), stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(from_perf)
        try:
            os.write(to_perf, b"enable\n")
            counts = b"ack" in _read_within(answers, _WAIT_S)
        finally:
            os.close(to_perf)
            os.close(answers)
        if not counts:
            self._end()
            raise RuntimeError("perf stat has not begun to count")
        return self

    def __exit__(self, *_: object) -> None:
        self.counts = read_perf(self._end().splitlines())


def countable(events: Sequence[str]) -> list[str]:
    """The events that perf can count on this machine; none where it is not there."""
    if not is_installed("perf"):
        return []
    counted = []
    for event in events:
        command = ["perf", "stat", "-x", ",", "-e", event, "true"]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode == 0 and event in read_perf(ended.stderr.splitlines()):
            counted.append(event)
    return counted


def read_strace(lines: Sequence[str], threads: Mapping[int, str]) -> Calls:
    """The calls of a log of `strace -f -o`.

    Args:
        lines: Thread id and call; other lines are left out.
        threads: Names by thread id; those that are not here have ended.
    """
    found = map(_CALL_LINE.match, lines)
    return Counter((threads.get(int(match[1]), _ENDED_THREAD), match[2]) for match in found if match)


def read_perf(lines: Sequence[str]) -> dict[str, int]:
    """The counts of `perf stat -x ,`: value, unit, event and more; the value is a text where there is none."""
    fields = [line.split(",") for line in lines if not line.startswith("#")]
    return {field[2]: int(field[0]) for field in fields if len(field) > 2 and field[0].isdigit()}


def _thread_names(pids: Sequence[int]) -> dict[int, str]:
    return {thread: name for pid in pids for thread, name in names_of_threads(pid, _threads_of(pid)).items()}


def _threads_of(pid: int) -> dict[int, str]:
    """What Linux calls the threads of a process, by their ids, in the order of their start."""
    found = {}
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found[int(task.name)] = (task / "comm").read_text().strip()
    return found


def names_of_threads(pid: int, threads: Mapping[int, str]) -> dict[int, str]:
    """Names that tell apart the threads of Python, which all are called as the process is.

    Args:
        pid: The process.
        threads: What Linux calls them, in the order of their start.
    """
    numbers = itertools.count(1)
    names = {
        thread: f"{name} {next(numbers)}" if thread != pid and name == threads.get(pid) else name
        for thread, name in threads.items()
    }
    return {**names, pid: _MAIN_THREAD}


def _read_within(file: int, seconds: float) -> bytes:
    """What can be read there; nothing at the end of the file, and if nothing comes in time."""
    ready, _, _ = select.select([file], [], [], seconds)
    return os.read(file, 1 << 16) if ready else b""
