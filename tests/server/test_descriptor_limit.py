"""More connections than the soft limit of open descriptors would allow."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
from pathlib import Path
from typing import Any

from tests.support.serving import add_servable, free_port, running_script

SOFT = 256
CONNECTIONS = 300

CONFIG = """\
import resource

from mindspore_serving.server import register


def limits(x):
    return str(resource.getrlimit(resource.RLIMIT_NOFILE))


@register.register_method(output_names=["limits"])
def own_limits(x):
    return register.add_stage(limits, x, outputs_count=1)
"""

SCRIPT = """\
import resource

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, hard))

from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "limits", device_ids=0))
server.start_restful_server({rest!r})
print("main has", *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
"""


def ask(connection: http.client.HTTPConnection) -> Any:
    connection.request("POST", "/model/limits:own_limits", '{"instances": [{"x": 1}]}')
    return json.loads(connection.getresponse().read())["instances"][0]["limits"]


def test_more_connections_than_the_soft_limit(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    rest = f"127.0.0.1:{free_port()}"
    add_servable(tmp_path, "limits", CONFIG, ())
    script = tmp_path / "start_server.py"
    script.write_text(SCRIPT.format(soft=SOFT, rest=rest))
    environment = {"SERVING_BACKEND": "stub", "GLOG_v": "1"}
    with running_script(script, environment=environment) as running, contextlib.ExitStack() as stack:
        assert running.wait_for_line("main has") == f"main has {hard} {hard}"
        assert running.output.count(f"open descriptors was raised from {SOFT} to {hard}") == 1
        connections = [http.client.HTTPConnection(rest, timeout=30) for _ in range(CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
            assert ask(connection) == f"({SOFT}, {hard})"  # a worker has the limit that held before
        assert ask(connections[0]) == f"({SOFT}, {hard})"
