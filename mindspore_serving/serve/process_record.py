"""The servers that were started from a folder: `ProcessInfo.json`, by which `stop` and `kill` find them.

A process is only signalled if it is the one that was written down: of this user, started at that time, and running this
program. The file may be anybody's; what it says is checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psutil

from mindspore_serving.errors import StartUpError
from mindspore_serving.private_files import PRIVATE, open_own_file, opener

FILE: Final = "ProcessInfo.json"
_MODULE: Final = "mindspore_serving.serve"
_LARGEST: Final = 1 << 20
_WITH_VALUE: Final = ("-X", "-W")
"""Options of Python with a value."""
_CLOCK_S: Final = 0.05
"""How much two readings of the time at which a process started may differ."""
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class StartedServer:
    """A server.

    Attributes:
        pid: Of its main process.
        port: Where it listens.
        model: Folders of its models.
        start_time: Seconds since the epoch at which its process began.
    """

    pid: int
    port: int
    model: tuple[str, ...]
    start_time: float

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None where it has ended, or is another one by now."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) <= _CLOCK_S
            own = process.uids().real == os.geteuid()
            if same and own and runs_server(process.cmdline()):
                return process if process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            pass
        return None

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait until it has ended; returns whether it has."""
        deadline = time.monotonic() + timeout_s
        while self.process is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_S)
        return True


def runs_server(command: Sequence[str]) -> bool:
    """Whether a command line is that of a server: `python -m mindspore_serving.serve`, with options for Python.

    A program that only has the name among its arguments, as one that searches for it, is none.

    Args:
        command: The program and its arguments.
    """
    value_follows = False
    for option, value in pairwise(command[1:]):
        if option == "-m":
            return value == _MODULE
        if not value_follows and (option == "-c" or not option.startswith("-")):
            return False  # what follows is for another program
        value_follows = not value_follows and option in _WITH_VALUE
    return False


def record_path() -> Path:
    """The file: in the folder that SERVING_HOME names, or else in the working directory."""
    return Path(os.environ.get("SERVING_HOME") or ".", FILE).absolute()


def started_servers(path: Path) -> list[StartedServer]:
    """The servers that run.

    Args:
        path: The file.

    Raises:
        StartUpError: It holds something else, or cannot be read.
    """
    try:
        with open(path, encoding="utf-8", opener=opener(PRIVATE)) as file:
            text = file.read(_LARGEST)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as cause:
        raise StartUpError(f"'{path}' cannot be read: {cause}") from cause
    return [server for server in _servers_in(path, text) if server.process is not None]


@contextlib.contextmanager
def recorded(path: Path, port: int, models: Sequence[str]) -> Iterator[None]:
    """Write this process down, until the end of the block.

    Args:
        path: The file.
        port: Where it listens.
        models: Folders of its models.

    Raises:
        StartUpError: The file holds something else, or cannot be written.
    """
    own = StartedServer(os.getpid(), port, tuple(models), psutil.Process().create_time())
    _change(path, add=own)
    try:
        yield
    finally:
        with contextlib.suppress(StartUpError):  # there is nothing that could be done
            _change(path, remove=own.pid)


def _change(path: Path, add: StartedServer | None = None, remove: int = 0) -> None:
    try:
        with os.fdopen(open_own_file(str(path), os.O_RDWR | os.O_CREAT), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            servers = [
                one
                for one in _servers_in(path, file.read(_LARGEST) or "[]")
                if one.process is not None and one.pid != remove
            ]
            if add is not None:
                servers.append(add)
            file.seek(0)
            file.truncate()
            json.dump([asdict(one) for one in servers], file, indent=2)
    except (OSError, UnicodeDecodeError) as cause:
        raise StartUpError(
            f"'{path}' cannot be written: {cause}; name another folder in SERVING_HOME"
        ) from cause


def _servers_in(path: Path, text: str) -> list[StartedServer]:
    try:
        return [_server_of(one) for one in json.loads(text)]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as cause:
        raise StartUpError(
            f"'{path}' is not what {_MODULE} writes: remove it, or name another folder in SERVING_HOME"
        ) from cause


def _server_of(document: dict[str, Any]) -> StartedServer:
    pid, port = document["pid"], document["port"]
    if type(pid) is not int or type(port) is not int or pid <= 1:
        raise ValueError("no process")
    return StartedServer(pid, port, tuple(map(str, document["model"])), float(document["start_time"]))
