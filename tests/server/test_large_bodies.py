"""Large REST bodies are read in a process of their own: nobody waits for it, and its end costs one body at most."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.transport.http.body_process import TITLE
from mindspore_serving.server.transport.http.small_body import json_is_quick, small_body
from tests.support.http_requests import HttpReply, post, read_reply, send
from tests.support.servables import ADD
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import kill, leftovers, wait_until, wait_until_gone

CONFIG = """\
from mindspore_serving.server import register


def measure(x):
    return x.shape[0], x.sum(dtype="float64")


@register.register_method(output_names=["size", "sum"])
def sums(x):
    return register.add_stage(measure, x, outputs_count=2)
"""
PATH = "/model/sums:sums"
COUNT = 100_000
SILENCE_S = 3
PIECES = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("large")
    add_servable(folder, "sums", CONFIG, ())
    add_servable(folder, "add", ADD.format(batch=False))
    with serving(
        folder,
        ['".", "sums", 0', '".", "add", 1'],
        rest_options="max_msg_mb_size=4",
        environment={"SERVING_WORKER_TIMEOUT_S": str(SILENCE_S)},
    ) as running:
        assert post(running.rest, PATH, body(1)).status == 200
        yield running


def body(*values: float, count: int = COUNT) -> bytes:
    """A large body: an instance of `count` times each value."""
    return json.dumps({"instances": [{"x": [value] * count} for value in values]}).encode()


def sums(*values: float, count: int = COUNT) -> dict[str, Any]:
    """The answer to it."""
    return {"instances": [{"size": count, "sum": value * count} for value in values]}


def reader_of(server: RunningServer) -> int:
    """Process id of the only process that reads bodies for a server."""
    children = psutil.Process(server.process.pid).children()
    [reader] = [child for child in children if child.status() != "zombie" and TITLE in child.cmdline()[0]]
    return int(reader.pid)


def begin(server: RunningServer, content: bytes, **headers: str) -> http.client.HTTPConnection:
    """Send a request whose reply is read later, and wait until the server has got it."""
    connection = http.client.HTTPConnection(server.rest, timeout=20)
    connection.request("POST", PATH, content, headers)
    # The event loop reads this later one no earlier.
    assert post(server.rest, "/model/sums:no", {"instances": [{"x": [1.0]}]}).status == 404
    return connection


def end(connection: http.client.HTTPConnection) -> HttpReply:
    with closing(connection):
        return read_reply(connection)


def test_all_instances_arrive(server: RunningServer) -> None:
    content = body(1, 2.5, 3)
    assert small_body(content, "", json_is_quick) is None
    reply = post(server.rest, PATH, content)
    assert (reply.status, json.loads(reply.body)) == (200, sums(1, 2.5, 3))
    different = {"instances": [{"x": [1.0] * 50_000}, {"x": [1] * 60_000}, {"x": [0.5] * 70_000}]}
    reply = post(server.rest, PATH, different)
    assert [answer["sum"] for answer in json.loads(reply.body)["instances"]] == [50_000, 60_000, 35_000]


def test_values_are_those_that_were_sent(server: RunningServer) -> None:
    values = np.random.default_rng(0).normal(size=30_000).astype(np.float32)
    content = json.dumps({"instances": [{"x": values.tolist()}] * 3})
    assert small_body(content.encode(), "", json_is_quick) is None
    for reply in (post(server.rest, PATH, content), post(server.rest, PATH, content)):
        answers = json.loads(reply.body)["instances"]
        assert [answer["sum"] for answer in answers] == [values.sum(dtype=np.float64)] * 3


@pytest.mark.parametrize("coding", PIECES)
def test_a_compressed_body(server: RunningServer, coding: str) -> None:
    values = np.random.default_rng(1).integers(0, 100, 100_000).tolist()
    content = PIECES[coding](json.dumps({"instances": [{"x": values}]}).encode())
    assert small_body(content, coding, json_is_quick) is None
    reply = send(server.rest, "POST", PATH, content, {"Content-Encoding": coding})
    assert json.loads(reply.body) == {"instances": [{"size": 100_000, "sum": sum(values)}]}


WRONG = {
    "no JSON": (body(1)[:-1], {}, 400, "Illegal JSON format.unexpected end of data: line 1 column"),
    "no instances": (
        b'{"instance": [' + b"1," * COUNT * 2 + b"1]}",
        {},
        400,
        "Parser request failed, key 'instances' expects to exist once, but actually 0 times",
    ),
    "an integer": (
        body(1 << 40),
        {},
        400,
        f"Parser request failed, data out of int32 range: input x has {1 << 40}; other types are sent as base64",
    ),
    "a number": (
        body(1.5, 1e39),
        {},
        400,
        "Parser request failed, data out of float32 range: input x has 1e+39; other types are sent as base64",
    ),
    "an integer among numbers": (
        body(1.5).replace(b"1.5]", b"16777217]"),
        {},
        400,
        "Parser request failed, data is not exact in float32: input x has 16777217; ",
    ),
    "another input": (
        body(1).replace(b'"x"', b'"y"'),
        {},
        400,
        "Cannot find input x in instance input , servable sums, method sums",
    ),
    "no gzip": (body(1), {"Content-Encoding": "gzip"}, 400, "http message invalid, body is not gzip: "),
    "a bomb": (
        gzip.compress(bytes(16 << 20)),
        {"Content-Encoding": "gzip"},
        413,
        f"http message is bigger than {4 << 20}",
    ),
    "a coding": (body(1), {"Content-Encoding": "br"}, 415, "Content-Encoding br is not supported, only"),
    "a long coding": (body(1), {"Content-Encoding": "\xe9" * 40_000}, 415, "Content-Encoding \xe9"),
}


def test_numbers_go_to_a_model_as_it_takes_them(server: RunningServer) -> None:
    instance = {"x1": [[1, 2], [3.5, 4]], "x2": [[0, 0], [0, 16777216]]}
    count = 20_000
    content = json.dumps({"instances": [instance] * count}).encode()
    assert small_body(content, "", json_is_quick) is None
    reply = post(server.rest, "/model/add:add_common", content)
    assert reply.status == 200
    assert json.loads(reply.body)["instances"] == [{"y": [[1.0, 2.0], [3.5, 16777220.0]]}] * count
    reply = post(server.rest, "/model/add:add_common", content[:-13] + b"16777217]]}]}")
    assert (reply.status, reply.error) == (
        400,
        "Parser request failed, data is not exact in float32: input x2 has 16777217; add .0 to it if the nearest "
        "float32 will do",
    )


@pytest.mark.parametrize("content, headers, status, error", WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_told_as_of_small_ones(
    server: RunningServer, content: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    reader = reader_of(server)
    reply = send(server.rest, "POST", PATH, content, headers)
    assert reply.status == status
    assert reply.error.startswith(error)
    assert reader_of(server) == reader


@pytest.mark.parametrize(
    "path, status, error",
    [
        ("/model/sums", 400, "please check url, the keyword:[service method] must contain."),
        ("/model/sums:no", 404, "Request servable(sums) method(no) , method is not available"),
        ("/model/no:sums", 404, "Request servable(no) method(sums) , servable is not available"),
    ],
)
def test_a_body_with_a_wrong_target_is_not_read(
    server: RunningServer, path: str, status: int, error: str
) -> None:
    reader = reader_of(server)
    os.kill(reader, signal.SIGSTOP)
    try:
        reply = post(server.rest, path, body(1))
    finally:
        os.kill(reader, signal.SIGCONT)
    assert (reply.status, reply.error) == (status, error)


def test_others_are_answered_while_bodies_are_read(server: RunningServer) -> None:
    reader = reader_of(server)
    os.kill(reader, signal.SIGSTOP)
    try:
        first, second = begin(server, body(1)), begin(server, body(2, 3))
        assert send(server.rest, "GET", "/healthz/live").status == 200
        assert json.loads(post(server.rest, PATH, body(4, count=10)).body) == sums(4, count=10)
        with Client(server.grpc, "sums", "sums") as client:
            assert client.infer({"x": np.ones(7, np.float32)}, timeout=20) == [{"size": 7, "sum": 7.0}]
    finally:
        os.kill(reader, signal.SIGCONT)
    assert json.loads(end(second).body) == sums(2, 3)
    assert json.loads(end(first).body) == sums(1)


def test_a_body_is_read_again_when_the_process_has_ended_with_it(server: RunningServer) -> None:
    reader = reader_of(server)
    os.kill(reader, signal.SIGSTOP)
    first, second = begin(server, body(1)), begin(server, body(2))
    kill(reader)
    assert json.loads(end(first).body) == sums(1)
    assert json.loads(end(second).body) == sums(2)
    assert reader_of(server) != reader
    server.wait_for_line(
        f"A body of {len(body(1))} bytes was not read: the process that reads large bodies was"
    )


def test_a_process_that_is_stopped_is_replaced_and_all_bodies_are_read(server: RunningServer) -> None:
    assert post(server.rest, PATH, body(1)).status == 200
    stopped = reader_of(server)
    os.kill(stopped, signal.SIGSTOP)
    connections = [begin(server, body(i)) for i in (1.5, 2.5)]
    for connection, value in zip(connections, (1.5, 2.5), strict=True):
        reply = end(connection)
        assert (reply.status, json.loads(reply.body)) == (200, sums(value))
    assert reader_of(server) != stopped
    server.wait_for_line(f"showed no sign of life for {SILENCE_S} s and was killed")


def test_a_deadline_passes_while_a_body_waits(server: RunningServer) -> None:
    reader = reader_of(server)
    os.kill(reader, signal.SIGSTOP)
    try:
        reply = send(server.rest, "POST", PATH, body(1), {"X-Request-Timeout-Ms": "50"})
    finally:
        os.kill(reader, signal.SIGCONT)
    assert (reply.status, reply.error) == (
        504,
        "Request servable(sums) method(sums)  version(1) , deadline of 50 ms exceeded",
    )
    reply = send(server.rest, "POST", PATH, body(2), {"X-Request-Timeout-Ms": "20000"})
    assert json.loads(reply.body) == sums(2)


def test_a_body_that_waits_counts_as_a_request_until_its_client_leaves(tmp_path: Path) -> None:
    add_servable(tmp_path, "sums", CONFIG, ())
    limit = "server.master.context.set_max_enqueued_requests(1)"
    with serving(tmp_path, ['".", "sums", 0'], settings=limit) as server:
        assert json.loads(post(server.rest, PATH, body(1)).body) == sums(1)
        reader = reader_of(server)
        os.kill(reader, signal.SIGSTOP)
        try:
            first = begin(server, body(1))
            for content in (body(1, count=1), body(1)):
                refused = post(server.rest, PATH, content)
                assert refused.status == 429
                assert refused.error == "Serving Error: enqueued requests count exceeds the limit 1"
            first.close()
            wait_until(lambda: post(server.rest, PATH, body(2, count=1)).status == 200, "its place is free")
        finally:
            os.kill(reader, signal.SIGCONT)
        assert json.loads(post(server.rest, PATH, body(3)).body) == sums(3)


def test_a_server_that_is_asked_to_end_reads_what_it_has_got(tmp_path: Path) -> None:
    add_servable(tmp_path, "sums", CONFIG, ())
    with serving(tmp_path, ['".", "sums", 0']) as server:
        assert post(server.rest, PATH, body(1)).status == 200
        reader = reader_of(server)
        os.kill(reader, signal.SIGSTOP)
        first = begin(server, body(5))
        server.signal(signal.SIGTERM)
        wait_until(lambda: post(server.rest, PATH, body(2, count=1)).status == 503, "the server drains")
        os.kill(reader, signal.SIGCONT)
        reply = end(first)
        assert (reply.status, json.loads(reply.body)) == (200, sums(5))
        assert server.wait() == 0
        wait_until_gone(reader)
        assert leftovers(server) == []
        assert "Traceback" not in server.output


def test_a_server_that_ends_at_once_answers_what_waits(tmp_path: Path) -> None:
    add_servable(tmp_path, "sums", CONFIG, ())
    settings = "server.master.context.set_drain_timeout_s(0)"
    with serving(tmp_path, ['".", "sums", 0'], settings=settings) as server:
        assert post(server.rest, PATH, body(1)).status == 200
        reader = reader_of(server)
        os.kill(reader, signal.SIGSTOP)
        waiting = [begin(server, body(n)) for n in range(3)]
        server.signal(signal.SIGTERM)
        for connection in waiting:
            reply = end(connection)
            assert reply.status == 503
            assert reply.error == "Serving Error: the server is stopping and takes no more requests"
        assert server.wait() == 0
        wait_until_gone(reader)
        assert "Traceback" not in server.output


def test_it_ends_with_a_main_process_that_is_killed(tmp_path: Path) -> None:
    add_servable(tmp_path, "sums", CONFIG, ())
    with serving(tmp_path, ['".", "sums", 0']) as server:
        assert post(server.rest, PATH, body(1)).status == 200
        reader = reader_of(server)
        kill(server.process.pid)
        wait_until_gone(reader, *server.workers())
