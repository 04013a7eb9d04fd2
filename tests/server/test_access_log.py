"""The access log of a real server: a line for each call, in each dialect and however the call ends."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.proto.foreign import health_pb2, paddle_general_model_pb2, paddle_pipeline_pb2
from tests.support.gate import Gate
from tests.support.grpc_stub import health_stub, inference_stub
from tests.support.http_requests import raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.watch import wait_until
from tests.unit.dialect.open_inference.messages import request, tensor

CONFIG = """\
from mindspore_serving.server import register

NUMBERS = register.TensorSpec("float32", [2])


def turn(x):
    if x[0] < 0:
        raise register.InvalidInput("x is below 0")
    if x[0] > 1000:
        pass_gate()
    return x[::-1]


@register.register_method(output_names=["y"], inputs={"x": NUMBERS}, outputs={"y": NUMBERS})
def predict(x):
    return register.add_stage(turn, x, outputs_count=1)
"""
KEYS = [
    "time", "id", "peer", "transport", "dialect", "target", "status", "servable", "version", "method", "instances",
    "failed", "bytes_in", "bytes_out", "queue_ms", "compute_ms", "total_ms", "key", "trace_id",
]  # fmt: skip
NATIVE = "/model/m:predict"
GRPC_NATIVE = "/mindspore.serving.proto.MSService/Predict"
GRPC_OIP = "/inference.GRPCInferenceService/ModelInfer"
GRPC_GENERAL = "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference"
GRPC_PIPELINE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
TIMEOUT_S = 30.0


@dataclass
class Served:
    """A server with an access log in JSON, of which each line is read once.

    Attributes:
        server: The server.
        gate: What calls wait for whose first number is above 1000.
        log: The access log.
        channel: To its gRPC server.
    """

    server: RunningServer
    gate: Gate
    log: Path
    channel: grpc.Channel
    seen: int = field(default=0)

    def lines(self, count: int) -> list[dict[str, Any]]:
        """The next lines, which are all that there are."""

        def new() -> list[str]:
            return self.log.read_text().splitlines()[self.seen :]

        wait_until(lambda: len(new()) >= count, TIMEOUT_S)
        found = new()
        assert len(found) == count, found
        self.seen += count
        return [json.loads(line) for line in found]

    def line(self) -> dict[str, Any]:
        """The next line, with all that is the same in each checked and taken away."""
        [line] = self.lines(1)
        return plain(line)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return send(self.server.rest, "POST", path, body, fields)


def plain(line: dict[str, Any]) -> dict[str, Any]:
    assert list(line) == KEYS
    assert ISO.fullmatch(line["time"])
    assert abs(datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 3600
    assert line["peer"] == "127.0.0.1"
    assert 0 <= line["queue_ms"] <= line["total_ms"]
    assert 0 <= line["compute_ms"] <= line["total_ms"]
    for name in ("time", "peer", "queue_ms", "compute_ms", "total_ms"):
        del line[name]
    return line


def answered(transport: str, dialect: str, target: str, **more: Any) -> dict[str, Any]:
    """A line of a call with two instances that was answered."""
    usual = {
        "id": "", "transport": transport, "dialect": dialect, "target": target,
        "status": 200 if transport == "http" else 0, "servable": "m", "version": 1, "method": "predict",
        "instances": 2, "failed": 0, "key": "", "trace_id": "",
    }  # fmt: skip
    return usual | more


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("access")
    gate = Gate(folder / "gate")
    add_servable(folder, "m", gate.source + CONFIG, files=("1/x",))
    with (
        serving(
            folder,
            ['".", "m", 0'],
            settings='server.start_access_log("json", "access.log")',
            rest_options="max_msg_mb_size=1",
        ) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        yield Served(server, gate, folder / "access.log", channel)


@pytest.fixture
def served(module: Served) -> Served:
    module.seen = len(module.log.read_text().splitlines())
    return module


INSTANCES = {"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}
TENSOR = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
PADDLE = {"tensor": [{"name": "x", "elem_type": 1, "shape": [2, 2], "float_data": [1, 2, 3, 4]}]}


@pytest.mark.parametrize(
    ("dialect", "path", "body"),
    [
        ("native", NATIVE, INSTANCES),
        ("open_inference", "/v2/models/m/infer", {"inputs": [TENSOR]}),
        ("kserve_v1", "/v1/models/m:predict", {"instances": [[1, 2], [3, 4]]}),
        ("paddle", "/GeneralModelService/inference", PADDLE),
        ("paddle", "/m/prediction", {"key": ["x"], "value": ["1,2;3,4"]}),
    ],
)
def test_each_dialect_of_http(served: Served, dialect: str, path: str, body: Any) -> None:
    trace = f"00-{TRACE}-00f067aa0ba902b7-01"
    reply = served.post(f"{path}?a=b", body, x_request_id="my-id", traceparent=trace)
    assert reply.status == 200
    assert reply.headers["x-serving-version"] == "1"
    assert served.line() == answered(
        "http",
        dialect,
        f"POST {path}",
        id="my-id",
        bytes_in=len(json.dumps(body)),
        bytes_out=len(reply.body),
        trace_id=TRACE,
    )


def test_each_dialect_of_grpc(served: Served) -> None:
    message = request(tensor("x", "FP32", [2, 2], fp32_contents=[1, 2, 3, 4]), model="m")
    general = paddle_general_model_pb2.Request(
        tensor=[paddle_general_model_pb2.Tensor(name="x", elem_type=1, shape=[2, 2], float_data=[1, 2, 3, 4])]
    )
    pipeline = paddle_pipeline_pb2.Request(name="m", key=["x"], value=["1,2;3,4"])
    for dialect, path, sent in (
        ("open_inference", GRPC_OIP, message),
        ("paddle", GRPC_GENERAL, general),
        ("paddle", GRPC_PIPELINE, pipeline),
    ):
        call = served.channel.unary_unary(path)
        metadata = (("x-request-id", "my-id"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-00"))
        reply, outcome = call.with_call(sent.SerializeToString(), metadata=metadata)
        trailing = dict(outcome.trailing_metadata())
        assert trailing["serving-version"] == "1"
        assert trailing["x-request-id"] == "my-id"
        assert served.line() == answered(
            "grpc",
            dialect,
            path,
            id="my-id",
            bytes_in=sent.ByteSize(),
            bytes_out=len(reply),
            trace_id=TRACE,
        )


def test_the_native_dialect_of_grpc(served: Served) -> None:
    client = Client(served.server.grpc, "m", "predict")
    numbers = [{"x": np.float32([1, 2])}, {"x": np.float32([-3, 4])}]
    result = client.infer(numbers)
    assert "error" in result[1]
    line = served.line()
    assert line.pop("id")  # it has failed, and its reply has an id
    assert line.pop("bytes_in") > 0
    assert line.pop("bytes_out") > 0
    expected = answered("grpc", "native", GRPC_NATIVE, failed=1)
    del expected["id"]
    assert line == expected


def test_each_message_of_a_stream_is_a_call(served: Served) -> None:
    good = request(tensor("x", "FP32", [1, 2], fp32_contents=[1, 2]), model="m")
    bad = request(tensor("x", "FP32", [1, 2], fp32_contents=[1, 2]), model="nothing")
    replies = list(inference_stub(served.channel).ModelStreamInfer(iter([good, bad, good])))
    assert sum(bool(reply.error_message) for reply in replies) == 1
    lines = sorted(map(plain, served.lines(3)), key=lambda line: line["instances"])
    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    failed = lines[0]
    assert (failed["target"], failed["servable"], failed["version"], failed["status"]) == (path, "", 0, 0)
    assert failed["bytes_out"] > 0
    one = answered("grpc", "open_inference", path, instances=1, bytes_in=good.ByteSize())
    for line in lines[1:]:
        assert line.pop("bytes_out") > 0
        line["id"] = ""  # the stream has an id from its first failure on
        assert line == one


def test_refused_calls(served: Served) -> None:
    nothing = {"servable": "", "version": 0, "method": "", "instances": 0}
    for verb, path, body, status, dialect in (
        ("POST", "/model/nothing:predict", INSTANCES, 404, "native"),
        ("GET", "/v2/models/nothing", b"", 404, "open_inference"),
        ("PUT", "/v2", b"", 405, "open_inference"),
        ("POST", NATIVE, b"x" * (1 << 21), 413, "native"),
        ("POST", "/v1/models/m:predict", b"{", 400, "kserve_v1"),
    ):
        reply = send(served.server.rest, verb, path, body)
        assert reply.status == status
        assert "x-serving-version" not in reply.headers
        line = served.line()
        assert line.pop("id") == reply.headers["x-request-id"]
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        expected = answered(
            "http",
            dialect,
            f"{verb} {path}",
            status=status,
            bytes_in=0 if status == 413 else len(sent),
            bytes_out=len(reply.body),
            **nothing,
        )
        del expected["id"]
        assert line == expected


def test_what_is_no_request(served: Served) -> None:
    with raw_connection(served.server.rest) as connection:
        connection.sendall(b"\x16\x03\x01 garbage \r\n\r\n")
        assert read_raw_reply(connection).status == 400
    line = served.line()
    assert (line["target"], line["status"], line["dialect"], line["bytes_in"]) == ("", 400, "native", 0)


def test_calls_of_no_method_and_failed_ones(served: Served) -> None:
    with pytest.raises(grpc.RpcError):
        served.channel.unary_unary("/no.Such/Method")(b"")
    assert served.line() == answered(
        "grpc",
        "",
        "/no.Such/Method",
        status=12,
        servable="",
        version=0,
        method="",
        instances=0,
        bytes_in=0,
        bytes_out=0,
    )
    with pytest.raises(grpc.RpcError):
        served.channel.unary_unary(GRPC_OIP)(request(model="nothing").SerializeToString())
    line = served.line()
    assert (line["status"], line["servable"], line["bytes_out"]) == (5, "", 0)
    assert line["id"]


def test_hostile_targets(served: Served) -> None:
    """Whatever a client asks for, a line is a line."""
    with raw_connection(served.server.rest) as connection:
        target = b'/model/"\\<b>%0a%00' + b"a" * 7000
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_raw_reply(connection).status in (400, 404, 405)
    line = served.line()
    assert line["target"].startswith('GET /model/"\\<b>%0a%00')
    assert line["target"].endswith(" more characters)")
    assert len(line["target"]) < 600


def test_probes_are_not_logged(served: Served) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"):
        assert send(served.server.rest, "GET", path).status == 200
    health_stub(served.channel).Check(health_pb2.HealthCheckRequest())
    assert send(served.server.rest, "GET", "/v2").status == 200
    assert served.line()["target"] == "GET /v2"


def test_a_client_that_has_gone(served: Served) -> None:
    body = json.dumps({"instances": [{"x": [2000, 2]}]}).encode()
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (NATIVE.encode(), len(body))
    with raw_connection(served.server.rest) as connection:
        connection.sendall(head + body)
        held = served.gate.hold()
    line = served.line()
    held.release()
    assert (line["status"], line["servable"], line["version"]) == (499, "m", 1)
    assert (line["instances"], line["failed"], line["bytes_in"], line["bytes_out"]) == (1, 1, len(body), 0)


def test_a_grpc_client_that_has_gone_or_waits_no_longer(served: Served) -> None:
    message = request(tensor("x", "FP32", [1, 2], fp32_contents=[2000, 2]), model="m").SerializeToString()
    call = served.channel.unary_unary(GRPC_OIP)
    future = call.future(message)
    held = served.gate.hold()
    future.cancel()
    line = served.line()
    held.release()
    assert (line["status"], line["instances"], line["failed"], line["bytes_out"]) == (1, 1, 1, 0)
    with pytest.raises(grpc.RpcError) as raised:
        call(message, timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert served.line()["status"] in (1, 4)
    served.gate.hold().release()


def test_a_log_that_was_moved_is_opened_again_at_sighup(served: Served) -> None:
    served.post(NATIVE, INSTANCES)
    served.line()
    moved = served.log.with_suffix(".1")
    served.log.rename(moved)
    served.server.signal(signal.SIGHUP)
    wait_until(served.log.exists, TIMEOUT_S)
    assert served.log.stat().st_mode & 0o007 == 0
    served.seen = 0
    before = moved.stat().st_size
    served.post(NATIVE, INSTANCES)
    assert served.line()["status"] == 200
    assert moved.stat().st_size == before


def test_two_thousand_requests_at_once(served: Served) -> None:
    """No line is lost or broken, and each request has its own."""

    def ask(name: int) -> None:
        with raw_connection(served.server.rest) as connection:
            body = json.dumps(INSTANCES)
            for number in range(100):
                connection.sendall(
                    f"POST {NATIVE} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {name}.{number}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                assert read_raw_reply(connection).status == 200

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = served.lines(2000)
    assert {line["id"] for line in lines} == {
        f"{name}.{number}" for name in range(20) for number in range(100)
    }
    assert {plain(line)["instances"] for line in lines} == {2}


CHATTY = """\
from mindspore_serving.server import register


def say(x):
    print("the worker says", int(x), flush=True)
    return x


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(say, x, outputs_count=1)
"""
KEY = "a-key-of-more-than-16-characters"
TEXT = re.compile(
    r"(?P<time>\S+) 127\.0\.0\.1 native \"POST /model/m:(?P<method>\w+)\" status=(?P<status>\d+) id=(?P<id>\S+) "
    r"servable=(\S+) version=(\S+) method=(\S+) instances=\d failed=\d bytes_in=\d+ bytes_out=\d+ "
    r"queue_ms=\d+\.\d{3} compute_ms=\d+\.\d{3} total_ms=\d+\.\d{3} key=(?P<key>\S+) trace=-"
)


def test_in_a_container_nobody_waits_for_who_reads_the_output(tmp_path: Path) -> None:
    """Access log, log of the main process and those of workers in one pipe, which nobody reads for a while."""
    add_servable(tmp_path, "m", CHATTY, files=("1/x",))
    with serving(
        tmp_path,
        ['".", "m", 0'],
        environment={"SERVING_ACCESS_LOG": "text", "SERVING_LOG_TO_STDOUT": "1"},
        rest_options=f'api_keys=["{KEY} name=dashboard"]',
    ) as server:
        server.read_output()
        assert server.process.stdout is not None
        fcntl.fcntl(server.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        key = {"X-API-Key": KEY}
        for number in range(100):
            assert send(server.rest, "POST", NATIVE, {"instances": [{"x": number}]}, key).status == 200
            assert send(server.rest, "POST", "/model/m:other", {"instances": [{"x": 1}]}, key).status == 404
        assert send(server.rest, "POST", NATIVE, {"instances": [{"x": 1}]}).status == 401
        server.signal(signal.SIGTERM)  # its last lines are there, too
        server.wait()
        said = [line for line in server.lines if "the worker says" in line]
        assert said == [f"[m_device0_version1] the worker says {number}" for number in range(100)]
        found = [found for line in server.lines if (found := TEXT.fullmatch(line))]
        assert [one["status"] for one in found] == ["200", "404"] * 100 + ["401"]
        assert [one["key"] for one in found] == ["dashboard"] * 200 + ["-"]
        assert sum("WARNING" in line and "m:other" in line for line in server.lines) >= 20
        assert KEY not in server.output


SCRIPT = """\
import asyncio
import sys

from aiohttp import web

from mindspore_serving import server

server.start_access_log("json", "access.log", probes=True)
try:
    server.start_access_log("json", "other.log")
except RuntimeError as error:
    print(error, flush=True)
server.start_access_log("json", "access.log", probes=True)
application = server.rest_application()


async def own(request):
    return web.Response(text="own")


application.router.add_get("/own", own)
yours = web.Application()
yours.add_subapp("/api", application)
server.start_servables(server.ServableStartConfig(".", "m", 0))


async def serve():
    runner = web.AppRunner(yours)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", {port}).start()
    print("mounted", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve())
"""


def test_calls_of_an_application_of_the_users_own(tmp_path: Path) -> None:
    """Dialects that are mounted tell of their calls, too; routes of the user's own are the user's to log."""
    add_servable(tmp_path, "m", CHATTY, files=("1/x",))
    port = free_port()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(port=port))
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        line = running.wait_for_line("access log is started already")
        assert "access.log" in line
        assert not (tmp_path / "other.log").exists()
        running.wait_for_line("mounted")
        address = f"127.0.0.1:{port}"
        assert send(address, "GET", "/api/own").text == "own"
        reply = send(address, "POST", "/api/model/m:predict", {"instances": [{"x": 1}]})
        assert reply.headers["x-serving-version"] == "1"
        assert send(address, "GET", "/api/v2/health/ready").status == 200
        log = tmp_path / "access.log"
        wait_until(lambda: log.read_text().count("\n") == 2, TIMEOUT_S)
        lines = [json.loads(text) for text in log.read_text().splitlines()]
        assert [line["target"] for line in lines] == ["POST /model/m:predict", "GET /v2/health/ready"]
        assert [line["version"] for line in lines] == [1, 0]
