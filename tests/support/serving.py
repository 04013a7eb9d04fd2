"""Starts real servers for tests: a start script of its own in a folder of its own, as a user has it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
OUTPUT_BYTES = 1 << 20
"""What a process may print that nobody reads. A server that serves a whole session of refused requests prints more than
the 64 KiB that a pipe has by default, and would hang in its next line."""
NO_DRAIN = "server.master.context.set_drain_timeout_s(0)"
"""For `settings` of `serving`: what is unanswered when the server ends is answered with an error at once."""

_READY = "both front ends listen"

_SCRIPT = """\
from mindspore_serving import server
{settings}
server.start_servables([{configs}]{start_options})
server.start_grpc_server({grpc!r}{grpc_options})
server.start_restful_server({rest!r}{rest_options})
print("{ready}", flush=True)
"""


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def add_servable(
    folder: Path, name: str, config: str, files: Sequence[str] = ("1/tensor_add.mindir",)
) -> None:
    """Write a servable below `folder`: its servable_config.py, and empty model files for the stub backend."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    (home / "servable_config.py").write_text(config)
    for file in files:
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).touch()


@dataclass
class RunningScript:
    """A Python script that runs as a process of its own.

    Attributes:
        process: The process.
        folder: Its working directory.
        lines: What it has printed so far, stdout and stderr together.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    @property
    def output(self) -> str:
        """All lines so far."""
        return "\n".join(self.lines)

    def read_output(self) -> str:
        """All that it has printed by now."""
        while self._read(0.001):
            continue
        return self.output

    def wait_for_line(self, text: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """The next line that holds `text`; fails the test if the process ends or the time passes before."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for line in self.lines[seen:]:
                if text in line:
                    return line
            seen = len(self.lines)
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"no line with {text!r}, the process printed:\n{self.output}")

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the process has ended; returns its exit status."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """Process ids of its workers that are alive."""
        return [pid for pid, line in _processes() if f"--parent={self.process.pid} " in line]

    def worker_logs(self) -> str:
        """What all workers have written to their logs."""
        return "\n".join(
            path.read_text(errors="replace") for path in sorted((self.folder / "serving_logs").glob("*.log"))
        )

    def _read(self, timeout_s: float) -> bool:
        """Read what is there within the time; whether something was read."""
        stdout = self.process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if timeout_s <= 0 or not selector.select(timeout_s):
                return False
        data = os.read(stdout.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode(errors="replace") for line in lines]
        if not data and self._rest:
            self.lines.append(self._rest.decode(errors="replace"))
            self._rest = b""
        return bool(data)


@dataclass
class RunningServer(RunningScript):
    """A start script that has started everything.

    Attributes:
        grpc: Address of the gRPC server.
        rest: Address of the REST server.
    """

    grpc: str = ""
    rest: str = ""

    def url(self, path: str) -> str:
        """A URL of the REST server."""
        return f"http://{self.rest}{path}"


def _processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(entry.name), line + " "


def running_script(
    script: Path, *arguments: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> contextlib.AbstractContextManager[RunningScript]:
    """Run a script in its folder, or in another one; whatever is left of it is ended on exit."""
    return _running([str(script), *arguments], folder or script.parent, environment)


def running_module(
    module: str, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[RunningScript]:
    """Run `python -m MODULE` in a folder; whatever is left of it is ended on exit."""
    return _running(["-m", module, *arguments], folder, environment)


@contextlib.contextmanager
def _running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None
) -> Iterator[RunningScript]:
    """Run Python in a folder; whatever is left of it is ended on exit."""
    running = RunningScript(_start(command, folder, environment or {}), folder)
    try:
        yield running
    finally:
        _end(running)


@contextlib.contextmanager
def serving(
    folder: Path,
    configs: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    grpc_options: str = "",
    rest_options: str = "",
    grpc: str = "",
    backend: str = "stub",
    settings: str = "",
    start_options: str = "",
) -> Iterator[RunningServer]:
    """Start servables that lie in `folder`, with both front ends on free ports.

    Args:
        folder: Where the servables are; the start script is written and run there.
        configs: Arguments of each `ServableStartConfig` as source, for example `'".", "add", device_ids=0'`.
        environment: Variables to add.
        grpc_options: Further arguments of `start_grpc_server` as source.
        rest_options: Further arguments of `start_restful_server` as source.
        grpc: Address for gRPC; a free port by default.
        backend: `stub` or `mindspore`.
        settings: Source that the script runs before it starts anything.
        start_options: Further arguments of `start_servables` as source.

    Yields:
        The server, ready; it is ended on exit.
    """
    grpc = grpc or f"127.0.0.1:{free_port()}"
    rest = f"127.0.0.1:{free_port()}"
    script = folder / "start_server.py"
    script.write_text(
        _SCRIPT.format(
            configs=", ".join(f"server.ServableStartConfig({config})" for config in configs),
            grpc=grpc,
            rest=rest,
            grpc_options=f", {grpc_options}" if grpc_options else "",
            ready=_READY,
            rest_options=f", {rest_options}" if rest_options else "",
            settings=settings,
            start_options=f", {start_options}" if start_options else "",
        )
    )
    process = _start([str(script)], script.parent, {"SERVING_BACKEND": backend, **(environment or {})})
    running = RunningServer(process, folder, grpc=grpc, rest=rest)
    try:
        running.wait_for_line(_READY)
        yield running
    finally:
        _end(running)


def _own_environment() -> dict[str, str]:
    """The environment without what MindSpore changed in it when a test imported it."""
    return {k: v for k, v in os.environ.items() if k != "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"}


def _start(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**_own_environment(), "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pipesize=OUTPUT_BYTES,
    )


def _end(running: RunningScript) -> None:
    """SIGTERM, and SIGKILL to what does not heed it."""
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        try:
            running.wait()
        except subprocess.TimeoutExpired:
            running.process.kill()
    running.process.wait(STOP_TIMEOUT_S)
    if running.process.stdout is not None:
        running.process.stdout.close()
