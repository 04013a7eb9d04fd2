"""The dialect of Paddle Serving under attack: many at once, clients that vanish, a full queue, nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import grpc.aio
import pytest

from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general_pb2
from mindspore_serving.proto.foreign import paddle_pipeline_pb2 as pipeline_pb2
from tests.support.foreign_server import LIMIT, ForeignServer, foreign_server
from tests.support.http_requests import raw_connection, read_raw_reply, send
from tests.support.watch import kill, wait_until

GENERAL = "/GeneralModelService/inference"
GRPC_GENERAL = "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference"
GRPC_PIPELINE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    options = 'default_servable="two.twice_all"'
    with foreign_server(tmp_path_factory.mktemp("paddle"), start_options=options) as running:
        yield running


def general_body(values: Sequence[int]) -> bytes:
    tensor = {"name": "x", "elem_type": 0, "shape": [len(values)], "int64_data": list(values)}
    return json.dumps({"tensor": [tensor], "log_id": 7}).encode()


def pipeline_body(values: Sequence[int]) -> bytes:
    return json.dumps({"key": ["x"], "value": [str(list(values))]}).encode()


def message(path: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Asking:
    """Asks in the four ways that there are.

    Args:
        server: Who is asked.
        http: A session.
        channel: A channel.
    """

    def __init__(self, server: ForeignServer, http: aiohttp.ClientSession, channel: grpc.aio.Channel) -> None:
        self._server = server
        self._http = http
        self._general = channel.unary_unary(GRPC_GENERAL)
        self._pipeline = channel.unary_unary(GRPC_PIPELINE)

    async def general_http(self, values: Sequence[int]) -> list[int]:
        reply = await self._http.post(self._server.running.url(GENERAL), data=general_body(values))
        document = json.loads(await reply.read())
        assert (reply.status, document.get("log_id")) == (200, 7), document
        found: list[int] = document["outputs"][0]["tensor"][0]["int64_data"]
        return found

    async def pipeline_http(self, values: Sequence[int]) -> list[int]:
        url = self._server.running.url("/two.twice/prediction")
        reply = await self._http.post(url, data=pipeline_body(values))
        document = json.loads(await reply.read())
        assert (reply.status, document["err_no"]) == (200, 0), document
        found: list[int] = json.loads(document["value"][0])
        return found

    async def general_grpc(self, values: Sequence[int]) -> list[int]:
        tensor = general_pb2.Tensor(name="x", elem_type=0, shape=[len(values)], int64_data=values)
        sent = general_pb2.Request(tensor=[tensor]).SerializeToString()
        response = general_pb2.Response.FromString(await self._general(sent, timeout=TIMEOUT_S))
        return list(response.outputs[0].tensor[0].int64_data)

    async def pipeline_grpc(self, values: Sequence[int]) -> list[int]:
        sent = pipeline_pb2.Request(name="two.twice", key=["x"], value=[str(list(values))])
        response = pipeline_pb2.Response.FromString(
            await self._pipeline(sent.SerializeToString(), timeout=TIMEOUT_S)
        )
        assert response.err_no == 0, response.err_msg
        found: list[int] = json.loads(response.value[0])
        return found


async def ask_all(server: ForeignServer, questions: Sequence[Sequence[int]]) -> list[list[int]]:
    """Ask all questions at once, each in another way than the one before."""
    connector = aiohttp.TCPConnector(limit=200)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        grpc.aio.insecure_channel(server.running.grpc) as channel,
    ):
        asking = Asking(server, http, channel)
        ways = (asking.general_http, asking.pipeline_http, asking.general_grpc, asking.pipeline_grpc)
        return await asyncio.gather(*(ways[at % 4](values) for at, values in enumerate(questions)))


def assert_serves(server: ForeignServer) -> None:
    assert asyncio.run(ask_all(server, [[21, -3]] * 4)) == [[42, -6]] * 4


def test_2000_requests_at_once(server: ForeignServer) -> None:
    questions = [[at * 10 + row for row in range(1 + at % 4)] for at in range(2000)]
    told = asyncio.run(ask_all(server, questions))
    assert told == [[2 * value for value in values] for values in questions]


@pytest.mark.parametrize("where", ["head", "body", "while it waits"])
def test_clients_that_vanish(server: ForeignServer, where: str) -> None:
    path = "/one.batches/prediction"
    with raw_connection(server.running.rest) as patient:
        patient.sendall(message(path, pipeline_body([1, 2])))
        held = server.gate.hold()
        whole = message(path, pipeline_body([3, 4, 5]))
        cut = {"head": 40, "body": len(whole) - 4, "while it waits": len(whole)}[where]
        for at in range(3 * LIMIT):
            with raw_connection(server.running.rest) as hasty:
                if at % 2:
                    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.sendall(whole[:cut])
        server.wait_until_not_full()
        held.release()
        with server.gate.let_all_pass():
            assert json.loads(read_raw_reply(patient).body)["value"] == ["[2,4]"]
            wait_until(lambda: not server.is_full(), "all places are free")
            assert_serves(server)


def test_a_full_queue(server: ForeignServer) -> None:
    path = "/one.batches/prediction"
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(raw_connection(server.running.rest)) for _ in range(LIMIT)]
        clients[0].sendall(message(path, pipeline_body([0])))
        held = server.gate.hold()
        for at, client in enumerate(clients[1:], 1):
            client.sendall(message(path, pipeline_body([at])))
        server.wait_until_full()
        refused = send(server.running.rest, "POST", path, pipeline_body([1]))
        document = json.loads(refused.body)
        assert (refused.status, document["err_no"]) == (429, 3000)
        assert refused.headers["retry-after"] == "1"
        held.release()
        with server.gate.let_all_pass():
            for at, client in enumerate(clients):
                assert json.loads(read_raw_reply(client).body)["value"] == [f"[{2 * at}]"]


def test_a_worker_that_is_killed(server: ForeignServer) -> None:
    with raw_connection(server.running.rest) as patient:
        patient.sendall(message("/one.batches/prediction", pipeline_body([4, 5])))
        held = server.gate.hold()
        kill(held.pid)
        with server.gate.let_all_pass():
            assert json.loads(read_raw_reply(patient).body)["value"] == ["[8,10]"]
    wait_until(lambda: len(server.running.workers()) == 3, "a new worker has taken its place", 60)
    assert_serves(server)


def test_a_time_that_is_too_short(server: ForeignServer) -> None:
    body = pipeline_body([1])
    with raw_connection(server.running.rest) as patient:
        patient.sendall(message("/one.batches/prediction", body, "X-Request-Timeout-Ms: 300\r\n"))
        held = server.gate.hold()
        late = read_raw_reply(patient)
        assert (late.status, json.loads(late.body)["err_no"]) == (504, 6000)
        held.release()
        with server.gate.let_all_pass():
            wait_until(lambda: not server.is_full(), "all places are free")


def test_nonsense(server: ForeignServer) -> None:
    """Bodies with a change at random, each sent in each way: each gets an answer, and none ends anything."""
    change = random.Random(4)
    tensor = general_pb2.Tensor(name="x", elem_type=0, shape=[3], int64_data=[1, -2, 3])
    seeds: list[tuple[str, bytes, str]] = [
        (GENERAL, general_body([1, 2, 3]), "application/json"),
        (GENERAL, general_pb2.Request(tensor=[tensor]).SerializeToString(), "application/proto"),
        ("/two.twice/prediction", pipeline_body([1, 2]), "application/json"),
    ]
    statuses = set()
    for round_ in range(240):
        path, body, kind = seeds[round_ % 3]
        changed = bytearray(body)
        for _ in range(1 + round_ % 5):
            changed[change.randrange(len(changed))] = change.randrange(256)
        if round_ % 7 == 0:
            del changed[change.randrange(len(changed)) :]
        sent: bytes = bytes(changed)
        headers = {"content-type": kind}
        if round_ % 11 == 0:
            sent, headers["content-encoding"] = gzip.compress(sent), "gzip"
        reply = send(server.running.rest, "POST", path, sent, headers)
        assert len(reply.body) < 4000
        statuses.add(reply.status)
    assert statuses <= {200, 400}
    assert statuses == {200, 400}
    assert_serves(server)


async def _grpc_status(server: ForeignServer, path: str, sent: bytes) -> Any:
    async with grpc.aio.insecure_channel(server.running.grpc) as channel:
        try:
            return await channel.unary_unary(path)(sent, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return error.code()


@pytest.mark.parametrize("path", [GRPC_GENERAL, GRPC_PIPELINE])
def test_messages_of_nonsense(server: ForeignServer, path: str) -> None:
    change = random.Random(5)

    async def run() -> None:
        for size in (0, 1, 5, 300, 70_000):
            got = await _grpc_status(server, path, change.randbytes(size))
            assert isinstance(got, bytes) or got in (
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.INTERNAL,
            )

    asyncio.run(run())
    assert_serves(server)


def test_large_requests(server: ForeignServer) -> None:
    """Some megabytes in each way: read elsewhere, or while others have their turns."""
    values = list(range(60_000))
    told = asyncio.run(ask_all(server, [values, [1], values, [1]]))
    assert told == [[2 * value for value in values], [2], [2 * value for value in values], [2]]
