"""The servers of the comparison: how each is started, what it is sent, and how its reply is read.

Of each server the settings are those that its documentation advises for one worker, and among these the cheapest:

- mosec: one worker. A second server forms batches of up to 32 and waits 1 ms for them, the least that mosec takes.
- MLServer: `parallel_workers` 0, which runs the model in the process of the front end: three to four times cheaper
  than its default of one worker process. Without access log, metrics and gzip, which ours has not either.
  It and ours are asked in the Open Inference Protocol, with the same bytes: JSON, and over gRPC raw contents.
- LitServe: `fast_queue`, one worker, one HTTP process, without access log.

What one server sets up for add and identity differs in nothing but that one line.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.dialects import (
    Inference,
    native,
    open_inference_binary,
    open_inference_grpc,
    open_inference_json,
)
from benchmarks.messages import Request
from benchmarks.peers.environment import PYTHON
from benchmarks.peers.processes import running_peer
from benchmarks.servers import free_port, running_start_script

_HERE = Path(__file__).resolve().parent
_SERVERS = _HERE / "servers"

X1 = np.array([[1.5, -2.0], [3.0, 0.25]], np.float32)
X2 = np.array([[2.0, 4.0], [-1.0, 0.5]], np.float32)

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "peer", num_parallel_workers=1))
server.start_grpc_server("127.0.0.1:{grpc}")
server.start_restful_server("127.0.0.1:{rest}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class Question:
    """What a server is asked in one form.

    Attributes:
        server: How the table calls the server.
        form: `REST` or `gRPC`, where each server has JSON or messages of its own; `REST OIP` or `gRPC OIP`, where all
            are asked the same in the Open Inference Protocol.
        address: `ip:port`.
        request: The request.
    """

    server: str
    form: str
    address: str
    request: Request


@dataclass(frozen=True)
class Running:
    """A server that has been started, and may not answer yet.

    Attributes:
        process: Its first process.
        questions: One per form.
        log: File with what it has printed; None for ours.
    """

    process: subprocess.Popen[bytes]
    questions: tuple[Question, ...]
    log: Path | None = None


@dataclass(frozen=True)
class Contestant:
    """A server of the comparison.

    Attributes:
        name: How the table calls it.
        package: What pip installs; empty for ours.
        start: Starts it for a method, in an empty folder.
    """

    name: str
    package: str
    start: Callable[[str, Path], contextlib.AbstractContextManager[Running]]


def expected_values(method: str) -> list[Any]:
    """What y has to be."""
    return list(_inference(method).results["y"][0].tolist())


def _inference(method: str) -> Inference:
    y = X1 + X2 if method == "add" else X1
    return Inference("peer", method, {"x1": X1[np.newaxis], "x2": X2[np.newaxis]}, {"y": y[np.newaxis]})


@contextlib.contextmanager
def _ours(method: str, folder: Path) -> Iterator[Running]:
    shutil.copytree(_HERE / "servable", folder / "peer")
    ports = {"grpc": free_port(), "rest": free_port()}
    inference = _inference(method)
    asked = (
        (OURS.name, "REST", native("rest", inference)),
        (OURS.name, "gRPC", native("grpc", inference)),
        (OURS.name, "REST OIP", open_inference_json(inference)),
        (OURS_BINARY, "REST OIP", open_inference_binary(inference)),
        (OURS.name, "gRPC OIP", open_inference_grpc(inference)),
    )
    with running_start_script(folder, _START.format(**ports)) as process:
        questions = [
            Question(name, form, f"127.0.0.1:{ports[request.protocol]}", request)
            for name, form, request in asked
        ]
        yield Running(process, tuple(questions))


def _mosec(name: str, batch: int, wait_ms: int) -> Contestant:
    @contextlib.contextmanager
    def start(method: str, folder: Path) -> Iterator[Running]:
        port = free_port()
        command = [str(PYTHON), str(_SERVERS / "mosec_server.py"), method, str(batch), str(wait_ms)]
        command += ["--address", "127.0.0.1", "--port", str(port), "--log-level", "error"]
        with running_peer(command, folder, folder / "log") as process:
            yield Running(process, (_plain_question(name, port, "/inference", method),), folder / "log")

    return Contestant(name, "mosec", start)


@contextlib.contextmanager
def _litserve(method: str, folder: Path) -> Iterator[Running]:
    port = free_port()
    command = [str(PYTHON), str(_SERVERS / "litserve_server.py"), method, str(port)]
    with running_peer(command, folder, folder / "log") as process:
        yield Running(process, (_plain_question("LitServe", port, "/predict", method),), folder / "log")


def _plain_question(server: str, port: int, path: str, method: str) -> Question:
    body = orjson.dumps({"x1": X1.tolist(), "x2": X2.tolist()})
    expected = expected_values(method)
    request = Request("rest", path, body, lambda reply: bool(orjson.loads(reply)["y"] == expected))
    return Question(server, "REST", f"127.0.0.1:{port}", request)


@contextlib.contextmanager
def _mlserver(method: str, folder: Path) -> Iterator[Running]:
    rest, grpc = free_port(), free_port()
    shutil.copy(_SERVERS / "mlserver_model.py", folder)
    settings = {
        "host": "127.0.0.1",
        "http_port": rest,
        "grpc_port": grpc,
        "parallel_workers": 0,
        "debug": False,
        "metrics_endpoint": None,
        "gzip_enabled": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    inference = _inference(method)
    model = {"name": inference.model, "implementation": f"mlserver_model.{method.capitalize()}"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    with running_peer([str(PYTHON.parent / "mlserver"), "start", "."], folder, folder / "log") as process:
        yield Running(
            process,
            (
                Question("MLServer", "REST OIP", f"127.0.0.1:{rest}", open_inference_json(inference)),
                Question("MLServer", "gRPC OIP", f"127.0.0.1:{grpc}", open_inference_grpc(inference)),
            ),
            folder / "log",
        )


OURS_BINARY = "ours, binary"
"""Over REST with the bytes of tensors after the JSON, which MLServer does not take."""
OURS = Contestant("ours", "", _ours)
PEERS = (
    _mosec("mosec", 1, 0),
    _mosec("mosec, batches of 32", 32, 1),
    Contestant("MLServer", "mlserver", _mlserver),
    Contestant("LitServe", "litserve", _litserve),
)
