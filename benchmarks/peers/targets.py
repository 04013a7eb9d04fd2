"""The servers of the comparison: how each is started, what it is sent, and how its reply is read.

Of each server the settings are those that its documentation advises for one worker, and among these the cheapest:

- mosec: one worker. A second server forms batches of up to 32 and waits 1 ms for them, the least that mosec takes.
- MLServer: `parallel_workers` 0, which runs the model in the process of the front end: three to four times cheaper
  than its default of one worker process. Without access log, metrics and gzip, which ours has not either.
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

from benchmarks.messages import path_of, request_bytes
from benchmarks.peers.environment import PYTHON
from benchmarks.peers.processes import running_peer
from benchmarks.servers import free_port, running_start_script
from mindspore_serving.proto import ms_service_pb2

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
    """One request of one interface of a server, and how to read the reply.

    Attributes:
        server: How the table calls the server.
        interface: `rest` or `grpc`.
        address: `ip:port`.
        path: Path of the URL, or of the gRPC method.
        body: The request.
        values: What a reply's body says y is, as nested lists.
    """

    server: str
    interface: str
    address: str
    path: str
    body: bytes
    values: Callable[[bytes], Any]


@dataclass(frozen=True)
class Running:
    """A server that has been started, and may not answer yet.

    Attributes:
        process: Its first process.
        questions: One per interface.
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
    return list((X1 + X2 if method == "add" else X1).tolist())


@contextlib.contextmanager
def _ours(method: str, folder: Path) -> Iterator[Running]:
    shutil.copytree(_HERE / "servable", folder / "peer")
    grpc, rest = free_port(), free_port()
    with running_start_script(folder, _START.format(grpc=grpc, rest=rest)) as process:
        yield Running(
            process,
            (
                Question(
                    "ours",
                    "rest",
                    f"127.0.0.1:{rest}",
                    path_of("rest", "peer", method),
                    request_bytes("rest", "peer", method, [{"x1": X1, "x2": X2}]),
                    lambda reply: orjson.loads(reply)["instances"][0]["y"],
                ),
                Question(
                    "ours",
                    "grpc",
                    f"127.0.0.1:{grpc}",
                    path_of("grpc", "peer", method),
                    request_bytes("grpc", "peer", method, [{"x1": X1, "x2": X2}]),
                    _predict_values,
                ),
            ),
        )


def _predict_values(reply: bytes) -> Any:
    y = ms_service_pb2.PredictReply.FromString(reply).instances[0].items["y"]
    return np.frombuffer(y.data, np.float32).reshape(tuple(y.shape.dims)).tolist()


def _mosec(name: str, batch: int, wait_ms: int) -> Contestant:
    @contextlib.contextmanager
    def start(method: str, folder: Path) -> Iterator[Running]:
        port = free_port()
        command = [str(PYTHON), str(_SERVERS / "mosec_server.py"), method, str(batch), str(wait_ms)]
        command += ["--address", "127.0.0.1", "--port", str(port), "--log-level", "error"]
        with running_peer(command, folder, folder / "log") as process:
            yield Running(process, (_plain_question(name, port, "/inference"),), folder / "log")

    return Contestant(name, "mosec", start)


@contextlib.contextmanager
def _litserve(method: str, folder: Path) -> Iterator[Running]:
    port = free_port()
    command = [str(PYTHON), str(_SERVERS / "litserve_server.py"), method, str(port)]
    with running_peer(command, folder, folder / "log") as process:
        yield Running(process, (_plain_question("LitServe", port, "/predict"),), folder / "log")


def _plain_question(server: str, port: int, path: str) -> Question:
    body = orjson.dumps({"x1": X1.tolist(), "x2": X2.tolist()})
    return Question(server, "rest", f"127.0.0.1:{port}", path, body, lambda reply: orjson.loads(reply)["y"])


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
    model = {"name": method, "implementation": f"mlserver_model.{method.capitalize()}"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    with running_peer([str(PYTHON.parent / "mlserver"), "start", "."], folder, folder / "log") as process:
        yield Running(process, _v2_questions(method, rest, grpc), folder / "log")


def _v2_questions(method: str, rest: int, grpc: int) -> tuple[Question, ...]:
    inputs = [
        {"name": name, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
        for name, x in (("x1", X1), ("x2", X2))
    ]
    # With an id in the request the reply has the same one, and is the same for every request.
    over_http = orjson.dumps({"id": "1", "inputs": inputs})
    over_grpc = _v2_message({"method": method, "x1": X1.tolist(), "x2": X2.tolist()})["request"]
    return (
        Question(
            "MLServer", "rest", f"127.0.0.1:{rest}", f"/v2/models/{method}/infer", over_http, _v2_values
        ),
        Question(
            "MLServer",
            "grpc",
            f"127.0.0.1:{grpc}",
            "/inference.GRPCInferenceService/ModelInfer",
            bytes.fromhex(over_grpc),
            lambda reply: _v2_message({"reply": reply.hex()})["y"],
        ),
    )


def _v2_values(reply: bytes) -> Any:
    [output] = orjson.loads(reply)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"]).tolist()


def _v2_message(document: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [str(PYTHON), str(_SERVERS / "v2_messages.py")],
        input=json.dumps(document),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


OURS = Contestant("ours", "", _ours)
PEERS = (
    _mosec("mosec", 1, 0),
    _mosec("mosec, batches of 32", 32, 1),
    Contestant("MLServer", "mlserver", _mlserver),
    Contestant("LitServe", "litserve", _litserve),
)
