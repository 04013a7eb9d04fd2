"""Servers under load: processes that say when they have started, and are ended in order."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_END_S = 30


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has printed that it has started; ended on exit.

    Args:
        command: What to start.
        folder: Where.
        variables: Of its environment, beside those of this process.

    Raises:
        RuntimeError: It ended before.
    """
    environment = {**os.environ, **(variables or {})}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"started" in line:
                break
        else:
            raise RuntimeError(f"{command} ended before it had started")
        # A pipe that nobody reads fills up, and the server would then wait at its next line.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_start_script(
    folder: Path, source: str, python: str = sys.executable, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A start script that lies in a folder, as a user has it, run by a Python that has MindSpore Serving."""
    script = folder / "start.py"
    script.write_text(source)
    with running([python, str(script)], folder, variables) as process:
        yield process


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
