"""The exit code of a process that has come to its end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """\
import atexit, os, signal, sys

from mindspore_serving.server.host.exit_code import end_with

atexit.register(print, "registered first")
atexit.register(end_with, 3)
atexit.register(print, "registered last")
print("the script ends")
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 3),
        ("sys.exit(0)", 3),
        ("sys.exit(4)", 3),
        ("sys.exit('a text')", 3),
        ("raise ValueError", 3),
        ("os._exit(4)", 4),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_a_process_ends_with_the_code_whatever_its_script_ended_with(end: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-c", SCRIPT + end],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )
    assert done.returncode == status
    by_python = status in (3, -signal.SIGINT)
    rest = ["registered last", "registered first"] if by_python else []
    assert done.stdout.splitlines() == ["the script ends", *rest]
