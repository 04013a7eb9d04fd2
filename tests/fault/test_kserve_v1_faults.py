"""The v1 dialect under attack: dying workers, clients that vanish, a full queue, nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import socket
import struct
from collections.abc import Iterator, Sequence

import psutil
import pytest

from tests.support.foreign_server import LIMIT, ForeignServer, foreign_server
from tests.support.foreign_ways import V1, Told, asking
from tests.support.http_requests import HttpReply, raw_connection, read_raw_reply, send
from tests.support.watch import kill, wait_until

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    with foreign_server(tmp_path_factory.mktemp("v1")) as running:
        yield running


def doubled(*values: int) -> Told:
    return Told(tuple(2 * value for value in values))


def message(method: str, values: Sequence[int], servable: str = "one") -> bytes:
    """A whole request."""
    return head_and_body(
        f"/v1/models/{servable}.{method}:predict", json.dumps({"instances": list(values)}).encode()
    )


def head_and_body(path: str, body: bytes, more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def assert_serves(server: ForeignServer) -> None:
    async def run() -> None:
        for way in V1:
            for servable in ("one", "two"):
                async with asking(server.running, way, servable) as ask:
                    assert await ask([21, -3]) == doubled(21, -3)

    asyncio.run(run())


def test_requests_of_a_batch_whose_worker_is_killed(server: ForeignServer) -> None:
    async def run() -> list[Told]:
        async with contextlib.AsyncExitStack() as opened:
            asks = [await opened.enter_async_context(asking(server.running, way, "one")) for way in V1]
            tasks = [asyncio.create_task(asks[i % 2]([i, 10 * i], "batches")) for i in range(LIMIT - 1)]
            held = await asyncio.to_thread(server.gate.hold)
            kill(held.pid)
            with server.gate.let_all_pass():
                return await asyncio.wait_for(asyncio.gather(*tasks), TIMEOUT_S)

    assert asyncio.run(run()) == [doubled(i, 10 * i) for i in range(LIMIT - 1)]
    wait_until(lambda: len(server.running.workers()) == 3, "a new worker has taken its place", 60)
    assert_serves(server)


def test_1000_requests_at_once(server: ForeignServer) -> None:
    questions = [[i * 10 + row for row in range(1 + i % 4)] for i in range(1000)]

    async def run() -> list[Told]:
        async with contextlib.AsyncExitStack() as opened:
            asks = [await opened.enter_async_context(asking(server.running, way, "two", 200)) for way in V1]
            return await asyncio.gather(*(asks[i % 2](q, "twice_all") for i, q in enumerate(questions)))

    for values, told in zip(questions, asyncio.run(run()), strict=True):
        assert told == doubled(*values)


@pytest.mark.parametrize("where", ["head", "body", "while it waits"])
def test_clients_that_vanish(server: ForeignServer, where: str) -> None:
    with raw_connection(server.running.rest) as patient:
        patient.sendall(message("batches", [1, 2]))
        held = server.gate.hold()
        whole = message("batches", [3, 4, 5])
        cut = {"head": 40, "body": len(whole) - 4, "while it waits": len(whole)}[where]
        for i in range(3 * LIMIT):
            with raw_connection(server.running.rest) as hasty:
                if i % 2:
                    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.sendall(whole[:cut])
        server.wait_until_not_full()
        held.release()
        with server.gate.let_all_pass():
            assert json.loads(read_raw_reply(patient).body) == {"predictions": [2, 4]}
            wait_until(lambda: not server.is_full(), "all places are free")
            assert_serves(server)


def test_one_of_a_batch_is_given_up(server: ForeignServer) -> None:
    async def run() -> None:
        async with asking(server.running, "row", "one") as ask:
            first = asyncio.create_task(ask([0], "batches"))
            held = await asyncio.to_thread(server.gate.hold)
            others = [asyncio.create_task(ask([i], "batches")) for i in range(1, LIMIT)]
            await asyncio.to_thread(server.wait_until_full)
            gone = others.pop(3)
            gone.cancel()
            await asyncio.to_thread(server.wait_until_not_full)
            held.release()
            with server.gate.let_all_pass():
                told = await asyncio.wait_for(asyncio.gather(first, *others), TIMEOUT_S)
            assert told == [doubled(i) for i in range(LIMIT) if i != 4]

    asyncio.run(run())


@pytest.mark.parametrize("way", V1)
def test_a_full_queue_and_a_deadline(server: ForeignServer, way: str) -> None:
    async def run() -> None:
        async with asking(server.running, way, "one") as ask:
            late = asyncio.create_task(ask([0], "batches", timeout_us=200_000))
            held = await asyncio.to_thread(server.gate.hold)
            assert (await asyncio.wait_for(late, TIMEOUT_S)).status == "DEADLINE_EXCEEDED"
            await asyncio.to_thread(server.wait_until_not_full)
            tasks = [asyncio.create_task(ask([i], "batches")) for i in range(LIMIT)]
            await asyncio.to_thread(server.wait_until_full)
            for told in await asyncio.wait_for(asyncio.gather(*(ask([i]) for i in range(20))), TIMEOUT_S):
                assert (told.status, told.retry_after) == ("RESOURCE_EXHAUSTED", True)
                assert f"exceeds the limit {LIMIT}" in told.text
            held.release()
            with server.gate.let_all_pass():
                told = await asyncio.wait_for(asyncio.gather(*tasks), TIMEOUT_S)
                assert told == [doubled(i) for i in range(LIMIT)]

    asyncio.run(run())
    assert_serves(server)


BODIES = {
    "nothing": b"",
    "no JSON": b'{"instances": [',
    "not UTF-8": b'{"instances": ["\xff"]}',
    "a list": b"[1, 2]",
    "no instances": b'{"instances": []}',
    "instances that are an object": b'{"instances": {"x": 1}}',
    "instances that are a number": b'{"instances": 1}',
    "inputs that are null": b'{"inputs": null}',
    "both forms": b'{"instances": [1], "inputs": {"x": [1]}}',
    "neither form": b"{}",
    "inputs of other lengths": b'{"inputs": {"x": [1, 2], "z": [1]}}',
    "another input": b'{"instances": [{"z": 1}]}',
    "an input too many": b'{"instances": [{"x": 1, "z": 1}]}',
    "values and objects": b'{"instances": [{"x": 1}, 2]}',
    "null": b'{"instances": [null]}',
    "a fraction": b'{"instances": [1.5]}',
    "a number that is too large": b'{"instances": [9223372036854775808]}',
    "a number of 5000 digits": b'{"instances": [' + b"9" * 5000 + b"]}",
    "a tensor for a number": b'{"instances": [[1, 2]]}',
    "lists of other lengths": b'{"instances": [[[1], [2, 3]]]}',
    "deep": b'{"instances": ' + b"[" * 100_000,
    "deep and closed": b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no base64": b'{"instances": [{"b64": "%%%"}]}',
    "b64 of a list": b'{"instances": [{"b64": [1]}]}',
    "a signature that is a number": b'{"signature_name": 7, "instances": [1]}',
    "a signature that is not there": b'{"signature_name": "no", "instances": [1]}',
    "parameters that are a list": b'{"parameters": [], "instances": [1]}',
    "a lone surrogate": b'{"instances": ["\\ud800"]}',
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_that_are_wrong(server: ForeignServer, kind: str) -> None:
    for path in ("/v1/models/one.twice:predict", "/v1/models/one:predict"):
        reply = send(server.running.rest, "POST", path, BODIES[kind])
        assert_error(reply, 400)
    assert serves(server)


def assert_error(reply: HttpReply, status: int) -> None:
    assert reply.status == status, reply.body[:300]
    document = json.loads(reply.body)
    assert list(document) == ["error"], document
    assert document["error"]


def serves(server: ForeignServer) -> bool:
    with raw_connection(server.running.rest) as connection:
        connection.sendall(message("twice", [1, 2], "two"))
        return json.loads(read_raw_reply(connection).body) == {"predictions": [2, 4]}


def test_random_bytes(server: ForeignServer) -> None:
    draw = random.Random(9)
    good = b'{"signature_name": "twice", "instances": [{"x": 1}, {"x": 22}]}'
    with raw_connection(server.running.rest) as connection:
        for _ in range(400):
            body = bytearray(good)
            for _ in range(draw.randint(1, 4)):
                body[draw.randrange(len(body))] = draw.randrange(256)
            connection.sendall(head_and_body("/v1/models/one:predict", bytes(body)))
            reply = read_raw_reply(connection)
            assert reply.status in (200, 400), (body, reply)
    assert_serves(server)


def test_bodies_that_become_large(server: ForeignServer) -> None:
    main = psutil.Process(server.running.process.pid)
    before = main.memory_info().rss
    bomb = gzip.compress(b'{"instances": [' + b" " * (150 << 20), 1)
    for _ in range(2):
        reply = send(
            server.running.rest, "POST", "/v1/models/one:predict", bomb, {"Content-Encoding": "gzip"}
        )
        assert_error(reply, 413)
    assert main.memory_info().rss - before < 150 << 20
    assert_serves(server)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/none:predict", 404),
        ("/v1/models/one/versions/99999999999999999999:predict", 404),
        ("/v1/models/one/versions/-1:predict", 404),
        ("/v1/models/%ff:predict", 404),
        ("/v1/models/..%2f..%2fetc:predict", 404),
        ("/v1/models/" + "a" * 5000 + ":predict", 404),
        ("/v1/models/one:" + "p" * 5000, 404),
        ("/v1/models/:predict", 405),
    ],
)
def test_paths_that_are_strange(server: ForeignServer, path: str, status: int) -> None:
    assert_error(send(server.running.rest, "POST", path, b'{"instances": [1]}'), status)
    assert serves(server)


def test_chunks(server: ForeignServer) -> None:
    head = b"POST /v1/models/one.twice:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (b'{"insta', b'nces": [', b"1, 2", b"]}", b"")
    ]
    with raw_connection(server.running.rest) as connection:
        connection.sendall(head + b"".join(pieces))
        assert json.loads(read_raw_reply(connection).body) == {"predictions": [2, 4]}
    with raw_connection(server.running.rest) as connection:
        connection.sendall(head + b"".join(pieces[:-1]))
    assert_serves(server)
