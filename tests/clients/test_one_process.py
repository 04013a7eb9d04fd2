"""A server and tritonclient in one process, in either order: both have messages of package `inference`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.servables import ECHO
from tests.support.serving import START_TIMEOUT_S, add_servable, free_port, running_script

SERVE = """\
from mindspore_serving import server
from mindspore_serving.client import Client

server.start_servables([server.ServableStartConfig(".", "echo", device_ids=0)])
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
"""
ASK = """\
import numpy as np
import tritonclient.grpc
import tritonclient.http
"""
CHECK = """\
x = np.array([[1, 2]], np.float32)
for module, address in ((tritonclient.grpc, {grpc!r}), (tritonclient.http, {rest!r})):
    with module.InferenceServerClient(address) as client:
        tensor = module.InferInput("x", [1, 2], "FP32").set_data_from_numpy(x)
        print(module.__name__, client.infer("echo.identity_float32", [tensor]).as_numpy("y").tolist(), flush=True)
with Client({grpc!r}, "echo", "identity_float32") as client:
    print("native", client.infer({{"x": x[0]}})[0]["y"].tolist(), flush=True)
server.stop()
"""


@pytest.mark.parametrize("parts", [(SERVE, ASK), (ASK, SERVE)], ids=["server first", "tritonclient first"])
def test_they_go_together(tmp_path: Path, parts: tuple[str, ...]) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    addresses = {"grpc": f"127.0.0.1:{free_port()}", "rest": f"127.0.0.1:{free_port()}"}
    script = tmp_path / "start.py"
    script.write_text("".join((*parts, CHECK)).format(**addresses))
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait(START_TIMEOUT_S) == 0, running.output  # it starts a server, too
    for line in ("tritonclient.grpc [[1.0, 2.0]]", "tritonclient.http [[1.0, 2.0]]", "native [1.0, 2.0]"):
        assert line in running.lines, running.output
