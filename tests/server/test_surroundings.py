"""Servers in odd surroundings: files with the names of modules, paths that are no text, closed standard descriptors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import post, send
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.watch import wait_until

# ---- files with the names of modules

NEIGHBOURS = """\
import random
import sys

import mindspore

import shared
from mindspore_serving.server import register
from servant.helper import HELP
from .helper import HELP as SAME

assert random.random() < 1
assert HELP is SAME


def where(x):
    return " ".join([HELP, shared.SHARED, mindspore.WHERE, sys.modules["servant"].__name__])


@register.register_method(output_names=["y"])
def tell(x):
    return register.add_stage(where, x, outputs_count=1)
"""
RUN = "import sys\nopen(__file__ + '_was_run', 'w').close()\nsys.exit(3)\n"
PACKAGE = (
    'import builtins\nbuiltins.packaged = builtins.__dict__.get("packaged", 0) + 1\nPACKAGED = packaged\n'
)


def ask(server: RunningServer, servable: str, method: str, value: Any) -> Any:
    with Client(server.grpc, servable, method) as client:
        replies = client.infer({"x": value}, timeout=30)
    assert isinstance(replies, list), replies
    return replies[0]["y"]


def test_nothing_but_the_servable_is_imported_from_the_folders_of_the_user(tmp_path: Path) -> None:
    folder = tmp_path / "servables"
    add_servable(folder, "servant", NEIGHBOURS, ())
    (folder / "servant" / "helper.py").write_text('HELP = "helper"\n')
    add_servable(folder, "packed", NEIGHBOURS.replace("servant", "packed"), ())
    (folder / "packed" / "helper.py").write_text('from . import PACKAGED\nHELP = f"helper of {PACKAGED}"\n')
    (folder / "packed" / "__init__.py").write_text(PACKAGE)
    (folder / "shared.py").write_text('SHARED = "shared"\n')
    # Scripts beside the servables, and one where the server is started from, which is on the path of modules.
    for name in ("servables/servant.py", "servables/random.py", "servables/log.py", "packed.py"):
        (tmp_path / name).write_text(RUN)
    # What is installed comes first, here by the path of modules too.
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "mindspore.py").write_text('WHERE = "installed"\n')
    (folder / "mindspore.py").write_text(RUN)
    path = f"{tmp_path}:{tmp_path}/installed"
    configs = ['"servables", "servant", device_ids=0', '"servables", "packed", device_ids=1']
    with serving(tmp_path, configs, environment={"PYTHONPATH": path}) as server:
        assert ask(server, "servant", "tell", "") == "helper shared installed servant"
        assert ask(server, "packed", "tell", "") == "helper of 1 shared installed packed"
    assert list(tmp_path.rglob("*_was_run")) == []


# ---- paths that are no text

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return x
"""


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    """Also where standard output is strict, as it is with most locales."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    add_servable(folder, "echo", ECHO, ())
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    options = '".", "echo", device_ids=0, num_parallel_workers=2'
    with serving(folder, [options], environment=strict) as server:
        assert ask(server, "echo", "echo", np.int64(3)) == 3
        assert "/caf\\udce9', servable name: 'echo'" in server.worker_logs()
        reply = send(server.rest, "GET", "/healthz/ready")
        assert json.loads(reply.body)["status"] == "ready"
    script = folder / "bad.py"
    script.write_text((folder / "start_server.py").read_text())
    add_servable(folder, "echo", "import os\nopen(os.path.dirname(__file__) + '/absent')\n", ())
    with running_script(script, environment={"SERVING_BACKEND": "stub", **strict}) as running:
        assert running.wait() == 1
        assert "import echo.servable_config failed, [Errno 2] No such file or directory" in running.output


# ---- closed standard descriptors

IMPORT = "from mindspore_serving import server"
CLOSED = [closed for count in (1, 2, 3) for closed in combinations(range(3), count)]
LOOKS = """\
import os, sys
{imports}
found = [os.readlink(f"/proc/self/fd/{{number}}") for number in range(3)]
open(sys.argv[1], "w").write(" ".join(found))
"""


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_standard_descriptors_lead_nowhere(tmp_path: Path, closed: tuple[int, ...]) -> None:
    # By a shell: in a child that is forked from here, the gRPC of the tests would run first.
    script = 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed)
    with (tmp_path / "output").open("wb") as output:
        code = LOOKS.format(imports=IMPORT)
        subprocess.run(
            ["sh", "-c", script, "sh", sys.executable, "-c", code, str(tmp_path / "found")],
            stdin=output,
            stdout=output,
            stderr=output,
            check=True,
        )
    expected = ["/dev/null" if number in closed else str(tmp_path / "output") for number in range(3)]
    assert (tmp_path / "found").read_text().split() == expected
    assert (tmp_path / "output").read_bytes() == b""


CLOSE = "[os.close(number) for number in range(3)]"
BARE = """\
import os
{before}
{after}
server.start_servables(server.ServableStartConfig(".", "echo", device_ids=0))
server.start_restful_server({rest!r})
assert all(os.path.samefile(f"/proc/self/fd/{{number}}", "/dev/null") for number in range(3))
open("ready", "w").close()
"""


@pytest.mark.parametrize("order", [(CLOSE, IMPORT), (IMPORT, CLOSE)], ids=["at the start", "by the script"])
def test_a_server_without_standard_descriptors(tmp_path: Path, order: tuple[str, str]) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    rest = f"127.0.0.1:{free_port()}"
    script = tmp_path / "start.py"
    script.write_text(BARE.format(before=order[0], after=order[1], rest=rest))
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        wait_until(lambda: (tmp_path / "ready").exists(), "the server is ready")
        reply = post(rest, "/model/echo:echo", b'{"instances": [{"x": 3}]}')
        assert (reply.status, json.loads(reply.body)) == (200, {"instances": [{"y": 3}]})
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
