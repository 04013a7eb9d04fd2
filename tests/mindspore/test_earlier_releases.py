"""Scripts and servables in the manner of 1.2 and 1.3, with real models, alone, in a cluster and on several devices."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.serving import RunningScript, add_servable, free_port, running_script

ADD = """
import numpy as np

from mindspore_serving.{package} import register


def to_float(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


register.declare_servable(servable_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.call_preprocess(to_float, x1, x2)
    y = register.call_servable(x1, x2)
    return y
"""

LIGHTWEIGHT = """
import os

from mindspore_serving import master
from mindspore_serving import worker

worker.start_servable_in_master(os.path.abspath("."), "add", device_id=0)
master.start_grpc_server("127.0.0.1", {grpc})
"""

LIGHTWEIGHT_MASTER_FIRST = """
import os

from mindspore_serving import master
from mindspore_serving import worker

master.start_grpc_server("127.0.0.1", {grpc})
worker.start_servable_in_master(os.path.abspath("."), "add", device_id=0)
"""

MASTER = """
from mindspore_serving import master

master.start_grpc_server("127.0.0.1", {grpc})
master.start_master_server("127.0.0.1", {master})
"""

WORKER = """
import os

from mindspore_serving import worker

worker.start_servable(os.path.abspath("."), "add", device_id=0, master_ip="127.0.0.1", master_port={master},
                      worker_ip="127.0.0.1", worker_port={worker})
"""

SERVABLES = """
import os
import sys

from mindspore_serving import server

folder = os.path.dirname(os.path.realpath(sys.argv[0]))
config = server.ServableStartConfig(servable_directory=folder, servable_name="add", device_ids=(0, 1))
server.start_servables(servable_configs=(config,))
server.start_grpc_server(address="127.0.0.1:{grpc}")
"""


class Ports:
    """Free ports, by what listens on them."""

    def __init__(self) -> None:
        self.grpc, self.master, self.worker = free_port(), free_port(), free_port()


@contextlib.contextmanager
def started(folder: Path, name: str, source: str, ports: Ports, line: str) -> Iterator[RunningScript]:
    script = folder / name
    script.write_text(source.format(**vars(ports)))
    with running_script(script) as running:
        running.wait_for_line(line)
        yield running


@pytest.fixture(params=["worker", "server"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, models: Path) -> Path:
    """A folder with the servable `add`, whose configuration imports `register` from this package."""
    add_servable(tmp_path, "add", ADD.format(package=request.param), ())
    (tmp_path / "add" / "1").mkdir()
    shutil.copy(models / "add.mindir", tmp_path / "add" / "1" / "tensor_add.mindir")
    return tmp_path


def check(ports: Ports) -> None:
    """Ask both methods as clients of 1.2 do."""

    def infer(method: str, *values: Any) -> list[Any]:
        with Client("localhost", ports.grpc, "add", method) as client:
            return [reply["y"].tolist() for reply in client.infer([{"x1": x, "x2": x} for x in values])]

    ones = np.ones((2, 2), np.float32)
    assert infer("add_common", ones, ones * 2, ones * 3) == [[[2 * k] * 2] * 2 for k in (1, 2, 3)]
    assert infer("add_cast", ones.astype(np.int32)) == [[[2, 2], [2, 2]]]


@pytest.mark.parametrize(
    "source", [LIGHTWEIGHT, LIGHTWEIGHT_MASTER_FIRST], ids=["worker first", "master first"]
)
def test_lightweight(folder: Path, source: str) -> None:
    ports = Ports()
    line = "gRPC server start success" if source is LIGHTWEIGHT else "Start servable success"
    with started(folder, "master_with_worker.py", source, ports, line):
        check(ports)


def test_cluster(folder: Path) -> None:
    ports = Ports()
    with (
        started(folder, "master.py", MASTER, ports, "Master server start success"),
        started(folder, "worker.py", WORKER, ports, "Start servable success"),
    ):
        check(ports)


def test_start_configurations(folder: Path) -> None:
    ports = Ports()
    with started(folder, "serving_server.py", SERVABLES, ports, "gRPC server start success"):
        check(ports)
