"""How a start script ends, told while a thread still keeps its process alive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KEEP_ALIVE = """\
import threading
from mindspore_serving.server.start.start_script import StartScript


def start():
    script = StartScript()

    def wait():
        threading.main_thread().join()
        print("failed" if script.has_failed() else "serves", flush=True)

    threading.Thread(target=wait).start()
"""
HEAD = "import os, sys, threading\nfrom keep_alive import start\n"


@pytest.mark.parametrize(
    ("rest", "told", "code"),
    [
        ("start()", "serves", 0),
        ("def main():\n    start()\nmain()", "serves", 0),
        ("if start() is None:\n    x = 1\nelse:\n    x = 2", "serves", 0),
        ("try:\n    start()\n    1 / 0\nexcept ZeroDivisionError:\n    pass", "serves", 0),
        ("start()\n1 / 0", "failed", 1),
        ("def main():\n    start()\n    raise ValueError('x')\nmain()", "failed", 1),
        ("start()\nsys.exit()", "failed", 0),
        ("start()\nsys.exit(3)", "failed", 3),
        ("try:\n    start()\nfinally:\n    sys.exit('text')", "failed", 1),
        ("start()\nraise KeyboardInterrupt", "failed", -2),
        ("start()\nthreading.Thread(target=lambda: 1 / 0).start()", "serves", 0),
        ("start()\nif os.fork() == 0:\n    1 / 0\nos.wait()", "serves", 0),
        (
            "import multiprocessing\ndef run():\n    start()\n    1 / 0\n"
            "p = multiprocessing.get_context('fork').Process(target=run)\np.start()\np.join()",
            "serves",
            0,
        ),
    ],
)
@pytest.mark.parametrize("way", ["file", "module"])
def test_the_end_of_a_script(tmp_path: Path, rest: str, told: str, code: int, way: str) -> None:
    (tmp_path / "keep_alive.py").write_text(KEEP_ALIVE)
    (tmp_path / "script.py").write_text(HEAD + rest)
    arguments = ["script.py"] if way == "file" else ["-m", "script"]
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout.split(), ended.returncode) == ([told], code), ended.stderr


def test_an_interactive_session_does_not_fail(tmp_path: Path) -> None:
    (tmp_path / "keep_alive.py").write_text(KEEP_ALIVE)
    (tmp_path / "script.py").write_text(HEAD + "start()\n1 / 0\n")
    ended = subprocess.run(
        [sys.executable, "-i", "script.py"],
        cwd=tmp_path,
        input="1 / 0\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.stdout.split(), ended.stderr.count("ZeroDivisionError")) == (["serves"], 2)
