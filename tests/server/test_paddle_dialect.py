"""The dialect of Paddle Serving on a real server: keys, limits, reflection, and a port that HTTP and gRPC share."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from mindspore_serving.proto.foreign import paddle_general_model_pb2 as pb2
from mindspore_serving.proto.foreign import reflection_pb2
from tests.support.holdings import holdings_of, wait_until_as_before
from tests.support.http_requests import raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving
from tests.support.watch import wait_until

GENERAL = "/GeneralModelService/inference"
GRPC_GENERAL = "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference"
GRPC_PIPELINE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
KEY = "a-key-of-more-than-16-characters"
TIMEOUT_S = 60
CONFIG = """\
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
NUMBERS = register.TensorSpec("float32", [2])


def turn(x):
    if x[0] < 0:
        raise register.InvalidInput("x is below 0")
    return x[::-1]


def boom(x):
    raise RuntimeError("boom in /secret/path/file.py")


@register.register_method(output_names=["first"])
def other(x):
    return register.add_stage(boom, x, outputs_count=1)


@register.register_method(output_names=["y"], inputs={"x": NUMBERS}, outputs={"y": NUMBERS})
def predict(x):
    return register.add_stage(turn, x, outputs_count=1)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""
BODY = {"tensor": [{"name": "x", "elem_type": 1, "shape": [2, 2], "float_data": [1, 2, 3, 4]}]}
TENSOR = pb2.Tensor(name="x", elem_type=1, shape=[2, 2], float_data=[1, 2, 3, 4])
SHARED = """
from mindspore_serving.server.start.front_ends import Listener
from mindspore_serving.server.start.server import server_of_process as it
it.start_grpc(Listener("unix:grpc.sock", 1 << 20, 100))
it.start_rest(Listener("127.0.0.1:{port}", 1 << 20, {most}), with_grpc=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("paddle")
    add_servable(folder, "m", CONFIG)
    with serving(folder, ['".", "m", 0'], rest_options="max_msg_mb_size=4") as running:
        yield running


def ask(server: RunningServer, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = send(
        server.rest, "POST", path, sent, {name.replace("_", "-"): text for name, text in headers.items()}
    )
    return reply.status, json.loads(reply.body)


def test_the_method_predict_answers(server: RunningServer) -> None:
    status, reply = ask(server, GENERAL, {**BODY, "log_id": 5})
    assert (status, reply["log_id"]) == (200, 5)
    [tensor] = reply["outputs"][0]["tensor"]
    assert tensor == {
        "float_data": [2, 1, 4, 3],
        "elem_type": 1,
        "shape": [2, 2],
        "name": "y",
        "alias_name": "y",
    }
    assert ask(server, "/m/prediction", {"key": ["x"], "value": ["1,2;3,4"]})[1]["value"] == [
        "[[2.0,1.0],[4.0,3.0]]"
    ]


def test_names_of_the_file(server: RunningServer) -> None:
    """Inputs and outputs of a model have the names of its file, too."""
    tensors = [
        {"name": name, "elem_type": 1, "shape": [2, 2], "float_data": [1] * 4} for name in ("x1", "x2")
    ]
    body = {"key": ["x1", "x2"], "value": ["[[1,2],[3,4]]"] * 2}
    assert ask(server, "/m.add/prediction", body)[1]["value"] == ["[[2.0,4.0],[6.0,8.0]]"]
    assert ask(server, "/m.add/prediction", {"tensors": tensors})[1]["err_no"] == 0


def test_errors(server: RunningServer) -> None:
    tensor = {**BODY["tensor"][0], "float_data": [1, 2, -3, 4]}
    status, reply = ask(server, GENERAL, {"tensor": [tensor], "log_id": 9})
    assert (status, reply["err_no"], reply["log_id"]) == (400, -5000, 9)
    assert reply["err_msg"] == "1 of 2 rows failed, the first one is row 1: x is below 0"
    status, reply = ask(server, "/m.other/prediction", {"key": ["x"], "value": ["1"]})
    assert (status, reply["err_no"]) == (200, 10000)
    assert "boom in file.py" in reply["err_msg"]
    assert "/secret" not in reply["err_msg"]
    assert ask(server, "/no/prediction", {})[1]["err_no"] == 3002


def test_paths_and_verbs(server: RunningServer) -> None:
    for path in (GENERAL, "/m/prediction"):
        reply = send(server.rest, "GET", path)
        assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    for path in ("/v1/models/m", "/v2/models/m", "/v2/health/live"):
        assert send(server.rest, "GET", path).status == 200
    # Words of other dialects are no services, and other words are none of pipelines.
    assert b"err_no" not in send(server.rest, "POST", "/v1/prediction", b"{}").body
    assert b"err_no" not in send(server.rest, "POST", "/m/other", b"{}").body


def test_large_and_compressed_bodies(server: RunningServer) -> None:
    rows = 40_000
    tensor = {"name": "x", "elem_type": 1, "shape": [rows, 2], "float_data": [1.5, 2] * rows}
    body = json.dumps({"tensor": [tensor], "log_id": 3}).encode()
    for sent, headers in ((body, {}), (gzip.compress(body), {"content_encoding": "gzip"})):
        status, reply = ask(server, GENERAL, sent, **headers)
        assert (status, reply["log_id"]) == (200, 3)
        assert reply["outputs"][0]["tensor"][0]["float_data"] == [2, 1.5] * rows
    message = pb2.Request(
        tensor=[pb2.Tensor(name="x", elem_type=1, shape=[rows, 2], float_data=[1.5, 2] * rows)]
    ).SerializeToString()
    reply = send(
        server.rest,
        "POST",
        GENERAL,
        message,
        {"content-type": "application/proto", "accept-encoding": "gzip"},
    )
    assert reply.headers["content-type"] == "application/proto"
    response = pb2.Response.FromString(gzip.decompress(reply.body))
    assert list(response.outputs[0].tensor[0].float_data) == [2, 1.5] * rows
    assert ask(server, GENERAL, b" " * (5 << 20))[0] == 413
    wrong = {"tensor": [{**tensor, "float_data": [1.5] * rows}]}
    status, reply = ask(server, GENERAL, wrong)
    assert (status, "has 40000 elements of data, expected 80000" in reply["err_msg"]) == (400, True)
    values = {"key": ["x"], "value": [json.dumps([[1, 2]] * rows)]}
    assert json.loads(ask(server, "/m/prediction", values)[1]["value"][0]) == [[2, 1]] * rows
    assert ask(server, "/m/prediction", {**values, "key": []})[1]["err_no"] == 8000
    assert ask(server, "/m/prediction", b"[" + b"1," * 100_000)[0] == 400


def test_reflection_lists_both_services(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(REFLECTION)
        request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        [answer] = [
            reflection_pb2.ServerReflectionResponse.FromString(one)
            for one in call(iter([request]), timeout=TIMEOUT_S)
        ]
    names = {one.name for one in answer.list_services_response.service}
    assert {GRPC_GENERAL.split("/")[1], GRPC_PIPELINE.split("/")[1]} <= names


def test_keys(tmp_path: Any) -> None:
    add_servable(tmp_path, "m", CONFIG)
    keys = f"api_keys=[{KEY!r}]"
    with serving(tmp_path, ['".", "m", 0'], rest_options=keys, grpc_options=keys) as server:
        for path in (GENERAL, "/m/prediction"):
            assert ask(server, path, BODY)[0] == 401
        assert ask(server, GENERAL, BODY, x_api_key=KEY)[0] == 200
        with grpc.insecure_channel(server.grpc) as channel:
            for path in (GRPC_GENERAL, GRPC_PIPELINE):
                with pytest.raises(grpc.RpcError) as raised:
                    channel.unary_unary(path)(b"", timeout=TIMEOUT_S)
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, str]]:
    """A server with one port, at most 40 connections of gRPC or yet unknown, and the address."""
    folder = tmp_path_factory.mktemp("shared")
    add_servable(folder, "m", CONFIG)
    port = free_port()
    script = folder / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        + SHARED.format(port=port, most=40)
        + 'server.start_servables(server.ServableStartConfig(".", "m", 0))\nprint("ready", flush=True)\n'
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("ready")
        yield RunningServer(running.process, folder, rest=f"127.0.0.1:{port}"), f"127.0.0.1:{port}"


def grpc_values(address: str) -> list[float]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as channel:
        sent = pb2.Request(tensor=[TENSOR]).SerializeToString()
        response = pb2.Response.FromString(
            channel.unary_unary(GRPC_GENERAL)(sent, timeout=TIMEOUT_S, wait_for_ready=True)
        )
        return list(response.outputs[0].tensor[0].float_data)


def test_one_port_for_both(shared: tuple[RunningServer, str]) -> None:
    server, address = shared
    for _ in range(3):
        assert grpc_values(address) == [2, 1, 4, 3]
        assert ask(server, GENERAL, BODY)[0] == 200


def test_bytes_that_come_one_by_one(shared: tuple[RunningServer, str]) -> None:
    body = json.dumps(BODY).encode()
    # PUT and POST begin like the preface of HTTP/2.
    for verb, status in ((b"POST", 200), (b"PUT", 405), (b"PRI", 400)):
        head = verb + f" {GENERAL} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with raw_connection(shared[1]) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in head + body:
                client.sendall(bytes([byte]))
            assert read_raw_reply(client).status == status


def test_many_at_once_over_both(shared: tuple[RunningServer, str]) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda at=at: found.append(
                grpc_values(shared[1]) if at % 2 else ask(shared[0], GENERAL, BODY)[0]
            )
        )
        for at in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert found.count(200) == found.count([2, 1, 4, 3]) == 20


def test_clients_that_say_too_little_or_leave(shared: tuple[RunningServer, str]) -> None:
    """Their connections count, and are let go; nobody else is kept waiting."""
    address = shared[1]
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    silent = [socket.create_connection(address.split(":")) for _ in range(10)]  # type: ignore[arg-type]
    for at, client in enumerate(silent):
        client.sendall((b"", b"PR", preface[:15], preface[:16], preface + b"\0" * 9)[at % 5])
    assert ask(shared[0], GENERAL, BODY)[0] == 200
    assert grpc_values(address) == [2, 1, 4, 3]
    crowd = [socket.create_connection(address.split(":")) for _ in range(60)]  # type: ignore[arg-type]

    def closed() -> int:
        count = 0
        for client in crowd:
            client.setblocking(False)
            try:
                count += client.recv(1) == b""
            except BlockingIOError:
                pass
            except ConnectionError:
                count += 1
        return count

    # 60 beside 10 at a limit of 40; but the gRPC server may have ended those of the 10 that sent more than a preface.
    wait_until(lambda: closed() >= 26, "those above the limit are closed")
    for client in (*silent, *crowd):
        client.close()
    wait_until(lambda: ask(shared[0], GENERAL, BODY)[0] == 200, "there is room again")
    assert grpc_values(address) == [2, 1, 4, 3]


def test_nonsense_behind_the_preface(shared: tuple[RunningServer, str]) -> None:
    for content in (b"\xff" * 5000, b"\0\0\4\x99\0\0\0\0\0junk", b"GET / HTTP/1.1\r\n\r\n"):
        with raw_connection(shared[1]) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + content)
            client.settimeout(TIMEOUT_S)
            try:
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert grpc_values(shared[1]) == [2, 1, 4, 3]


@pytest.mark.parametrize("held", [False, True])
def test_nothing_is_left_of_clients_that_send_no_more(shared: tuple[RunningServer, str], held: bool) -> None:
    """A client of gRPC may end its direction alone, and stay or go: both ends of its connection end."""
    assert grpc_values(shared[1]) == [2, 1, 4, 3]
    pid = shared[0].process.pid
    before = holdings_of(pid)
    with contextlib.ExitStack() as clients:
        for _ in range(10):
            client = clients.enter_context(raw_connection(shared[1]))
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
        if held:
            wait_until_as_before(pid, before, memory=1 << 26)
    wait_until_as_before(pid, before, memory=1 << 26)


def test_shared_memory_is_refused_on_a_shared_port(tmp_path: Any) -> None:
    add_servable(tmp_path, "m", CONFIG)
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        + SHARED.format(port=free_port(), most=10)
        + 'server.start_servables(server.ServableStartConfig(".", "m", 0), allow_client_shared_memory=True)\n'
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() != 0
    assert "allow_client_shared_memory is not for a port that REST and gRPC share" in running.output


@pytest.mark.parametrize(
    ("default", "text"),
    [("no", "but is 'no'; started are m"), ("n.predict", "but is 'n.predict'"), (1, "should be str")],
)
def test_a_default_that_is_none(tmp_path: Any, default: Any, text: str) -> None:
    add_servable(tmp_path, "m", CONFIG)
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        f'server.start_servables(server.ServableStartConfig(".", "m", 0), default_servable={default!r})\n'
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() != 0
    assert text in running.output
