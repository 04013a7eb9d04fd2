"""Traces of real servers, as a real collector gets them: whole, for each front end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

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
STOP_LIMIT_S = 20.0
SERVABLE = """\
import numpy as np

from mindspore_serving.server import register

PASS_GATE
NUMBERS = register.TensorSpec("float32", [2, 2])
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


@register.register_method(output_names=["y"], inputs={"x1": NUMBERS, "x2": NUMBERS}, outputs={"y": NUMBERS})
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
JOINED = """\
from mindspore_serving.server import register


def twice(instances):
    for (x,) in instances:
        yield x * 2


@register.register_method(output_names=["y"])
def three(x):
    return register.add_stage(twice, x, outputs_count=1, batch_size=3)
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
    add_servable(folder, "joined", JOINED, ())
    return gate


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """All calls are traced, and spans go to a collector over HTTP."""
    folder = tmp_path_factory.mktemp("traced")
    gate = write_servables(folder)
    with http_collector() as (collector, url):
        environment = {**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        configs = ['".", "add", device_ids=0', '".", "outer"', '".", "joined", max_batch_delay_ms=60000']
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
        return dict(call.trailing_metadata())["traceparent"]


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
    "oip": (over_http("/v2/models/add.scaled/infer", {"inputs": TENSORS}), "open inference", "POST /v2/models/"),
    "paddle": (over_http("/add.scaled/prediction", KEYS), "paddle", "POST /{"),
    "grpc native": (over_grpc(native.PREDICT, NATIVE_REQUEST), "native", native.PREDICT[1:]),
    "grpc oip": (over_grpc(f"{OIP}/ModelInfer", OIP_REQUEST), "open inference", f"{OIP[1:]}/ModelInfer"),
    "grpc oip stream": (over_a_stream, "open inference", f"{OIP[1:]}/ModelStreamInfer"),
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
    replied = ask(traced.server, {**parent.headers, "tracestate": "vendor=1", "x-request-id": "my-request"})
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
    assert replied == f"00-{parent.trace_id}-{server.span_id}-01"
    assert (server.links, batch.links) == ([batch.id], [server.id])
    assert is_within(queued, server) and is_within(batch, server)
    assert all(is_within(step, batch) for step in steps)
    assert queued.ended_ns == batch.begun_ns
    known = {
        "serving.dialect": dialect,
        "serving.servable": "add",
        "serving.version": 1,
        "serving.method": "scaled",
        "serving.request_id": "my-request",
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


STEPS = ["add.scale", "tensor_add.mindir", "add.shorten"]


def test_a_batch_of_three_calls_is_one_span_linked_with_all_three(traced: Traced) -> None:
    """The batch waits until it is full, which it is with three."""
    parents = [Parent() for _ in range(3)]
    body = {"instances": [{"x": 5}]}
    with ThreadPoolExecutor(3) as pool:
        replies = [
            pool.submit(send, traced.server.rest, "POST", "/model/joined:three", body, parent.headers)
            for parent in parents
        ]
        assert {reply.result(TIMEOUT_S).status for reply in replies} == {200}
    ids = {parent.trace_id for parent in parents}

    def complete(spans: list[ReceivedSpan]) -> bool:  # server and queue of each, the batch and its step
        return sum(span.trace_id in ids for span in spans) >= 3 * 2 + 2

    spans = [span for span in traced.collector.wait_for(complete) if span.trace_id in ids]
    servers = [span for span in spans if span.kind == "SERVER"]
    [batch] = [span for span in spans if span.name == "batch"]
    assert sorted(batch.links) == sorted(server.id for server in servers)
    assert [server.links for server in servers] == [[batch.id]] * 3
    assert (batch.trace_id, batch.parent_id) in [server.id for server in servers]
    assert batch.attributes["serving.requests"] == batch.attributes["serving.instances"] == 3
    assert sum(span.name == "queue" for span in spans) == 3
    assert [span.name for span in spans if span.parent_id == batch.span_id] == ["joined.twice"]


def test_methods_that_a_method_calls_are_in_the_same_trace(traced: Traced) -> None:
    """The second call is made for what the first one gave; each has a queue, a batch and the stages of its own."""
    parent = Parent()
    reply = send(traced.server.rest, "POST", "/model/outer:twice", INSTANCES, parent.headers)
    assert reply.status == 200
    spans = traced.collector.trace(parent.trace_id, 3 + 2 * (3 + len(STEPS)))
    [server] = [span for span in spans if span.kind == "SERVER"]
    calls = [span for span in spans if span.name == "call add.scaled"]
    [outer] = [span for span in spans if span.name == "batch" and span.parent_id == server.span_id]
    assert [call.parent_id for call in calls] == [outer.span_id] * 2
    assert calls[0].ended_ns <= calls[1].begun_ns
    for call in calls:
        children = [span for span in spans if span.parent_id == call.span_id]
        assert [span.name for span in children] == ["queue", "batch"]
        assert call.links == [children[1].id]
        assert children[1].links == [call.id]
        assert is_within(children[0], call) and is_within(call, outer) and is_within(children[1], outer)
        assert children[0].ended_ns == children[1].begun_ns
        assert [span.name for span in spans if span.parent_id == children[1].span_id] == STEPS


def test_a_call_without_a_trace_begins_one(traced: Traced) -> None:
    reply = send(traced.server.rest, "POST", "/model/add:plain", INSTANCES)
    trace_id = reply.headers["traceparent"].split("-")[1]
    [server, _, batch, step] = traced.collector.trace(trace_id, 4)
    assert (server.parent_id, batch.parent_id, step.parent_id) == ("", server.span_id, batch.span_id)


def test_what_fails_is_told_by_status_and_attributes(traced: Traced) -> None:
    """A stage that raises is the server's fault, a value that does not fit the client's."""
    boom, wrong, nothing = Parent(), Parent(), Parent()
    bad = {"instances": [{"x1": [[-1.0, 1.0], [1.0, 1.0]], "x2": TWOS}, *INSTANCES["instances"]]}
    send(traced.server.rest, "POST", "/model/add:scaled", bad, boom.headers)
    send(traced.server.rest, "POST", "/model/add:plain", {"instances": [{"x1": 1}]}, wrong.headers)
    send(traced.server.rest, "POST", "/model/none:none", INSTANCES, nothing.headers)
    spans = traced.collector.trace(boom.trace_id, 6)
    server, _, batch, *_ = spans
    for span in (server, batch):
        assert span.status == "ERROR"
        assert "x1 is below 0" in span.message
        assert span.attributes["serving.failed_instances"] == 1
    assert server.attributes["serving.outcome"] == "stage_failed"
    [server] = traced.collector.trace(wrong.trace_id, 1)
    assert (server.status, server.attributes["http.response.status_code"]) == ("UNSET", 400)
    assert "error.type" not in server.attributes
    [server] = traced.collector.trace(nothing.trace_id, 1)
    assert (server.status, server.attributes["http.response.status_code"]) == ("UNSET", 404)


def test_a_status_of_grpc_that_is_an_error_is_told(traced: Traced) -> None:
    parent = Parent()
    with grpc.insecure_channel(traced.server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
        message = oip_messages.request(model="none").SerializeToString()
        metadata = tuple(parent.headers.items())
        channel.unary_unary(f"{OIP}/ModelInfer")(message, timeout=TIMEOUT_S, metadata=metadata)
    error: Any = raised.value
    [server] = traced.collector.trace(parent.trace_id, 1)
    assert server.attributes["rpc.response.status_code"] == error.code().name == "NOT_FOUND"
    assert server.status == "UNSET"
    trailing = dict(error.trailing_metadata())
    assert trailing["traceparent"] == f"00-{parent.trace_id}-{server.span_id}-01"


def test_hostile_headers_harm_nobody(traced: Traced) -> None:
    for value in ("", "00-zz", "x" * 5000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        headers = {"traceparent": value, "tracestate": "=" * 5000, "baggage": "k=" + "v" * 5000}
        reply = send(traced.server.rest, "POST", "/model/add:plain", INSTANCES, headers)
        assert reply.status == 200
        [server, *_] = traced.collector.trace(reply.headers["traceparent"].split("-")[1], 4)
        assert (server.parent_id, server.trace_state) == ("", "")


def test_a_killed_worker_is_the_error_of_its_batch(traced: Traced) -> None:
    parent = Parent()
    body = {"instances": [{"x": 1}]}
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(send, traced.server.rest, "POST", "/model/add:gated", body, parent.headers)
        kill(traced.gate.hold().pid)
        traced.gate.hold().release()  # another worker has it
        assert reply.result(TIMEOUT_S).status == 200
    server, queued, lost, run, step = traced.collector.trace(parent.trace_id, 5)
    assert [span.name for span in (queued, lost, run, step)] == ["queue", "batch", "batch", "add.wait"]
    assert lost.status == "ERROR"
    assert lost.message == f"{lost.attributes['serving.worker']} was lost"
    assert run.status == server.status == "UNSET"
    assert server.links == [lost.id, run.id]
    assert lost.ended_ns <= run.begun_ns


def test_only_calls_whose_client_traces_them_are_traced(followed: Traced) -> None:
    """Spans go over gRPC, from a server with a name of its own."""
    parent, other = Parent(), Parent()
    not_sampled = {"traceparent": f"00-{other.trace_id}-{other.span_id}-00"}
    for headers in ({}, not_sampled):
        reply = send(followed.server.rest, "POST", "/model/add:plain", INSTANCES, headers)
        assert (reply.status, reply.headers.get("traceparent")) == (200, None)
    assert send(followed.server.rest, "GET", "/healthz/ready").status == 200
    send(followed.server.rest, "POST", "/model/add:scaled", INSTANCES, parent.headers)
    followed.collector.wait_for(lambda spans: any(span.kind == "SERVER" for span in spans))
    assert {span.trace_id for span in followed.collector.spans} == {parent.trace_id}
    server = followed.collector.spans[-1]
    assert server.resource["service.name"] == "adder"
    assert server.resource["deployment.environment"] == "test"


def test_a_model_of_another_worker_is_in_the_same_trace(followed: Traced) -> None:
    """The extra worker has no models: its batches go to the worker on the device, through the main process."""
    for _ in range(50):
        parent = Parent()
        send(followed.server.rest, "POST", "/model/add:scaled", INSTANCES, parent.headers)
        own = [
            span
            for span in followed.collector.wait_for(lambda spans, own=parent: has_ended(spans, own.trace_id))
            if span.trace_id == parent.trace_id
        ]
        if any(span.name.startswith("call ") for span in own):
            break
    spans = followed.collector.trace(parent.trace_id, 5 + 4)
    print(as_text(spans))
    [call] = [span for span in spans if span.name.startswith("call ")]
    server, _, outer = spans[:3]
    assert call.parent_id == outer.span_id
    inner = [span for span in spans if span.parent_id == call.span_id]
    assert [span.name for span in inner] == ["queue", "batch"]
    assert inner[1].links == [call.id]
    assert inner[1].attributes["serving.worker"] != outer.attributes["serving.worker"]
    assert server.links == [outer.id]


def has_ended(spans: Sequence[ReceivedSpan], trace_id: str) -> bool:
    return any(span.kind == "SERVER" and span.trace_id == trace_id for span in spans)


def test_a_collector_that_hangs_or_is_gone_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It takes connections and never answers. Requests go on, and the server stops in time."""
    write_servables(tmp_path)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(16)
        environment = {
            **QUICK,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}",
            "OTEL_BSP_MAX_QUEUE_SIZE": "20",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
        }
        with serving(
            tmp_path, ['".", "add", device_ids=0'], environment=environment, settings=START
        ) as server:
            for _ in range(50):
                assert send(server.rest, "POST", "/model/add:plain", INSTANCES).status == 200
            deaf.settimeout(TIMEOUT_S)
            exporter, _ = deaf.accept()
            server.signal(signal.SIGTERM)
            assert server.wait(STOP_LIMIT_S) == 0
            assert server.output.count("Queue full") == 1
            assert "spans that were left were not exported within 3 s" in server.output
            exporter.close()


def test_without_the_packages_the_start_fails_and_names_the_command(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "import sys\nsys.modules['opentelemetry'] = None\n"
        "from mindspore_serving import server\nserver.start_tracing()\n"
    )
    with running_script(script) as running:
        assert running.wait() == 1
        assert "pip install 'mindspore_serving[tracing]'" in running.output


def test_nothing_is_imported_where_nobody_asks_for_traces(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "import os, sys\nos.environ['OTEL_SDK_DISABLED'] = 'true'\nfrom mindspore_serving import server\n"
        "server.start_grpc_server('unix:grpc.sock')\nserver.start_tracing()\nserver.stop()\n"
        "print('found', [name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    with running_script(script) as running:
        assert running.wait() == 0
        assert "found []" in running.output


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\nserver.start_tracing()\nserver.start_tracing()\n"
    )
    with running_script(script, environment={"OTEL_TRACES_EXPORTER": "none"}) as running:
        assert running.wait() == 1
        assert "Tracing is already running" in running.output
