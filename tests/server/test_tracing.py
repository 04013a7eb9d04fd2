"""Traces of real servers, as a real collector gets them: whole, for each front end."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.proto.foreign import open_inference_pb2 as oip
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general
from mindspore_serving.proto.foreign import paddle_pipeline_pb2 as pipeline
from tests.support import grpc_messages as native
from tests.support.collector import Collector, ReceivedSpan, as_text, grpc_collector, http_collector
from tests.support.gate import Gate
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, running_script, serving
from tests.support.watch import kill
from tests.unit.dialect.open_inference import messages as oip_messages

TIMEOUT_S = 60
SERVABLE = """\
import numpy as np

from mindspore_serving.server import register

PASS_GATE
numbers = [register.TensorSpec("float32", [2, 2])] * 2
model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def scale(x1, x2):
    if (x1 < 0).any():
        raise RuntimeError("x1 is below 0")
    return x1 * 10, x2


def shorten(y):
    return y.round(1)


def wait(x):
    if x > 0:
        pass_gate()
    return x


@register.register_method(output_names=["y"], inputs=numbers, outputs=[register.TensorSpec("float32", [2, 2])])
def scaled(x1, x2):
    x1, x2 = register.add_stage(scale, x1, x2, outputs_count=2)
    y = register.add_stage(model, x1, x2, outputs_count=1)
    return register.add_stage(shorten, y, outputs_count=1)


@register.register_method(output_names=["y"])
def plain(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def gated(x):
    return register.add_stage(wait, x, outputs_count=1)
"""
OUTER = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def twice(x1, x2):
    y = register.call("add", "scaled", x1, x2)
    return register.call("add", "scaled", y, x2)
"""
ONES, TWOS = [[1.0, 1.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
START = "server.start_tracing()"


@dataclass(frozen=True)
class Traced:
    """A server whose traces come to a collector."""

    server: RunningServer
    collector: Collector
    gate: Gate


def write_servables(folder: Path) -> Gate:
    gate = Gate(folder / "gate")
    add_servable(folder, "add", SERVABLE.replace("PASS_GATE", gate.source))
    add_servable(folder, "outer", OUTER, ())
    return gate


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """All calls are traced, and spans go to a collector over HTTP."""
    folder = tmp_path_factory.mktemp("traced")
    gate = write_servables(folder)
    with http_collector() as (collector, url):
        environment = {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        configs = ['".", "add", device_ids=0', '".", "outer"']
        with serving(
            folder,
            configs,
            environment=environment,
            settings=START,
            start_options='default_servable="add.scaled"',
        ) as server:
            yield Traced(server, collector, gate)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Calls are traced whose client traces them. There is an extra worker; spans go over gRPC."""
    folder = tmp_path_factory.mktemp("followed")
    gate = write_servables(folder)
    with grpc_collector() as (collector, url):
        environment = {
            **QUICK,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_SERVICE_NAME": "adder",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        }
        with serving(
            folder,
            ['".", "add", device_ids=0, num_parallel_workers=2'],
            environment=environment,
            settings=START,
        ) as server:
            yield Traced(server, collector, gate)


class Parent:
    """The span of a client, which the call of this test belongs to."""

    def __init__(self) -> None:
        self.trace_id, self.span_id = os.urandom(16).hex(), os.urandom(8).hex()
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-01"}


Headers = Mapping[str, str]
Way = Callable[[RunningServer, Headers], str]
"""A call that one front end answers; it gives the `traceparent` of the reply."""


def over_http(path: str, body: Any) -> Way:
    def ask(server: RunningServer, headers: Headers) -> str:
        reply = send(server.rest, "POST", path, body, headers)
        assert reply.status == 200, reply.text
        return reply.headers["traceparent"]

    return ask


def over_grpc(path: str, message: Any) -> Way:
    def ask(server: RunningServer, headers: Headers) -> str:
        with grpc.insecure_channel(server.grpc) as channel:
            _, call = channel.unary_unary(path).with_call(
                message.SerializeToString(), timeout=TIMEOUT_S, metadata=tuple(headers.items())
            )
            return dict(call.trailing_metadata())["traceparent"]

    return ask


def over_a_stream(server: RunningServer, headers: Headers) -> str:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(f"{OIP}/ModelStreamInfer")(
            iter([OIP_REQUEST.SerializeToString()]), timeout=TIMEOUT_S, metadata=tuple(headers.items())
        )
        [reply] = [oip.ModelStreamInferResponse.FromString(reply) for reply in call]
        assert not reply.error_message
    return ""


INSTANCES = {"instances": [{"x1": ONES, "x2": TWOS}]}
TENSORS = [
    {"name": name, "shape": [2, 2], "datatype": "FP32", "data": data}
    for name, data in (("x1", ONES), ("x2", TWOS))
]
KEYS = {"key": ["x1", "x2"], "value": ["[[1,1],[1,1]]", "[[2,2],[2,2]]"]}
ARRAYS = {"x1": np.array(ONES, np.float32), "x2": np.array(TWOS, np.float32)}
NATIVE_REQUEST = native.request(
    "add", "scaled", [native.instance(**{name: native.tensor(x) for name, x in ARRAYS.items()})]
)
OIP = "/inference.GRPCInferenceService"
OIP_REQUEST = oip_messages.request(
    *(oip_messages.tensor(name, "FP32", [2, 2]) for name in ARRAYS),
    raw=[x.tobytes() for x in ARRAYS.values()],
    model="add.scaled",
)
GENERAL = "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference"
GENERAL_REQUEST = general.Request(
    tensor=[
        general.Tensor(name=name, elem_type=1, shape=[2, 2], float_data=x.flatten())
        for name, x in ARRAYS.items()
    ]
)
PIPELINE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
PIPELINE_REQUEST = pipeline.Request(name="add", method="scaled", **KEYS)
WAYS: dict[str, tuple[Way, str, str]] = {
    "native": (over_http("/model/add:scaled", INSTANCES), "native", "POST /model/"),
    "kserve v1": (over_http("/v1/models/add.scaled:predict", INSTANCES), "kserve_v1", "POST /v1/models/"),
    "oip": (over_http("/v2/models/add.scaled/infer", {"inputs": TENSORS}), "open_inference", "POST /v2/models/"),
    "paddle": (over_http("/add.scaled/prediction", KEYS), "paddle", "POST /{"),
    "grpc native": (over_grpc(native.PREDICT, NATIVE_REQUEST), "native", native.PREDICT[1:]),
    "grpc oip": (over_grpc(f"{OIP}/ModelInfer", OIP_REQUEST), "open_inference", f"{OIP[1:]}/ModelInfer"),
    "grpc oip stream": (over_a_stream, "open_inference", f"{OIP[1:]}/ModelStreamInfer"),
    "grpc paddle": (over_grpc(GENERAL, GENERAL_REQUEST), "paddle", GENERAL[1:]),
    "grpc paddle pipeline": (over_grpc(PIPELINE, PIPELINE_REQUEST), "paddle", PIPELINE[1:]),
}  # fmt: skip


def is_within(inner: ReceivedSpan, outer: ReceivedSpan) -> bool:
    return outer.begun_ns <= inner.begun_ns <= inner.ended_ns <= outer.ended_ns


def by_name(spans: Sequence[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    named = {span.name: span for span in spans}
    assert len(named) == len(spans)
    return named


@pytest.mark.parametrize("way", WAYS)
def test_each_front_end_has_one_whole_trace(traced: Traced, way: str) -> None:
    ask, dialect, name = WAYS[way]
    parent = Parent()
    replied = ask(
        traced.server, {**parent.headers, "tracestate": "vendor=1", "x-request-id": f"my-{dialect}"}
    )
    spans = traced.collector.trace(parent.trace_id, 6)
    print(as_text(spans))
    server, queued, batch, *steps = spans
    assert [queued.name, batch.name, *(span.name for span in steps)] == ["queue", "batch", *STEPS]
    assert server.name.startswith(name)
    assert (server.kind, server.parent_id) == ("SERVER", parent.span_id)
    assert {span.kind for span in spans[1:]} == {"INTERNAL"}
    assert [span.parent_id for span in spans[1:]] == [server.span_id] * 2 + [batch.span_id] * 3
    assert {span.trace_state for span in spans} == {"vendor=1"}
    assert {span.status for span in spans} == {"UNSET"}
    assert replied in ("", f"00-{parent.trace_id}-{server.span_id}-01")
    assert (server.links, batch.links) == ([batch.id], [server.id])
    assert is_within(queued, server) and is_within(batch, server)
    assert all(is_within(step, batch) for step in steps)
    assert queued.ended_ns == batch.begun_ns
    known = {
        "serving.dialect": dialect,
        "serving.servable": "add",
        "serving.version": 1,
        "serving.method": "scaled",
        "serving.request_id": f"my-{dialect}",
        "client.address": "127.0.0.1",
    }
    assert {key: server.attributes.get(key) for key in known} == known
    assert server.attributes["serving.instances"] == batch.attributes["serving.instances"]
    if way.startswith("grpc"):
        assert server.attributes["rpc.system.name"] == "grpc"
        assert server.attributes["rpc.method"] == name
        assert server.attributes["rpc.response.status_code"] == "OK"
    else:
        assert server.attributes["http.request.method"] == "POST"
        assert server.attributes["http.response.status_code"] == 200
        assert server.attributes["url.scheme"] == "http"
        assert server.attributes["url.path"].startswith("/")
        assert server.name == f"POST {server.attributes['http.route']}"
    assert server.resource["service.name"] == "mindspore-serving"
    assert batch.attributes["serving.worker"].startswith("servable add")


STEPS = ["scale", "model", "shorten"]


def test_a_batch_of_three_calls_is_one_span_linked_with_all_three(traced: Traced) -> None:
    """Two batches are held at the gate, so that what comes meanwhile is one batch."""
    body = {"instances": [{"x": 0}]}
    parents = [Parent() for _ in range(3)]
    with ThreadPoolExecutor(8) as pool:
        blockers = [
            pool.submit(send, traced.server.rest, "POST", "/model/add:gated", {"instances": [{"x": 1}]})
        ]
        held = [traced.gate.hold()]
        blockers.append(
            pool.submit(send, traced.server.rest, "POST", "/model/add:gated", {"instances": [{"x": 1}]})
        )
        replies = []
        # The second one waits in the worker, behind the first one.
        wait_for_slots(traced.server)
        for parent in parents:
            replies.append(
                pool.submit(send, traced.server.rest, "POST", "/model/add:gated", body, parent.headers)
            )
        wait_for_queue(traced.server, 3)
        held[0].release()
        traced.gate.hold().release()
        assert {reply.result(TIMEOUT_S).status for reply in [*blockers, *replies]} == {200}
    ids = {parent.trace_id for parent in parents}

    def complete(spans: list[ReceivedSpan]) -> bool:
        own = [span for span in spans if span.trace_id in ids]
        return len(own) >= 3 * 2 + 2  # server and queue of each, the batch and its step

    spans = [span for span in traced.collector.wait_for(complete) if span.trace_id in ids]
    servers = [span for span in spans if span.kind == "SERVER"]
    [batch] = [span for span in spans if span.name == "batch"]
    assert sorted(batch.links) == sorted(server.id for server in servers)
    assert [server.links for server in servers] == [[batch.id]] * 3
    assert (batch.trace_id, batch.parent_id) in [server.id for server in servers]
    assert batch.attributes["serving.requests"] == batch.attributes["serving.instances"] == 3
    assert sum(span.name == "queue" for span in spans) == 3
    assert [span.name for span in spans if span.parent_id == batch.span_id] == ["wait"]
