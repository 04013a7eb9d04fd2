"""Runs `mindspore-serving serve` as a process of its own, as a user does in a shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.serving import OUTPUT_BYTES, STOP_TIMEOUT_S, RunningServer, free_port

READY = "Ready. Ctrl+C stops the server"


@contextlib.contextmanager
def serve_process(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    grpc: str = "none",
    terminal: int | None = None,
) -> Iterator[RunningServer]:
    """Start `serve` in a folder, with REST on a free port; it is ended on exit, and need not be ready before.

    Args:
        folder: The working directory.
        arguments: Of the verb.
        environment: Variables to add.
        grpc: Address of the gRPC server.
        terminal: Descriptor of a terminal, which is stderr then; None for where stdout goes.
    """
    rest = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mindspore_serving", "serve", *arguments, "--rest", rest, "--grpc", grpc]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "SERVING_BACKEND": "stub",
            "SERVING_ENABLE_CPU_DEVICE": "1",
            **(environment or {}),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if terminal is None else terminal,
        pipesize=OUTPUT_BYTES,
    )
    running = RunningServer(process, folder, grpc=grpc, rest=rest)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait()
        if process.poll() is None:
            process.kill()
        process.wait(STOP_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()
