"""Servers run the grpcio of their tests: `./build.sh check` relies on it to test other releases than that of .venv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from grpc._cython import cygrpc

from mindspore_serving.client import Client
from tests.support.serving import add_servable, serving

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(lambda x: x, x, outputs_count=1)
"""


def loaded_cores(pid: int) -> set[str]:
    """Paths of gRPC's compiled libraries that a process has loaded."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if "/cygrpc." in line}


def test_a_server_has_the_grpcio_of_its_tests(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO)
    with serving(tmp_path, ['".", "one", 0']) as server:
        assert Client(server.grpc, "one", "echo").infer({"x": np.float32(1)})[0]["y"] == 1
        assert loaded_cores(server.process.pid) == {cygrpc.__file__}
