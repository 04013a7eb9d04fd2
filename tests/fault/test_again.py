"""A server that is started and stopped again and again in one process leaves nothing behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import post
from tests.support.serving import add_servable, free_port, running_script

pytestmark = pytest.mark.both_grpc_servers

TURNS = int(os.environ.get("SERVING_TEST_TURNS", "14"))
LAST = 5
LOG = "serving_logs/log_echo_device0_version1.log"

CONFIG = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return x
"""

SCRIPT = """\
import json
import os
import pathlib
import threading
import time

from mindspore_serving import server


def descriptors():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{{number}}").partition(":")[0]
        except OSError:  # that of the listing itself
            pass


def held():
    for thread in threading.enumerate():
        if thread.name == "serving monitor":  # about to end
            thread.join(20)
    children = [path.read_text().split() for path in pathlib.Path("/proc/self/task").glob("*/children")]
    return {{
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(descriptors()),
        "children": sum(map(len, children)),
        "files": sorted(str(path) for path in pathlib.Path(".").rglob("*") if "__pycache__" not in path.parts),
    }}


for turn in range({turns}):
    server.start_servables(server.ServableStartConfig(".", "echo", 0))
    server.start_grpc_server({grpc!r})
    server.start_restful_server({rest!r})
    print("up", turn, flush=True)
    while not pathlib.Path("go_on").exists():
        time.sleep(0.005)
    os.unlink("go_on")
    server.stop()
    print("held", turn, json.dumps(held()), flush=True)
"""


def test_a_server_that_is_started_and_stopped_leaves_nothing(tmp_path: Path) -> None:
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    add_servable(tmp_path, "echo", CONFIG, ())
    script = tmp_path / "start.py"
    script.write_text(SCRIPT.format(turns=TURNS, grpc=grpc, rest=rest))
    held = []
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        for turn in range(TURNS):
            running.wait_for_line(f"up {turn}")
            with Client(grpc, "echo", "echo") as client:
                assert client.infer({"x": np.array(turn)}, timeout=20) == [{"y": turn}]
            assert post(rest, "/model/echo:echo", {"instances": [{"x": turn}]}).status == 200
            (tmp_path / "go_on").touch()
            held.append(json.loads(running.wait_for_line(f"held {turn} ").split(" ", 2)[2]))
        assert running.wait() == 0
    print(*held, sep="\n")
    assert held[-1]["children"] == 0
    assert held[-1]["files"] == ["echo", "echo/servable_config.py", "serving_logs", LOG, "start.py"]
    settled, last = held[-2 * LAST : -LAST], held[-LAST:]
    for kind in ("descriptors", "files"):
        assert last[-1][kind] == settled[0][kind], kind
    # The kernel may still list a thread that was joined, so that one look can see one too many.
    assert min(turn["threads"] for turn in last) == min(turn["threads"] for turn in settled)
