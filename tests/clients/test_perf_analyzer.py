"""What perf_analyzer of Triton reads and sends, field by field: it needs a newer C library than many machines have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.clients.triton import plain
from tests.support.http_requests import HttpReply, send
from tests.support.serving import RunningServer

REQUESTS = 7
COUNTERS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
CACHE = ("cache_hit", "cache_miss")
SIZES = {"FP32": 4, "BOOL": 1}


@dataclass(frozen=True)
class Connection:
    """How it asks over one of the two transports; every reply is a document as HTTP has it.

    Attributes:
        server: Describes the server.
        model: Describes a model.
        config: Gives the configuration of a model.
        statistics: Gives the statistics of a model, those of one version if it is named.
        infer: Sends inputs, bytes by name with type and shape, and returns the bytes of outputs by name.
    """

    server: Callable[[], Any]
    model: Callable[[str], Any]
    config: Callable[[str], Any]
    statistics: Callable[[str, str], Any]
    infer: Callable[[str, Mapping[str, tuple[str, list[int], bytes]], list[str]], dict[str, bytes]]


@contextmanager
def over_http(server: RunningServer) -> Iterator[Connection]:
    def get(path: str) -> Any:
        reply = send(server.rest, "GET", path)
        assert reply.status == 200, reply.text
        assert reply.headers["content-type"] == "application/json"
        return json.loads(reply.body)

    def statistics(model: str, version: str) -> Any:
        return get(f"/v2/models/{quote(model)}{f'/versions/{version}' if version else ''}/stats")

    def infer(
        model: str, inputs: Mapping[str, tuple[str, list[int], bytes]], outputs: list[str]
    ) -> dict[str, bytes]:
        head = {
            "id": "1",
            "inputs": [
                {
                    "name": name,
                    "shape": shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(data)},
                }
                for name, (datatype, shape, data) in inputs.items()
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
        }
        document = json.dumps(head).encode()
        body = document + b"".join(data for _, _, data in inputs.values())
        headers = {
            "Inference-Header-Content-Length": str(len(document)),
            "Content-Type": "application/octet-stream",
            "Accept": "*/*",
        }
        return binary_outputs(send(server.rest, "POST", f"/v2/models/{quote(model)}/infer", body, headers))

    yield Connection(
        server=lambda: get("/v2"),
        model=lambda model: get(f"/v2/models/{quote(model)}"),
        config=lambda model: get(f"/v2/models/{quote(model)}/config"),
        statistics=statistics,
        infer=infer,
    )


def binary_outputs(reply: HttpReply) -> dict[str, bytes]:
    """Cuts a reply by its sizes; nothing is left."""
    assert reply.status == 200, reply.text
    assert reply.headers["content-type"] == "application/octet-stream"
    at = int(reply.headers["inference-header-content-length"])
    head = json.loads(reply.body[:at])
    assert head["id"] == "1"
    found = {}
    for output in head["outputs"]:
        assert "data" not in output
        size = output["parameters"]["binary_data_size"]
        assert size == np.prod(output["shape"]) * SIZES[output["datatype"]]
        found[output["name"]] = reply.body[at : at + size]
        at += size
    assert at == len(reply.body)
    return found


@contextmanager
def over_grpc(server: RunningServer) -> Iterator[Connection]:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def infer(
            model: str, inputs: Mapping[str, tuple[str, list[int], bytes]], outputs: list[str]
        ) -> dict[str, bytes]:
            request = service_pb2.ModelInferRequest(model_name=model, id="1")
            for name, (datatype, shape, data) in inputs.items():
                request.inputs.add(name=name, datatype=datatype, shape=shape)
                request.raw_input_contents.append(data)
            for name in outputs:
                request.outputs.add(name=name)
            reply = stub.ModelInfer(request)
            assert reply.id == "1"
            assert len(reply.outputs) == len(reply.raw_output_contents)
            return dict(zip((one.name for one in reply.outputs), reply.raw_output_contents, strict=True))

        yield Connection(
            server=lambda: plain(stub.ServerMetadata(service_pb2.ServerMetadataRequest())),
            model=lambda model: plain(stub.ModelMetadata(service_pb2.ModelMetadataRequest(name=model))),
            config=lambda model: plain(stub.ModelConfig(service_pb2.ModelConfigRequest(name=model)))[
                "config"
            ],
            statistics=lambda model, version: plain(
                stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=model, version=version))
            ),
            infer=infer,
        )


@pytest.fixture(params=[over_http, over_grpc], ids=["http", "grpc"])
def connection(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[Connection]:
    with request.param(server) as opened:
        yield opened


@dataclass(frozen=True)
class Parsed:
    """What it makes of a model: with rows, their dimension is dropped, and it sends batches up to the largest."""

    largest_batch: int
    inputs: dict[str, tuple[str, list[int]]]
    outputs: list[str]


def parsed(connection: Connection, model: str) -> Parsed:
    metadata, config = connection.model(model), connection.config(model)
    assert metadata["name"] == model
    assert isinstance(config["max_batch_size"], int)
    assert not config.get("sequence_batching")
    assert config.get("platform") != "ensemble"
    assert (config.get("model_transaction_policy") or {}).get("decoupled", False) is False
    assert (config.get("response_cache") or {}).get("enable", False) is False
    assert not any(entry.get("optional") or entry.get("is_shape_tensor") for entry in config["input"])
    first = 1 if config["max_batch_size"] else 0
    inputs = {one["name"]: (one["datatype"], one["shape"][first:]) for one in metadata["inputs"]}
    assert {entry["name"]: list(entry["dims"]) for entry in config["input"]} == {
        name: shape for name, (_, shape) in inputs.items()
    }
    return Parsed(config["max_batch_size"], inputs, [one["name"] for one in metadata["outputs"]])


def test_the_extensions_are_a_list_that_has_statistics(connection: Connection) -> None:
    extensions = connection.server()["extensions"]
    assert isinstance(extensions, list)
    assert "statistics" in extensions


@pytest.mark.parametrize(
    ("model", "largest"),
    [
        ("echo.add_sub", False),
        ("echo.add_sub", True),
        ("add.add", False),
        ("add.add", True),
        ("add.subtract", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "largest batch" if value else "one row",
)
def test_counters_grow_by_the_requests_of_a_window(connection: Connection, model: str, largest: bool) -> None:
    about = parsed(connection, model)
    rows = about.largest_batch if largest else 1
    assert rows > 1 or not largest
    inputs = {}
    for name, (datatype, shape) in about.inputs.items():
        assert all(n > 0 for n in shape), "it must be told the size of what varies"
        whole = [rows, *shape] if about.largest_batch else shape
        inputs[name] = (datatype, whole, np.arange(np.prod(whole), dtype=np.float32).tobytes())
    before = window(connection, model, "")
    for _ in range(REQUESTS):
        outputs = connection.infer(model, inputs, about.outputs)
        assert {name: len(data) for name, data in outputs.items()} == dict.fromkeys(
            about.outputs, len(next(iter(inputs.values()))[2])
        )
    after = window(connection, model, "1")
    grown = {name: after[name] - before[name] for name in after}
    assert grown["inference_count"] == REQUESTS * rows
    assert 0 < grown["execution_count"] <= grown["inference_count"]
    assert grown["success count"] == REQUESTS
    for name in COUNTERS:
        assert grown[f"{name} ns"] >= 0
    assert grown["success ns"] > 0
    assert grown["fail count"] == grown["cache_hit count"] == grown["cache_miss count"] == 0
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(grown[f"{name} ns"] for name in parts) <= grown["success ns"]
    assert {grown[f"{name} count"] for name in parts} == {REQUESTS}


def window(connection: Connection, model: str, version: str) -> dict[str, int]:
    """The counters that it takes at the ends of a window; each must be there."""
    [entry] = connection.statistics(model, version)["model_stats"]
    assert (entry["name"], entry["version"]) == (model, "1")
    taken = {name: entry[name] for name in ("inference_count", "execution_count")}
    for name in (*COUNTERS, *CACHE):
        for part in ("count", "ns"):
            taken[f"{name} {part}"] = entry["inference_stats"][name][part]
    return {name: int(value) for name, value in taken.items()}


def test_batches_are_counted_by_size(connection: Connection) -> None:
    """Not read by perf_analyzer, but by what draws its reports."""
    [entry] = connection.statistics("add.add", "")["model_stats"]
    x = np.ones((2, 2), np.float32)
    tensor = ("FP32", [2, 2], x.tobytes())
    connection.infer("add.add", {"x1": tensor, "x2": tensor}, ["y"])
    [later] = connection.statistics("add.add", "")["model_stats"]

    def executions(document: Any) -> int:
        return sum(int(batch["compute_infer"]["count"]) for batch in document["batch_stats"])

    assert executions(later) - executions(entry) == later["execution_count"] - entry["execution_count"] == 1
    assert {int(batch["batch_size"]) for batch in later["batch_stats"]} >= {2}


def test_memory_of_clients_is_unregistered_only_where_it_is_asked_to_use_it(connection: Connection) -> None:
    """With --shared-memory it begins by unregistering all: a server that does not offer it says so in time."""
    assert not {"system_shared_memory", "cuda_shared_memory"} & set(connection.server()["extensions"])
