"""Functions that close descriptors which are not their own: the worker goes on, or ends alone and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

CONFIG = """\
import os

import numpy as np

from mindspore_serving.server import register


def of_serving(what):
    links = [f"/proc/self/fd/{number}" for number in range(3, 1024) if os.path.lexists(f"/proc/self/fd/{number}")]
    [found] = [link for link in links if what in os.readlink(link)]
    return int(found.rpartition("/")[2])


def close(what):
    if what == "all low ones":
        os.closerange(0, 128)
    elif what:
        os.close(of_serving(what))
    return os.getpid()


def show(x):
    print("printed where no standard output is", flush=True)
    return x


def method(name, function):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


method("close", close)
method("show", show)
"""


def ask(server: RunningServer, method: str, value: Any) -> Any:
    with Client(server.grpc, "stray", method) as client:
        replies = client.infer({"x": value}, timeout=30)
    return replies[0]["y"] if isinstance(replies, list) and "y" in replies[0] else str(replies)


def test_a_stray_close_harms_nobody_else(tmp_path: Path) -> None:
    add_servable(tmp_path, "stray", CONFIG, ())
    with serving(tmp_path, ['".", "stray", device_ids=0']) as server:
        [first] = server.workers()
        # Without the channel it ends alone, and says why.
        assert "error" in ask(server, "close", "socket:")
        assert "of Serving was closed by a function, or by a library" in server.worker_logs()
        assert "ended with exit code 4" in server.read_output()
        wait_until(lambda: server.workers() not in ([], [first]), "another worker runs")
        wait_until(lambda: ask(server, "close", "") in server.workers(), "it serves")
        [worker] = server.workers()
        # What tells the end of main is had again.
        assert ask(server, "close", "pidfd") == worker
        wait_until(lambda: any("pidfd" in file for file in open_files(worker)), "it is had again")
        # What a range of low numbers holds is not Serving's, and what is printed then goes into no tensor.
        assert ask(server, "close", "all low ones") == worker
        sent = np.arange(1 << 20)
        for _ in range(3):
            np.testing.assert_array_equal(ask(server, "show", sent), sent)
        assert server.workers() == [worker]


def open_files(pid: int) -> list[str]:
    """What a process has open."""
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
