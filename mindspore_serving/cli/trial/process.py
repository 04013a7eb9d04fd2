"""Starts the process of a trial, and reads what it has found, or why it has not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.trial.jobs import Found, Job, found_from_json
from mindspore_serving.server.host.child_environment import child_environment

_LAST_LINES = 30


def run_trial(job: Job) -> Found:
    """Load something in a process of its own.

    Args:
        job: What.

    Raises:
        CommandError: It cannot be loaded, or the process has ended without a result: says the signal and what was
            printed last.
    """
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    with tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.child", str(writing)],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env=child_environment(),
            )
        finally:
            os.close(writing)
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(job.to_json().encode())  # type: ignore[union-attr]
                process.stdin.close()  # type: ignore[union-attr]
            with os.fdopen(reading) as file:
                text = file.read()
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return _found(job, text, code, printed)


def _found(job: Job, text: str, code: int, printed: IO[bytes]) -> Found:
    name = Path(job.path).name
    if not text:
        raise CommandError(
            f"'{name}' ended the process that loads it, {_how(code)}; its last lines:\n{_last_lines(printed)}",
            "Is the file damaged, or made for another release of the library?",
        )
    document = json.loads(text)
    if "error" in document:
        raise CommandError(f"'{name}' cannot be loaded: {document['error']}")
    return found_from_json(text)


def _how(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"by signal {signal.Signals(-code).name}"
    return f"with exit code {code}"


def _last_lines(printed: IO[bytes]) -> str:
    printed.seek(0)
    lines = printed.read().decode(errors="replace").splitlines()
    # A crash is followed by the names of all compiled modules, which say nothing.
    return "\n".join([line for line in lines if not line.startswith("Extension modules:")][-_LAST_LINES:])
