"""Clients that go away, send nonsense, or are very many."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import numpy as np
import psutil
import pytest

from mindspore_serving.client import Client
from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.proto import ms_service_pb2
from tests.support import http2_frames
from tests.support.gate import Gate
from tests.support.grpc_messages import PREDICT, array_of
from tests.support.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    PREFACE,
    frames,
    headers,
    http2_connection,
    message,
    reset,
    settings,
)
from tests.support.http_requests import post, raw_connection, read_raw_bodies, read_raw_reply
from tests.support.serving import RunningServer, add_servable, free_port, running_script, serving

# `batches` tells each batch that it gets, and waits at the gate before it answers.
SERVABLE = """\
import numpy as np

from mindspore_serving.server import register


def method(name, function, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"])(one_stage)


def twice(x):
    return x * 2


def batches(instances):
    values = [int(x) for x, in instances]
    with open("batches", "a") as file:
        file.write(f"{values}\\n")
    pass_gate()
    return [x * 2 for x, in instances]


def large(x):
    return np.zeros(int(x), np.uint8)


method("twice", twice)
method("batches", batches, 8)
method("large", large)
"""

LIMIT = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The servable with one worker; for tests that leave nothing waiting."""
    folder = tmp_path_factory.mktemp("clients")
    with Gate(folder / "gate") as gate:
        add_servable(folder, "one", gate.source + SERVABLE, ())
        with serving(folder, ['".", "one", 0']) as running:
            yield running


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[tuple[RunningServer, Gate]]:
    """The servable with one worker, at most LIMIT unanswered requests, and its gate."""
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "one", gate.source + SERVABLE, ())
        script = tmp_path / "start_server.py"
        script.write_text(
            "from mindspore_serving import server\n"
            f"server.master.context.set_max_enqueued_requests({LIMIT})\n"
            'server.start_servables(server.ServableStartConfig(".", "one", 0))\n'
            f"server.start_grpc_server({grpc!r})\n"
            f"server.start_restful_server({rest!r})\n"
            'print("up", flush=True)\n'
        )
        with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
            running.wait_for_line("up")
            yield RunningServer(running.process, tmp_path, running.lines, grpc=grpc, rest=rest), gate


def number(value: int) -> dict[str, Any]:
    return {"x": np.array(value, np.int64)}


def doubled(replies: Any) -> list[int]:
    assert isinstance(replies, list), replies
    return [int(reply["y"]) for reply in replies]


def body(*values: int, method: str = "batches") -> bytes:
    content = json.dumps({"instances": [{"x": value} for value in values]}).encode()
    head = (
        f"POST /model/one:{method} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def assert_serves(server: RunningServer) -> None:
    """Both front ends answer, and the worker is the one that it was."""
    with Client(server.grpc, "one", "twice") as client:
        assert doubled(client.infer([number(i) for i in range(5)], timeout=20)) == [0, 2, 4, 6, 8]
    reply = post(server.rest, "/model/one:twice", {"instances": [{"x": 21}]})
    assert (reply.status, reply.text) == (200, '{"instances":[{"y":42}]}')


def wait_for_arrival(server: RunningServer) -> None:
    """Return once the main process has seen all that was sent before on this kind of connection."""
    with Client(server.grpc, "one", "no_such_method") as client:
        assert "method is not available" in client.infer(number(1), timeout=20)["error"]


async def arrival(client: AsyncClient) -> None:
    """Return once the main process has seen all that tasks made before have sent with the client."""
    request = ms_service_pb2.PredictRequest(instances=[ms_service_pb2.Instance()])
    request.servable_spec.name, request.servable_spec.method_name = "one", "no_such_method"

    async def ask() -> Any:
        return await client.stub.Predict(request, timeout=20)

    reply = await asyncio.create_task(ask())  # a task as they are, and so behind them on the connection
    assert "method is not available" in str(reply.error_msg)


def told_batches(server: RunningServer) -> list[list[int]]:
    return [json.loads(line) for line in (server.folder / "batches").read_text().splitlines()]


# ---- clients that go away


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("when", ["in the queue", "in a batch"])
def test_one_of_four_requests_of_a_batch_is_cancelled(gated: tuple[RunningServer, Gate], when: str) -> None:
    server, gate = gated

    async def cancel(client: AsyncClient, task: asyncio.Task[Any]) -> None:
        task.cancel()
        await asyncio.wait([task])
        await arrival(client)

    async def run() -> None:
        async with AsyncClient(server.grpc, "one", "batches") as client:
            first = asyncio.create_task(client.infer(number(0)))
            held = await asyncio.to_thread(gate.hold)
            second = asyncio.create_task(client.infer(number(1)))  # takes the worker's other slot
            await arrival(client)
            four = [asyncio.create_task(client.infer(number(i))) for i in range(2, 6)]
            await arrival(client)
            if when == "in the queue":
                await cancel(client, four[1])
            while 4 not in told_batches(server)[-1]:
                held.release()
                held = await asyncio.to_thread(gate.hold)
            if when == "in a batch":
                await cancel(client, four[1])
            gate.open()
            held.release()
            others = await asyncio.wait_for(asyncio.gather(first, second, four[0], four[2], four[3]), 20)
            assert [doubled(reply) for reply in others] == [[0], [2], [4], [8], [10]]
            assert four[1].cancelled()

    asyncio.run(run())
    shared = next(batch for batch in told_batches(server) if 4 in batch)
    assert set(shared) >= {2, 4, 5}, "they did not share a batch"
    assert (3 in shared) == (when == "in a batch")
    assert_serves(server)


@pytest.mark.both_grpc_servers
def test_cancelled_requests_do_not_count_as_unanswered(gated: tuple[RunningServer, Gate]) -> None:
    server, gate = gated

    async def run() -> None:
        async with (
            AsyncClient(server.grpc, "one", "batches") as client,
            AsyncClient(server.grpc, "one", "twice") as other,
        ):
            for round_ in range(4):
                tasks = [asyncio.create_task(client.infer(number(i))) for i in range(LIMIT)]
                if round_ == 0:
                    held = await asyncio.to_thread(gate.hold)
                await arrival(client)
                assert not any(task.done() for task in tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await arrival(client)
            calls = asyncio.gather(*(other.infer(number(i)) for i in range(LIMIT)))
            await arrival(other)
            gate.open()
            held.release()
            replies = await asyncio.wait_for(calls, 20)
            assert [doubled(reply) for reply in replies] == [[2 * i] for i in range(LIMIT)]

    asyncio.run(run())
    assert_serves(server)


@pytest.mark.parametrize("where", ["headers", "body", "after the request"])
def test_rest_clients_that_close_their_connection(gated: tuple[RunningServer, Gate], where: str) -> None:
    server, gate = gated
    with raw_connection(server.rest) as patient:
        patient.sendall(body(1, 2))
        held = gate.hold()
        message = body(3, 4, 5)
        cut = {"headers": 30, "body": len(message) - 5, "after the request": len(message)}[where]
        for i in range(3 * LIMIT):  # more than may be unanswered at a time
            with raw_connection(server.rest) as hasty:
                if i % 2:  # a reset instead of an orderly end
                    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.sendall(message[:cut])
        wait_for_arrival(server)
        gate.open()
        held.release()
        patient.settimeout(20)
        assert read_raw_reply(patient).text == '{"instances":[{"y":2},{"y":4}]}'
    assert_serves(server)


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("ending", ["reset of the call", "end of the connection"])
@pytest.mark.parametrize("where", ["metadata", "message", "after the request", "reply"])
def test_grpc_clients_that_leave(gated: tuple[RunningServer, Gate], where: str, ending: str) -> None:
    server, gate = gated
    method, value = ("large", 1 << 20) if where == "reply" else ("batches", 7)
    whole = message(method, value)
    sent = {"metadata": None, "message": http2_frames.frame(DATA, 0, 1, whole[:-5])}.get(
        where, http2_frames.frame(DATA, END_STREAM, 1, whole)
    )
    leaving = (
        PREFACE + settings(window=100) + headers(1, flags=0 if sent is None else END_HEADERS) + (sent or b"")
    )
    with Client(server.grpc, "one", "large") as client, raw_connection(server.rest) as patient:
        for _ in range(3 * LIMIT):  # more than may be unanswered at a time
            with http2_connection(server.grpc, leaving) as connection:
                if where == "reply":
                    assert any(one.kind == DATA for one in frames(connection))
                elif where == "after the request":
                    wait_for_arrival(server)
                if ending == "reset of the call" and sent is not None:
                    connection.sendall(reset(1))
        wait_for_arrival(server)
        if where == "after the request":
            held = gate.hold()
            gate.open()
            held.release()
        for _ in range(LIMIT):  # all places are free
            assert isinstance(client.infer(number(1), timeout=20), list)
        gate.open()
        patient.sendall(body(1, 2))
        assert read_raw_reply(patient).text == '{"instances":[{"y":2},{"y":4}]}'
    assert_serves(server)


def test_clients_that_leave_while_their_reply_is_written(server: RunningServer) -> None:
    main = psutil.Process(server.process.pid)
    for i in range(20):
        with raw_connection(server.rest) as connection:
            if i % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(body(8 << 20, method="large") * 2)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert_serves(server)
    end = time.monotonic() + 20
    while any(c.status in ("CLOSE_WAIT", "ESTABLISHED") for c in main.net_connections("tcp")):
        assert time.monotonic() < end, main.net_connections("tcp")


def test_a_client_that_never_reads_its_reply(server: RunningServer) -> None:
    connections = []
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", int(server.rest.rpartition(":")[2])))
        connection.sendall(body(2 << 20, method="large"))
        connections.append(connection)
    assert_serves(server)
    for connection in connections:
        connection.close()
    assert_serves(server)


def test_a_client_that_sends_on_and_reads_nothing(server: RunningServer) -> None:
    main = psutil.Process(server.process.pid)
    before = main.memory_info().rss
    with raw_connection(server.rest) as connection:
        connection.sendall(body(4 << 20, method="large") * 40)  # replies of 8 MiB each
        assert_serves(server)
        bodies = read_raw_bodies(connection)
        for _ in range(3):  # at least so many were under way, one after the other
            assert len(json.loads(next(bodies))["instances"][0]["y"]) == 4 << 20
        assert main.memory_info().rss - before < 150 << 20
    assert_serves(server)


def test_rest_requests_whose_client_has_closed_are_abandoned(gated: tuple[RunningServer, Gate]) -> None:
    server, gate = gated
    abandoned = range(100, 100 + LIMIT - 1)
    with raw_connection(server.rest) as patient, contextlib.ExitStack() as opened:
        patient.sendall(body(1))
        held = gate.hold()
        for value in abandoned:
            with raw_connection(server.rest) as hasty:
                hasty.sendall(body(value))
        accepted: list[socket.socket] = []
        end = time.monotonic() + 20
        while len(accepted) < LIMIT - 1:
            assert time.monotonic() < end, f"only {len(accepted)} places have become free"
            connection = opened.enter_context(raw_connection(server.rest))
            connection.sendall(body(10 + len(accepted)))
            wait_for_arrival(server)
            if select.select([connection], [], [], 0.1)[0]:
                assert read_raw_reply(connection).status == 429
            else:
                accepted.append(connection)
        gate.open()
        held.release()
        assert read_raw_reply(patient).text == '{"instances":[{"y":2}]}'
        for i, connection in enumerate(accepted):
            assert read_raw_reply(connection).text == f'{{"instances":[{{"y":{20 + 2 * i}}}]}}'
    done = {value for batch in told_batches(server) for value in batch}
    assert len(done & set(abandoned)) <= 1  # what the worker's other slot held
    assert_serves(server)


def test_connections_that_come_and_go(server: RunningServer) -> None:
    for i in range(300):
        with raw_connection(server.rest) as connection:
            if i % 3 == 1:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if i % 2:
                connection.sendall(body(1, method="twice")[: 7 * i])
    assert_serves(server)
    main = psutil.Process(server.process.pid)
    end = time.monotonic() + 20
    while any(c.status == "CLOSE_WAIT" for c in main.net_connections("tcp")):
        assert time.monotonic() < end, main.net_connections("tcp")


# ---- what HTTP allows, and few clients do


@pytest.mark.parametrize("cut", [0, 200, -25, -1, None])
def test_an_offer_of_http_2_is_ignored(server: RunningServer, cut: int | None) -> None:
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    )
    message = body(4, method="twice").replace(b"Host:", offer + b"Host:")
    with raw_connection(server.rest) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            connection.sendall(message[:cut])
            wait_for_arrival(server)
            connection.sendall(message[cut:] if cut is not None else b"")
            assert read_raw_reply(connection).text == '{"instances":[{"y":8}]}'
    assert_serves(server)


def coded(content: bytes, coding: str, verb: str = "POST") -> bytes:
    head = (
        f"{verb} http://localhost/model/one:twice?a=1 HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Encoding: {coding}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@pytest.mark.parametrize(
    ("message", "status", "text"),
    [
        (coded(gzip.compress(b'{"instances":[{"x":5}]}'), "gzip"), 200, '{"instances":[{"y":10}]}'),
        (coded(zlib.compress(b'{"instances":[{"x":5}]}'), "deflate"), 200, '{"instances":[{"y":10}]}'),
        (coded(gzip.compress(bytes(120_000_000), 1), "gzip"), 413, "http message is bigger than 104857600"),
        (coded(b'{"instances":[{"x":5}]}', "gzip"), 400, "http message invalid, body is not gzip"),
        (coded(b"x", "br"), 415, "Content-Encoding br is not supported"),
        (coded(b"x", "br", "PUT"), 405, "http message only support POST right now"),
    ],
    ids=["gzip", "deflate", "bomb", "no gzip", "br", "PUT"],
)
def test_compressed_bodies(server: RunningServer, message: bytes, status: int, text: str) -> None:
    with raw_connection(server.rest) as connection:
        for _ in range(2):  # the connection is kept
            connection.sendall(message)
            reply = read_raw_reply(connection)
            assert (reply.status, text in reply.text) == (status, True), reply.text
    assert_serves(server)


def test_a_body_that_is_too_large_for_a_verb_that_is_wrong(server: RunningServer) -> None:
    with raw_connection(server.rest) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n")
        assert read_raw_reply(connection).status == 405


# ---- nonsense

GARBAGE = {
    "zeros": bytes(4096),
    "random": random.Random(7).randbytes(1 << 16),
    "text": b"hello\r\n\r\n" * 100,
    "http 0.9": b"GET /\r\n",
    "http 1.1": b"POST /model/one:twice HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "bad chunk": b"POST /model/one:twice HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "long line": b"POST /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "many headers": b"POST / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
    "tls": bytes.fromhex("160301020001fc0303") + bytes(500),
}


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("port", ["grpc", "rest"])
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_on_a_port(server: RunningServer, port: str, kind: str) -> None:
    workers = server.workers()
    address = server.grpc if port == "grpc" else server.rest
    for _ in range(3):
        with raw_connection(address) as connection:
            try:
                connection.sendall(GARBAGE[kind])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):  # the server ends the connection; it does not wait for more
                    pass
            except TimeoutError:
                raise
            except OSError:
                pass  # it was ended before all was sent
    assert_serves(server)
    assert server.workers() == workers


# ---- very many


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("connections", [1, 50, 500])
def test_2000_grpc_requests_at_once(server: RunningServer, connections: int) -> None:
    own_connection = [("grpc.use_local_subchannel_pool", 1)]

    async def ask(channel: grpc.aio.Channel, i: int) -> bool:
        reply = await channel.unary_unary(PREDICT)(message("twice", i)[5:], timeout=60)
        [told] = ms_service_pb2.PredictReply.FromString(reply).instances
        return bool(array_of(told.items["y"]) == 2 * i)

    async def run() -> int:
        async with contextlib.AsyncExitStack() as opened:
            channels = [
                await opened.enter_async_context(grpc.aio.insecure_channel(server.grpc, own_connection))
                for _ in range(connections)
            ]
            return sum(await asyncio.gather(*(ask(channels[i % connections], i) for i in range(2000))))

    assert asyncio.run(run()) == 2000
    assert_serves(server)


def test_1000_rest_requests_at_once(server: RunningServer) -> None:
    async def ask(session: aiohttp.ClientSession, i: int) -> bool:
        content = {"instances": [{"x": i}, {"x": -i}]}
        async with session.post(server.url("/model/one:twice"), json=content) as reply:
            return await reply.json() == {"instances": [{"y": 2 * i}, {"y": -2 * i}]}

    async def run() -> int:
        connector = aiohttp.TCPConnector(limit=500)
        async with aiohttp.ClientSession(connector=connector) as session:
            return sum(await asyncio.gather(*(ask(session, i) for i in range(1000))))

    assert asyncio.run(run()) == 1000


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_a_full_queue_refuses_at_once_and_answers_what_it_took(
    gated: tuple[RunningServer, Gate], kind: str
) -> None:
    server, gate = gated
    text = f"Serving Error: enqueued requests count exceeds the limit {LIMIT}"

    async def by_grpc(i: int) -> int | None:
        async with AsyncClient(server.grpc, "one", "batches") as client:
            reply = await client.infer(number(i))
        if isinstance(reply, dict):
            assert reply == {"error": text}
            return None
        return doubled(reply)[0]

    async def by_rest(i: int) -> int | None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(server.url("/model/one:batches"), json={"instances": [{"x": i}]}) as reply,
        ):
            content = await reply.json()
            if reply.status == 429:
                assert content == {"error_msg": text}
                assert int(reply.headers["Retry-After"]) >= 1
                return None
            assert reply.status == 200
            return int(content["instances"][0]["y"])

    async def run() -> None:
        ask = by_grpc if kind == "grpc" else by_rest
        tasks = {asyncio.create_task(ask(i)): i for i in range(4 * LIMIT)}
        held = await asyncio.to_thread(gate.hold)
        pending = set(tasks)
        while len(pending) > LIMIT:  # refused while the worker is held
            done, pending = await asyncio.wait(pending, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert done, f"{len(pending)} requests wait, {LIMIT} may"
            assert all(task.result() is None for task in done)
        gate.open()
        held.release()
        await asyncio.wait(pending, timeout=20)
        answered = {i: task.result() for task, i in tasks.items() if task.result() is not None}
        assert len(answered) == LIMIT
        assert all(value == 2 * i for i, value in answered.items())

    asyncio.run(run())
    assert_serves(server)


def test_idle_connections_disturb_nobody(tmp_path: Path) -> None:
    with Gate(tmp_path / "gate") as gate:
        add_servable(tmp_path, "one", gate.source + SERVABLE, ())
        with serving(tmp_path, ['".", "one", 0']) as server, contextlib.ExitStack() as opened:
            for address in (server.grpc, server.rest):
                for i in range(200):
                    connection = opened.enter_context(raw_connection(address))
                    if i % 4 == 1:
                        connection.sendall(b"P")
                    if i % 4 == 2 and address == server.rest:
                        connection.sendall(body(1, method="twice")[:-1])
            assert_serves(server)
            server.signal(15)
            server.wait(12)  # nor do they hold up the end
            assert server.workers() == []
