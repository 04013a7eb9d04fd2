"""What clients and the log are told when requests fail: ids on both sides, paths and tracebacks in the log only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest

from mindspore_serving.client import Client
from mindspore_serving.proto import ms_service_pb2 as pb
from mindspore_serving.server.transport.failure_log import MOST_AT_ONCE
from tests.support.grpc_messages import ANSWER_TIMEOUT_S, PREDICT, errors, instance, request, text_tensor
from tests.support.http_requests import HttpReply, raw_connection, read_raw_reply, send
from tests.support.serving import RunningServer, add_servable, serving

NEW_ID = re.compile(r"[0-9a-f]{16}")
BAD_IDS = ("a b", "x" * 129, "ü", "")

CONFIG = """\
from mindspore_serving.server import register

RULE = "-" * 52
MINDSPORE = (
    f"For 'Add', the shapes do not fit.\\n\\n{RULE}\\n- C++ Call Stack: (For framework developers)\\n{RULE}\\n"
    "mindspore/core/ops/add.cc:67 AddInferShape\\n/home/jenkins/mindspore/base.cc:12 Infer\\n"
)


def load(what):
    if what == "mindspore":
        raise RuntimeError(MINDSPORE)
    if what.startswith("no "):
        open(f"/srv/secret-place/{what}.npy")
    return what


def load_batch(instances):
    raise OSError(2, "cannot read", "/srv/secret-place/all.npy")


@register.register_method(output_names=["y"])
def read(what):
    return register.add_stage(load, what, outputs_count=1)


@register.register_method(output_names=["y"])
def read_batch(what):
    return register.add_stage(load_batch, what, outputs_count=1, batch_size=1000)


run_read = register.PipelineServable("files", "read")


@register.register_pipeline(output_names=["y"])
def read_twice(what):
    run_read.run(what)
    return run_read.run(what)
"""

FAILED = "Call Function 'files.load' Failed, method: 'read', stage index(begin with 1): 1, error msg: "
NO_FILE = "[Errno 2] No such file or directory: '{}no x.npy'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("files")
    add_servable(folder, "files", CONFIG, ())
    with serving(folder, ['".", "files", 0'], rest_options="max_msg_mb_size=1") as running:
        yield running


def ask_rest(
    server: RunningServer, *what: str, method: str = "read", headers: Mapping[str, str] | None = None
) -> tuple[HttpReply, str]:
    """The reply, and its id."""
    body = {"instances": [{"what": text} for text in what]}
    reply = send(server.rest, "POST", f"/model/files:{method}", body, headers)
    return reply, reply.headers.get("x-request-id", "")


def ask_grpc(
    server: RunningServer,
    *what: str,
    method: str = "read",
    metadata: tuple[tuple[str, str], ...] = (),
) -> tuple[pb.PredictReply, str]:
    """The reply, and its id."""
    message = request("files", method, [instance(what=text_tensor(text.encode())) for text in what])
    with grpc.insecure_channel(server.grpc) as channel:
        answer, call = channel.unary_unary(PREDICT).with_call(
            message.SerializeToString(), timeout=ANSWER_TIMEOUT_S, metadata=metadata
        )
    return pb.PredictReply.FromString(answer), id_in(call)


def id_in(call: Any) -> str:
    return str(dict(call.trailing_metadata() or ()).get("x-request-id", ""))


def logged(server: RunningServer, name: str) -> str:
    """The line of the log about a request, and the lines that belong to it."""
    server.wait_for_line(f"Request {name} ")
    server.read_output()
    at = next(i for i, line in enumerate(server.lines) if f"Request {name} " in line)
    rest = server.lines[at + 1 :]
    return "\n".join(
        [server.lines[at], *rest[: next((i for i, one in enumerate(rest) if one[:1] != " "), len(rest))]]
    )


def check_log_of_lost_file(told: str) -> None:
    assert NO_FILE.format("/srv/secret-place/") in told
    assert "[ERROR] SERVING(" in told
    assert "    Traceback (most recent call last):\n" in told
    assert re.search(r'      File ".*/files/servable_config.py", line \d+, in load\n', told)
    assert "    FileNotFoundError: " in told


def test_a_file_that_is_missing_over_rest(server: RunningServer) -> None:
    reply, name = ask_rest(server, "no x")
    assert (reply.status, reply.error) == (500, FAILED + NO_FILE.format(""))
    assert NEW_ID.fullmatch(name)
    told = logged(server, name)
    assert "from 127.0.0.1 failed with status 500, POST /model/files:read, 1 of 1 instances: Call" in told
    check_log_of_lost_file(told)


@pytest.mark.both_grpc_servers
def test_a_file_that_is_missing_over_grpc(server: RunningServer) -> None:
    reply, name = ask_grpc(server, "no x")
    assert errors(reply) == [(3, FAILED + NO_FILE.format(""))]
    assert NEW_ID.fullmatch(name)
    told = logged(server, name)
    assert "failed with status 500, Predict servable(files) method(read), 1 of 1 instances: Call" in told
    check_log_of_lost_file(told)
    with Client(server.grpc, "files", "read") as client:
        assert client.infer({"what": "no x"}) == {"error": FAILED + NO_FILE.format("")}


@pytest.mark.both_grpc_servers
def test_the_error_of_one_instance(server: RunningServer) -> None:
    reply, name = ask_rest(server, "a", "no x", "b", headers={"X-Request-Id": "one-of-three"})
    assert (reply.status, name) == (200, "one-of-three")
    assert json.loads(reply.body)["instances"] == [
        {"y": "a"},
        {"error_msg": FAILED + NO_FILE.format("")},
        {"y": "b"},
    ]
    told = logged(server, name)
    assert "1 of 3 instances" in told
    check_log_of_lost_file(told)
    answer, name = ask_grpc(server, "a", "no x", "b", metadata=(("x-request-id", "grpc/3"),))
    assert errors(answer) == [(0, ""), (3, FAILED + NO_FILE.format("")), (0, "")]
    assert name == "grpc/3"
    check_log_of_lost_file(logged(server, name))


def test_a_batch_that_fails_alike_has_one_traceback(server: RunningServer) -> None:
    reply, name = ask_rest(server, *["no x"] * 500, method="read_batch")
    assert reply.error.endswith("error msg: [Errno 2] cannot read: 'all.npy'")
    told = logged(server, name)
    assert "500 of 500 instances" in told
    assert told.count("Traceback (most recent call last)") == 1


def test_text_of_mindspore(server: RunningServer) -> None:
    reply, name = ask_rest(server, "mindspore")
    assert reply.error == FAILED + "For 'Add', the shapes do not fit."
    told = logged(server, name)
    assert r"\nmindspore/core/ops/add.cc:67 AddInferShape\n/home/jenkins/mindspore/base.cc:12 Infer\n" in told


def test_a_pipeline_tells_where_the_method_has_failed(server: RunningServer) -> None:
    reply, name = ask_rest(server, "no x", method="read_twice")
    assert "secret-place" not in reply.text
    told = logged(server, name)
    assert "in read_twice" in told
    assert "in load" in told


@pytest.mark.both_grpc_servers
def test_ids_of_clients_come_back(server: RunningServer) -> None:
    for name in ("a", "0af7651916cd43dd8448eb211c80319c", "!" + "~" * 127):
        assert ask_rest(server, "fine", headers={"X-Request-Id": name})[1] == name
        assert ask_rest(server, "no x", headers={"x-request-id": name})[1] == name
        assert ask_grpc(server, "fine", metadata=(("x-request-id", name),))[1] == name
        assert ask_grpc(server, "no x", metadata=(("x-request-id", name),))[1] == name
    assert ask_rest(server, "fine")[1] == ask_grpc(server, "fine")[1] == ""


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("bad", BAD_IDS)
def test_ids_that_are_none(server: RunningServer, bad: str) -> None:
    headers = {"X-Request-Id": bad}
    assert ask_rest(server, "fine", headers=headers)[1] == ""
    assert NEW_ID.fullmatch(ask_rest(server, "no x", headers=headers)[1])
    if bad.isascii():  # others are no metadata
        metadata = (("x-request-id", bad),)
        assert ask_grpc(server, "fine", metadata=metadata)[1] == ""
        assert NEW_ID.fullmatch(ask_grpc(server, "no x", metadata=metadata)[1])


@pytest.mark.both_grpc_servers
def test_two_ids_are_none(server: RunningServer) -> None:
    assert NEW_ID.fullmatch(
        ask_grpc(server, "no x", metadata=(("x-request-id", "a"), ("x-request-id", "b")))[1]
    )
    body = b'{"instances": [{"what": "no x"}]}'
    with raw_connection(server.rest) as connection:
        connection.sendall(
            b"POST /model/files:read HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert NEW_ID.fullmatch(read_raw_reply(connection).headers["x-request-id"])


@pytest.mark.parametrize(
    ("status", "first_line", "rest", "text"),
    [
        (400, "POST /model/files:read HTTP/1.1", "Content-Length: 1\r\n\r\n[", "Illegal JSON format"),
        (400, "POST / HTTP/1.1", "Content-Length: z\r\n\r\n", "http message invalid, "),
        (
            404,
            "POST /model/no:read HTTP/1.1",
            'Content-Length: 23\r\n\r\n{"instances":[{"x":1}]} ',
            "Request servable(no)",
        ),
        (405, "GET /x?key=hidden HTTP/1.1", "\r\n", "http message only support POST right now"),
        (413, "POST / HTTP/1.1", "Content-Length: 99999999\r\n\r\n", "http message is bigger than"),
        (431, "POST / HTTP/1.1", "A: b\r\n" * 300 + "\r\n", "more than 256 headers"),
        (505, "POST / HTTP/4.0", "\r\n", "HTTP version"),
    ],
)
def test_what_clients_do_wrong(
    server: RunningServer, status: int, first_line: str, rest: str, text: str
) -> None:
    name = f"wrong-{status}-{len(rest)}"
    with raw_connection(server.rest) as connection:
        connection.sendall(f"{first_line}\r\nHost: a\r\nX-Request-Id: {name}\r\n{rest}".encode())
        reply = read_raw_reply(connection)
    assert reply.status == status
    assert text in reply.error
    if (
        status not in (431, 505) and "Content-Length: z" not in rest
    ):  # nothing is known of a head that is not read
        assert reply.headers["x-request-id"] == name
    else:
        name = reply.headers["x-request-id"]
    told = logged(server, name)
    assert f"failed with status {status}, " in told
    assert "[WARNING] SERVING(" in told
    assert text in told
    assert "hidden" not in told


@pytest.mark.both_grpc_servers
def test_bytes_that_are_no_request(server: RunningServer) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(b"\0\r\n\r\n")
        reply = read_raw_reply(connection)
    told = logged(server, reply.headers["x-request-id"])
    assert "failed with status 400, no request: http message invalid, " in told


@pytest.mark.both_grpc_servers
def test_a_message_that_is_none(server: RunningServer) -> None:
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(PREDICT)(b"\xff", timeout=ANSWER_TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    name = id_in(raised.value)
    assert NEW_ID.fullmatch(name)
    assert "Predict no message: Unable to parse request" in logged(server, name)


@pytest.mark.both_grpc_servers
def test_lines_of_the_log_cannot_be_forged(server: RunningServer) -> None:
    message = request("no\n[ERROR] forged", "read", [instance(what=text_tensor(b"a"))])
    with grpc.insecure_channel(server.grpc) as channel:
        _, call = channel.unary_unary(PREDICT).with_call(
            message.SerializeToString(), timeout=ANSWER_TIMEOUT_S
        )
    assert r"servable(no\n[ERROR] forged)" in logged(server, id_in(call))
    assert not any(line.startswith("[ERROR] forged") for line in server.lines)


def test_a_flood_of_bad_requests_hides_no_error(server: RunningServer) -> None:
    """The last one: it uses the room for warnings up."""
    server.read_output()
    before = len(server.lines)
    for _ in range(10 * MOST_AT_ONCE):
        assert send(server.rest, "GET", "/").status == 405
    name = ask_rest(server, "no x")[1]
    check_log_of_lost_file(logged(server, name))
    lines = [line for line in server.lines[before:] if "failed with status 405" in line]
    assert 0 < len(lines) < 5 * MOST_AT_ONCE


@pytest.mark.parametrize(
    ("path", "key", "rest"),
    [
        ("/v2/models/m/infer", "error", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("/v2/models/m/infer", "error", "Transfer-Encoding: chunked\r\n\r\nZZ\r\n"),
        ("/v1/models/m:predict", "error", "A: b\r\n" * 300 + "\r\n"),
        ("/x", "error_msg", "Content-Length: -1\r\n\r\n"),
    ],
)
def test_what_is_no_http_is_refused_in_the_words_of_its_path(
    server: RunningServer, path: str, key: str, rest: str
) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{rest}".encode())
        reply = read_raw_reply(connection)
    assert reply.status in (400, 431)
    assert list(json.loads(reply.body)) == [key]
