"""How a start script ends, and what it is told that it has forgotten or that is taken."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.serving import add_servable, free_port, running_script
from tests.support.watch import leftovers

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(lambda x: x, x, outputs_count=1)
"""
HEAD = """\
import os
import sys
import threading

from mindspore_serving import server

server.start_servables(server.ServableStartConfig({folder!r}, "one", 0))
"""
EARLIER = """\
import sys

from mindspore_serving import master, worker

worker.start_servable_in_master({folder!r}, "one", device_id=0)
"""
STUB = {"SERVING_BACKEND": "stub"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("servables")
    add_servable(folder, "one", ECHO)
    return folder


@pytest.mark.parametrize(
    ("head", "end", "code"),
    [
        (HEAD, 'raise ValueError("of the script")', 1),
        (HEAD, "sys.exit(3)", 3),
        (HEAD, "sys.exit()", 0),
        (EARLIER, 'sys.exit("that is all")', 1),
    ],
)
def test_a_script_that_fails_ends_its_server(
    tmp_path: Path, folder: Path, head: str, end: str, code: int
) -> None:
    script = tmp_path / "start.py"
    script.write_text(head.format(folder=str(folder)) + end)
    with running_script(script, environment=STUB) as running:
        assert running.wait(60) == code
        assert "The start script has ended by an exception or sys.exit: the server stops" in running.output
        assert leftovers(running) == []
        assert ("ValueError: of the script" in running.output) == ("ValueError" in end)
        assert ("that is all" in running.lines) == ("that is all" in end)


def test_a_script_serves_on_whatever_its_threads_and_children_do(tmp_path: Path, folder: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    script = tmp_path / "start.py"
    script.write_text(
        HEAD.format(folder=str(folder))
        + f"server.start_grpc_server({address!r})\n"
        + "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()\n"
        + "if os.fork() == 0:\n    1 / 0\nprint('ended with', os.wait()[1], flush=True)\n"
    )
    with running_script(script, environment=STUB) as running:
        running.wait_for_line("ended with 256")
        with Client(address, "one", "echo") as client:
            [row] = client.infer({"x": np.array(4)}, timeout=30)
        assert row["y"] == 4
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert "has ended" not in running.output


def test_front_ends_alone_say_what_is_missing(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    address = f"127.0.0.1:{free_port()}"
    script.write_text(f"from mindspore_serving import server\nserver.start_restful_server({address!r})\n")
    with running_script(script) as running:
        assert running.wait(60) == 0
    text = "The start script has ended, and its servers with it: nothing is served without server.start_servables"
    assert sum(text in line for line in running.lines) == 1


CALLS = """\
from mindspore_serving import master, server

for start in (
    lambda: server.start_grpc_server("127.0.0.1:{port}"),
    lambda: server.start_restful_server("127.0.0.1:{port}"),
    lambda: master.start_master_server("127.0.0.1", {port}),
):
    try:
        start()
    except RuntimeError as error:
        print(error, flush=True)
"""


def test_a_port_in_use_is_named_and_who_listens_there(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        script.write_text(CALLS.format(port=port))
        with running_script(script) as running:
            running.wait(60)
    told = [line for line in running.lines if line.startswith("Serving Error")]
    texts = [
        "Serving gRPC server start failed, create server failed, address",
        "RESTful server start failed, bind to the socket address",
        "Master server start failed, create server failed, address",
    ]
    for line, text in zip(told, texts, strict=True):
        assert line.startswith(f"Serving Error: {text} 127.0.0.1:{port}")
        assert f": Address already in use, process {os.getpid()} (" in line
        assert line.endswith(f" listens on port {port}")
