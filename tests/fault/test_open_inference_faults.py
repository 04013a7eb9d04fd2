"""Open Inference Protocol under attack: dying workers, crowds, clients that vanish, nonsense, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import signal
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import psutil
import pytest

from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from tests.support import http2_frames
from tests.support.foreign_server import LIMIT, ForeignServer, foreign_server
from tests.support.foreign_ways import (
    ALL,
    INFER,
    LENGTH,
    OIP,
    Ask,
    Told,
    asking,
    binary_body,
    binary_message,
    head_of,
    infer_request,
    json_body,
    values_of,
)
from tests.support.grpc_stub import inference_stub
from tests.support.holdings import holdings_of, wait_until_as_before
from tests.support.http2_frames import (
    DATA,
    END_STREAM,
    PREFACE,
    frames,
    headers_of,
    http2_connection,
    message_of,
    settings,
)
from tests.support.http_requests import HttpReply, post, raw_connection, read_raw_reply, send
from tests.support.watch import kill, wait_until, wait_until_gone

TIMEOUT_S = 20.0
REFUSALS = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
TRANSPORTS = ("grpc", "binary")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    """The server with shared memory of clients allowed; each test leaves nothing pending."""
    folder = tmp_path_factory.mktemp("foreign")
    with foreign_server(folder, start_options="allow_client_shared_memory=True") as running:
        yield running


def doubled(*values: int) -> Told:
    return Told(tuple(2 * value for value in values))


async def in_time(*calls: Awaitable[Told]) -> list[Told]:
    return list(await asyncio.wait_for(asyncio.gather(*calls), TIMEOUT_S))


async def fill(server: ForeignServer, ask: Ask) -> tuple[Any, list[asyncio.Task[Told]]]:
    """LIMIT requests to `batches` of `one`: the one that is held at the gate, and the tasks."""
    tasks = [asyncio.create_task(ask([0], "batches"))]
    held = await asyncio.to_thread(server.gate.hold)
    tasks += [asyncio.create_task(ask([value], "batches")) for value in range(1, LIMIT)]
    await asyncio.to_thread(server.wait_until_full)
    return held, tasks


# ---- workers that die


@pytest.mark.parametrize("servable", ["one", "two"])
def test_requests_of_a_batch_whose_worker_is_killed(server: ForeignServer, servable: str) -> None:
    questions = {way: [[100 * at + i for i in range(1 + at % 3)] for at in range(1, 3)] for way in OIP}

    async def run() -> list[tuple[list[int], Told]]:
        async with contextlib.AsyncExitStack() as opened:
            asks = {
                way: await opened.enter_async_context(asking(server.running, way, servable)) for way in OIP
            }
            told = [
                (values, asyncio.create_task(asks[way](values, "batches")))
                for way, several in questions.items()
                for values in several
            ]
            held = await asyncio.to_thread(server.gate.hold)
            kill(held.pid)
            await asyncio.to_thread(wait_until_gone, held.pid)
            with server.gate.let_all_pass():
                await in_time(*(task for _, task in told))
            held.release()
            return [(values, task.result()) for values, task in told]

    for values, told in asyncio.run(run()):
        assert told == doubled(*values)
    wait_until(lambda: len(server.running.workers()) == 3, "a new worker has taken its place", 60)
    wait_until(lambda: serves_again(server), "it serves again", 60)


def serves_again(server: ForeignServer) -> bool:
    with contextlib.suppress(AssertionError):
        server.assert_serves()
        return True
    return False


# ---- crowds


@pytest.mark.both_grpc_servers
def test_2000_requests_on_3_connections(server: ForeignServer) -> None:
    ask_2000(server, "grpc", 3)


def test_2000_requests_on_400_connections(server: ForeignServer) -> None:
    ask_2000(server, "binary", 400)


def ask_2000(server: ForeignServer, way: str, connections: int) -> None:
    questions = [[i * 10 + row for row in range(1 + i % 4)] for i in range(2000)]

    async def run() -> list[Told]:
        async with asking(server.running, way, "two", connections) as ask:
            method = ("twice", "twice_all")
            return await asyncio.gather(*(ask(q, method[i % 2]) for i, q in enumerate(questions)))

    for values, told in zip(questions, asyncio.run(run()), strict=True):
        assert told == doubled(*values)


def test_dialects_that_share_batches(server: ForeignServer) -> None:
    questions = [[i * 10 + row for row in range(1 + i % 3)] for i in range(1400)]

    async def run() -> list[Told]:
        async with contextlib.AsyncExitStack() as opened:
            asks = [await opened.enter_async_context(asking(server.running, way, "two")) for way in ALL]
            return await asyncio.gather(
                *(asks[i % len(ALL)](q, "twice_all") for i, q in enumerate(questions))
            )

    for i, (values, told) in enumerate(zip(questions, asyncio.run(run()), strict=True)):
        assert told == doubled(*values), ALL[i % len(ALL)]


def test_one_batch_of_all_dialects(server: ForeignServer) -> None:
    async def run() -> None:
        async with contextlib.AsyncExitStack() as opened:
            asks = [await opened.enter_async_context(asking(server.running, way, "one")) for way in ALL]
            first = asyncio.create_task(asks[0]([1000], "batches"))
            held = await asyncio.to_thread(server.gate.hold)
            tasks = [asyncio.create_task(ask([1001 + i], "batches")) for i, ask in enumerate(asks)]
            await asyncio.to_thread(server.wait_until_full)
            held.release()
            with server.gate.let_all_pass():
                assert await in_time(first, *tasks) == [doubled(1000 + i) for i in range(len(ALL) + 1)]

    asyncio.run(run())
    shared = max((batch for batch in server.batches() if min(batch) > 1000), key=len)
    assert len(shared) == len(ALL) - 1, "they did not share a batch"  # one has taken the worker's other slot


# ---- clients that vanish


def cut_off(where: str, values: Sequence[int]) -> bytes:
    """A request that ends too early."""
    head, document, raw = binary_message("one.batches", values)
    return {
        "in the JSON": head + document[:-4],
        "after the JSON": head + document,
        "in the raw tensor": head + document + raw[:-3],
        "while it waits": head + document + raw,
    }[where]


@pytest.mark.parametrize("where", ["in the JSON", "after the JSON", "in the raw tensor", "while it waits"])
def test_rest_clients_that_vanish(server: ForeignServer, where: str) -> None:
    with raw_connection(server.running.rest) as patient:
        patient.sendall(cut_off("while it waits", (1, 2)))
        held = server.gate.hold()
        for i in range(3 * LIMIT):  # more than may be pending at a time
            with raw_connection(server.running.rest) as hasty:
                if i % 2:  # a reset instead of an orderly end
                    hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                hasty.sendall(cut_off(where, (3, 4, 5)))
        server.wait_until_not_full()
        held.release()
        with server.gate.let_all_pass():
            reply = read_raw_reply(patient)
            assert reply.body[int(reply.headers[LENGTH.lower()]) :] == struct.pack("<2q", 2, 4)
            places_are_free(server)
    server.assert_serves()


def places_are_free(server: ForeignServer) -> None:
    """As many requests as may be pending are admitted at once."""

    async def run() -> list[Told]:
        async with asking(server.running, "grpc", "one") as ask:
            return await in_time(*(ask([i], "batches") for i in range(LIMIT)))

    wait_until(lambda: asyncio.run(run()) == [doubled(i) for i in range(LIMIT)], "all places are free")


@pytest.mark.parametrize("way", TRANSPORTS)
def test_clients_that_do_not_take_a_large_reply(server: ForeignServer, way: str) -> None:
    pid = server.running.process.pid
    server.assert_serves()
    before = holdings_of(pid)
    held = [memory_with_replies_not_taken(server, way) - before.memory for _ in range(3)]
    assert max(held) < 2.5 * _UNTAKEN * _LARGE  # each byte is in memory twice
    assert held[2] - held[0] < 2 * _LARGE, "replies that nobody took are kept"
    wait_until_as_before(pid, before, max(held))  # the allocator may keep what was freed


_LARGE = 8 << 20
_UNTAKEN = 2 * LIMIT


def memory_with_replies_not_taken(server: ForeignServer, way: str) -> int:
    """Have clients begin to read large replies and leave; what the server holds while they stay, in bytes."""
    with contextlib.ExitStack() as opened:
        for _ in range(_UNTAKEN):
            if way == "grpc":
                content = message_of(infer_request("one.large", [_LARGE]).SerializeToString())
                call = headers_of(INFER, 1) + http2_frames.frame(DATA, END_STREAM, 1, content)
                begin = PREFACE + settings(window=100) + call
                connection = opened.enter_context(http2_connection(server.running.grpc, begin))
                assert next(one for one in frames(connection) if one.kind == DATA)
            else:
                connection = opened.enter_context(raw_connection(server.running.rest))
                connection.sendall(b"".join(binary_message("one.large", [_LARGE])))
                assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        server.assert_serves()
        return holdings_of(server.running.process.pid).memory


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("way", TRANSPORTS)
@pytest.mark.parametrize("when", ["in the queue", "in a batch"])
def test_one_of_a_batch_is_cancelled(server: ForeignServer, way: str, when: str) -> None:
    base = 2000 + 1000 * TRANSPORTS.index(way) + 100 * (when == "in a batch")

    async def run() -> None:
        async with asking(server.running, way, "one") as ask, contextlib.AsyncExitStack() as opened:
            first = asyncio.create_task(ask([base], "batches"))
            held = await asyncio.to_thread(server.gate.hold)
            second = opened.enter_context(raw_connection(server.running.rest))
            second.sendall(b"".join(binary_message("one.batches", [base + 1])))
            await asyncio.to_thread(
                serves_by_binary, server
            )  # the event loop reads this later one no earlier
            others = [asyncio.create_task(ask([base + i], "batches")) for i in range(2, LIMIT)]
            await asyncio.to_thread(server.wait_until_full)
            if when == "in a batch":
                while base + 4 not in server.batches()[-1]:
                    held.release()
                    held = await asyncio.to_thread(server.gate.hold)
            gone = others.pop(2)
            gone.cancel()
            await asyncio.to_thread(server.wait_until_not_full)
            held.release()
            with server.gate.let_all_pass():
                told = await in_time(first, *others)
            assert told == [doubled(base + i) for i in (0, 2, 3, 5, 6, 7)]
            assert gone.cancelled()

    asyncio.run(run())
    run_values = [value for batch in server.batches() for value in batch]
    assert (base + 4 in run_values) == (when == "in a batch")
    shared = next(batch for batch in server.batches() if base + 5 in batch)
    assert len(shared) > 3, "they did not share a batch"
    server.assert_serves()


# ---- more than it takes, and too late


@pytest.mark.parametrize("way", OIP)
def test_a_full_queue_refuses_at_once(server: ForeignServer, way: str) -> None:
    async def run() -> list[Told]:
        async with asking(server.running, way, "one") as ask:
            held, tasks = await fill(server, ask)
            refused = await in_time(*(ask([i], "batches") for i in range(3 * LIMIT)))
            assert not any(task.done() for task in tasks)
            held.release()
            with server.gate.let_all_pass():
                assert await in_time(*tasks) == [doubled(i) for i in range(LIMIT)]
            return refused

    for told in asyncio.run(run()):
        assert told.status in REFUSALS
        assert told.retry_after
        assert f"exceeds the limit {LIMIT}" in told.text
    server.assert_serves()


@pytest.mark.parametrize("way", OIP)
@pytest.mark.parametrize("where", ["in the queue", "in a batch"])
def test_the_timeout_of_a_request(server: ForeignServer, way: str, where: str) -> None:
    async def run() -> None:
        async with asking(server.running, way, "one") as ask:
            if where == "in a batch":
                late = asyncio.create_task(ask([7], "batches", timeout_us=100_000))
                held = await asyncio.to_thread(server.gate.hold)
                told = await in_time(late)
            else:
                first = asyncio.create_task(ask([0], "batches"))
                held = await asyncio.to_thread(server.gate.hold)
                told = await in_time(*(ask([i], "batches", timeout_us=20_000) for i in range(1, LIMIT)))
            assert {one.status for one in told} == {"DEADLINE_EXCEEDED"}, told
            held.release()
            with server.gate.let_all_pass():
                if where == "in the queue":
                    assert await in_time(first) == [doubled(0)]
                assert await in_time(ask([5], "batches")) == [doubled(5)]

    asyncio.run(run())
    server.assert_serves()


@pytest.mark.both_grpc_servers
def test_the_deadline_of_a_call(server: ForeignServer) -> None:
    async def run() -> None:
        async with (
            asking(server.running, "grpc", "one") as ask,
            grpc.aio.insecure_channel(server.running.grpc) as channel,
        ):
            first = asyncio.create_task(ask([0], "batches"))
            held = await asyncio.to_thread(server.gate.hold)
            stub: Any = inference_stub(channel)
            for turn in range(2):  # twice as many as there is room for
                calls = [
                    stub.ModelInfer(infer_request("one.batches", [turn * LIMIT + i]), timeout=0.2)
                    for i in range(LIMIT - 1)
                ]
                codes = {await call.code() for call in calls}
                assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
                await asyncio.to_thread(server.wait_until_not_full)
            held.release()
            with server.gate.let_all_pass():
                assert await in_time(first) == [doubled(0)]

    asyncio.run(run())
    server.assert_serves()


# ---- nonsense over HTTP

GOOD, RAW = binary_body([1, 2])
X = {"name": "x", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": 16}}


def document_of(**changes: Any) -> bytes:
    """JSON with one input of two numbers whose bytes follow, and something else about it."""
    return json.dumps({"inputs": [{**X, **changes}]}).encode()


LENGTHS = {
    "larger than the body": str(len(GOOD) + 17),
    "negative": "-1",
    "no number": "abc",
    "empty": "",
    "huge": "9" * 40,
    "of 5000 digits": "9" * 5000,
    "a fraction": "12.0",
    "hexadecimal": "0x10",
    "signed": f"+{len(GOOD)}",
    "with an underscore": "1_0",
    "of other digits": "١٢",
    "one short": str(len(GOOD) - 1),
    "one long": str(len(GOOD) + 1),
    "all of the body": str(len(GOOD) + 16),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_a_length_of_the_json_that_is_wrong(server: ForeignServer, kind: str) -> None:
    body = GOOD + RAW
    head = head_of("one.twice", len(body), more=f"{LENGTH}: {LENGTHS[kind]}\r\n")
    head = head_of("one.twice", len(body))[:-2] + f"{LENGTH}: {LENGTHS[kind]}\r\n\r\n".encode()
    assert_refused(server, head + body)


def test_two_lengths_of_the_json(server: ForeignServer) -> None:
    head = head_of("one.twice", len(GOOD) + 16, len(GOOD), more=f"{LENGTH}: {len(GOOD) - 1}\r\n")
    assert_refused(server, head + GOOD + RAW)


def assert_refused(server: ForeignServer, message: bytes, *statuses: int) -> HttpReply:
    """The request is the client's fault, and the next one is served."""
    with raw_connection(server.running.rest) as connection:
        with contextlib.suppress(ConnectionError):  # it need not read all of it
            connection.sendall(message)
        reply = read_raw_reply(connection)
    assert reply.status in (statuses or (400,)), (reply.status, reply.body[:300])
    document = json.loads(reply.body)
    assert list(document) == ["error"], document
    assert document["error"]
    assert serves_by_binary(server)
    return reply


def serves_by_binary(server: ForeignServer) -> bool:
    with raw_connection(server.running.rest) as connection:
        connection.sendall(b"".join(binary_message("two.twice", [1, 2])))
        return read_raw_reply(connection).body.endswith(struct.pack("<2q", 2, 4))


BINARY = {
    "no raw bytes": (GOOD, b""),
    "a byte too few": (GOOD, RAW[:-1]),
    "a byte too many": (GOOD, RAW + b"\0"),
    "a size that is negative": (document_of(parameters={"binary_data_size": -16}), RAW),
    "a size that is no integer": (document_of(parameters={"binary_data_size": 16.0}), RAW),
    "a size that is a text": (document_of(parameters={"binary_data_size": "16"}), RAW),
    "a size that is true": (document_of(parameters={"binary_data_size": True}), RAW),
    "a size that overflows": (document_of(parameters={"binary_data_size": 1 << 64}), RAW),
    "a size of 400 digits": (document_of(parameters={"binary_data_size": 10**400}), RAW),
    "a size that is not that of the shape": (document_of(parameters={"binary_data_size": 8}), RAW[:8]),
    "a shape that is negative": (document_of(shape=[-2]), RAW),
    "a shape of two negatives": (document_of(shape=[-2, -1]), RAW),
    "a shape that overflows": (document_of(shape=[1 << 62, 8]), RAW),
    "a shape of 2**64": (document_of(shape=[1 << 64]), RAW),
    "a shape that overflows to its size": (document_of(shape=[(1 << 61) + 2]), RAW),
    "a shape of fractions": (document_of(shape=[2.0]), RAW),
    "a shape of truths": (document_of(shape=[True, True]), RAW),
    "a shape that is a number": (document_of(shape=2), RAW),
    "a shape of 1000 dimensions": (document_of(shape=[1] * 1000), RAW),
    "a datatype that is not there": (document_of(datatype="INT65"), RAW),
    "a datatype that is a number": (document_of(datatype=7), RAW),
    "a name that is null": (document_of(name=None), RAW),
    "data, too": (document_of(data=[1, 2]), RAW),
    "parameters that are a list": (document_of(parameters=[16]), RAW),
    "the tensor twice": (json.dumps({"inputs": [X, X]}).encode(), RAW * 2),
    "a tensor too many": (json.dumps({"inputs": [X, {**X, "name": "z"}]}).encode(), RAW * 2),
    "inputs that are an object": (json.dumps({"inputs": X}).encode(), RAW),
    "an input that is a list": (json.dumps({"inputs": [[X]]}).encode(), RAW),
    "no inputs": (b'{"inputs":[]}', b""),
    "an output twice": (json.dumps({"inputs": [X], "outputs": [{"name": "y"}] * 2}).encode(), RAW),
    "an output that is not there": (json.dumps({"inputs": [X], "outputs": [{"name": "x"}]}).encode(), RAW),
    "outputs that are texts": (json.dumps({"inputs": [X], "outputs": ["y"]}).encode(), RAW),
    "not JSON": (b"\xff" * 50, RAW),
    "JSON of another kind": (b"[1]", RAW),
    "deep JSON": (b'{"inputs":' + b"[" * 100_000, RAW),
    "deep parameters": (b'{"parameters":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, RAW),
    "a zero byte": (GOOD[:5] + b"\0" + GOOD[6:], RAW),
    "a lone surrogate": (GOOD.replace(b'"x"', b'"\\ud800"'), RAW),
    "a raw BYTES too short": (document_of(datatype="BYTES", shape=[1]), b"\xff\xff\xff\xff" + bytes(12)),
    "an id that is an object": (json.dumps({"id": {}, "inputs": [X]}).encode(), RAW),
    "a timeout that is a text": (
        json.dumps({"parameters": {"timeout": "soon"}, "inputs": [X]}).encode(),
        RAW,
    ),
    "a timeout that is negative": (json.dumps({"parameters": {"timeout": -1}, "inputs": [X]}).encode(), RAW),
    "a priority that is negative": (
        json.dumps({"parameters": {"priority": -1}, "inputs": [X]}).encode(),
        RAW,
    ),
    "a region that is not there": (
        document_of(parameters={"shared_memory_region": "no", "shared_memory_byte_size": 16}),
        b"",
    ),
}


@pytest.mark.parametrize("kind", BINARY)
def test_raw_tensors_that_are_wrong(server: ForeignServer, kind: str) -> None:
    document, raw = BINARY[kind]
    message = head_of("one.twice", len(document) + len(raw), len(document)) + document + raw
    assert_refused(server, message, 404 if "region" in kind else 400)


DATA_OF_JSON = {
    "too few": [1],
    "too many": [1, 2, 3],
    "ragged": [[1], [2, 3]],
    "a fraction": [1.5, 2],
    "above int64": [1 << 63, 0],
    "a number of 400 digits": [10**400, 0],
    "text": ["1", "2"],
    "null": [1, None],
    "objects": [{}, {}],
    "not a list": 12,
    "deep": json.loads("[" * 500 + "]" * 500),
}


@pytest.mark.parametrize("kind", DATA_OF_JSON)
def test_data_that_is_wrong(server: ForeignServer, kind: str) -> None:
    x = {"name": "x", "shape": [2], "datatype": "INT64", "data": DATA_OF_JSON[kind]}
    body = json.dumps({"inputs": [x]}).encode()
    assert_refused(server, head_of("one.twice", len(body)) + body)


def test_random_bytes_as_json_and_as_messages(server: ForeignServer) -> None:
    draw = random.Random(5)
    known = infer_request("one.twice", [1, 2]).SerializeToString()
    with grpc.insecure_channel(server.running.grpc) as channel, raw_connection(server.running.rest) as rest:
        infer = channel.unary_unary(INFER)
        for _ in range(300):
            damaged = bytearray(GOOD + RAW)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            body = bytes(damaged) if draw.random() < 0.7 else draw.randbytes(draw.randint(1, 300))
            length = (
                len(GOOD) if draw.random() < 0.7 and len(body) > len(GOOD) else draw.randrange(len(body) + 2)
            )
            rest.sendall(head_of("one.twice", len(body), length) + body)
            reply = read_raw_reply(rest)
            assert reply.status in (200, 400), (body, length, reply)
            torn = bytearray(known)
            for _ in range(draw.randint(1, 4)):
                torn[draw.randrange(len(torn))] = draw.randrange(256)
            content = bytes(torn) if draw.random() < 0.7 else draw.randbytes(draw.randint(1, 300))
            try:
                infer(content, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                told = error.code().name, error.details()
                wrong = told[0] in ("INVALID_ARGUMENT", "NOT_FOUND")
                assert wrong or told == ("INTERNAL", "Unable to parse request"), (told, content)
    server.assert_serves()


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error: Any = raised.value
    return str(error.code().name)


def chunked(body: bytes, size: int, more: str = "") -> bytes:
    """A request whose body comes in chunks."""
    head = f"POST /v2/models/one.twice/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{more}\r\n"
    pieces = [body[at : at + size] for at in range(0, len(body), size)] + [b""]
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_bodies_in_chunks(server: ForeignServer) -> None:
    length = f"{LENGTH}: {len(GOOD)}\r\n"
    for size in (1, 7, 1000):
        with raw_connection(server.running.rest) as connection:
            connection.sendall(chunked(GOOD + RAW, size, length))
            reply = read_raw_reply(connection)
            assert (reply.status, reply.body[-16:]) == (200, struct.pack("<2q", 2, 4))
    assert_refused(server, chunked(GOOD + RAW[:-1], 7, length))
    with raw_connection(server.running.rest) as connection:  # never ends
        connection.sendall(chunked(GOOD + RAW, 7, length)[:-5])
    server.assert_serves("one")


@pytest.mark.parametrize(("coding", "where"), [("gzip", "raw tensor"), ("deflate", "JSON")])
def test_bodies_that_become_large(server: ForeignServer, coding: str, where: str) -> None:
    main = psutil.Process(server.running.process.pid)
    before = main.memory_info().rss
    size = 150 << 20
    content = GOOD + bytes(size) if where == "raw tensor" else b'{"inputs":[' + b" " * size
    body = gzip.compress(content, 1) if coding == "gzip" else zlib.compress(content, 1)
    length = len(GOOD) if where == "raw tensor" else None
    head = head_of("one.twice", len(body), length, f"Content-Encoding: {coding}\r\n")
    for _ in range(2):
        assert_refused(server, head + body, 413)
    assert main.memory_info().rss - before < 150 << 20


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_that_are_torn(server: ForeignServer, coding: str) -> None:
    content = GOOD + RAW
    body = gzip.compress(content) if coding == "gzip" else zlib.compress(content)
    for torn in (body[:-5], body[:10], b"", content, body[:12] + bytes(4) + body[16:]):
        head = head_of("one.twice", len(torn), len(GOOD), f"Content-Encoding: {coding}\r\n")
        assert_refused(server, head + torn)


PATHS = {
    "/v2/models/one.twice/versions/99999999999999999999999/infer": 404,
    "/v2/models/one.twice/versions/-1/infer": 404,
    "/v2/models/one.twice/versions/%00/infer": 404,
    "/v2/models/%ff%fe/infer": 404,
    "/v2/models/../../etc/passwd/infer": 404,
    "/v2/models/" + "a" * 5000 + "/infer": 404,
    "/v2/models/one.twice.twice/infer": 404,
    "/v2/models//infer": 404,
    "/v2/models/one.twice/infer/infer": 404,
    "/v2/systemsharedmemory/region/%2f..%2f/register": 400,
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_are_strange(server: ForeignServer, path: str) -> None:
    reply = send(server.running.rest, "POST", path, json_body([1]))
    assert reply.status == PATHS[path], reply.body
    assert list(json.loads(reply.body)) == ["error"]
    assert serves_by_binary(server)


# ---- nonsense over gRPC


def spoilt(change: Callable[[pb.ModelInferRequest], Any]) -> bytes:
    message = infer_request("one.twice", [1, 2])
    change(message)
    return bytes(message.SerializeToString())


def _typed(message: pb.ModelInferRequest, **contents: Any) -> None:
    message.ClearField("raw_input_contents")
    message.inputs[0].contents.MergeFrom(pb.InferTensorContents(**contents))


MESSAGES: dict[str, Callable[[pb.ModelInferRequest], Any]] = {
    "typed and raw": lambda m: m.inputs[0].contents.int64_contents.extend([1, 2]),
    "no contents": lambda m: m.ClearField("raw_input_contents"),
    "raw contents too many": lambda m: m.raw_input_contents.append(b""),
    "raw contents too short": lambda m: m.raw_input_contents.__setitem__(0, bytes(15)),
    "typed contents of another type": lambda m: _typed(m, fp32_contents=[1, 2]),
    "typed contents too few": lambda m: _typed(m, int64_contents=[1]),
    "typed contents too many": lambda m: _typed(m, int64_contents=[1, 2, 3]),
    "typed contents of two types": lambda m: _typed(m, int64_contents=[1, 2], fp32_contents=[1]),
    "a negative shape": lambda m: m.inputs[0].shape.__setitem__(0, -2),
    "a shape that overflows": lambda m: m.inputs[0].shape.extend([1 << 62, 8]),
    "a shape that overflows to its size": lambda m: m.inputs[0].shape.__setitem__(0, (1 << 61) + 2),
    "1000 dimensions": lambda m: m.inputs[0].shape.extend([1] * 1000),
    "an unknown datatype": lambda m: setattr(m.inputs[0], "datatype", "INT65"),
    "an input twice": lambda m: (m.inputs.append(m.inputs[0]), m.raw_input_contents.append(bytes(16))),
    "another input": lambda m: setattr(m.inputs[0], "name", "z"),
    "no inputs": lambda m: (m.ClearField("inputs"), m.ClearField("raw_input_contents")),
    "an output twice": lambda m: [m.outputs.add(name="y") for _ in range(2)],
    "another output": lambda m: m.outputs.add(name="x"),
    "a timeout of text": lambda m: setattr(m.parameters["timeout"], "string_param", "soon"),
    "a region that is not there": lambda m: (
        setattr(m.inputs[0].parameters["shared_memory_region"], "string_param", "no"),
        setattr(m.inputs[0].parameters["shared_memory_byte_size"], "int64_param", 16),
        m.ClearField("raw_input_contents"),
    ),
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_messages_that_are_wrong(server: ForeignServer, kind: str) -> None:
    with grpc.insecure_channel(server.running.grpc) as channel:
        infer = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
        code = code_of(lambda: infer(spoilt(MESSAGES[kind]), timeout=TIMEOUT_S))
        assert code == ("NOT_FOUND" if "region" in kind else "INVALID_ARGUMENT")
        good = infer(infer_request("one.twice", [1, 2]).SerializeToString(), timeout=TIMEOUT_S)
        assert values_of(good) == (2, 4)


def test_messages_that_do_not_end(server: ForeignServer) -> None:
    content = message_of(infer_request("one.twice", [1]).SerializeToString())
    for cut in (3, 5, len(content) - 1):
        for ended in (0, END_STREAM):
            call = headers_of(INFER, 1) + http2_frames.frame(DATA, ended, 1, content[:cut])
            with http2_connection(server.running.grpc, PREFACE + settings() + call):
                assert serves_by_binary(server)
    server.assert_serves()


# ---- shared memory that changes under the server


class Region:
    """Shared memory of a client, which is registered."""

    def __init__(self, stub: Any, name: str, size: int) -> None:
        self.memory = SharedMemory(create=True, size=size)
        self.path = Path("/dev/shm", self.memory.name)
        self.size = size
        self.name = name
        stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(name=name, key=f"/{self.memory.name}", byte_size=size),
            timeout=TIMEOUT_S,
        )

    def request(self, method: str, values: Sequence[int]) -> pb.ModelInferRequest:
        """Values that lie at the begin of the region, and results that go to its middle."""
        count = 8 * len(values)
        self.memory.buf[:count] = np.array(values, "<i8").tobytes()
        message = infer_request(f"one.{method}", values)
        message.ClearField("raw_input_contents")
        for target, at in ((message.inputs[0], 0), (message.outputs.add(name="y"), self.size // 2)):
            target.parameters["shared_memory_region"].string_param = self.name
            target.parameters["shared_memory_byte_size"].int64_param = count
            target.parameters["shared_memory_offset"].int64_param = at
        return message

    def results(self, count: int) -> tuple[int, ...]:
        at = self.size // 2
        return tuple(np.frombuffer(bytes(self.memory.buf[at : at + 8 * count]), "<i8").tolist())

    def close(self) -> None:
        self.memory.close()
        with contextlib.suppress(FileNotFoundError):
            self.memory.unlink()


@pytest.fixture
def region(server: ForeignServer, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Region]]:
    with grpc.insecure_channel(server.running.grpc) as channel:
        stub: Any = inference_stub(channel)
        made = Region(stub, f"region-{request.node.name[:20]}", 1 << 20)
        try:
            yield stub, made
        finally:
            stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(), timeout=TIMEOUT_S)
            made.close()


def begun(server: ForeignServer, stub: Any, region: Region) -> tuple[Any, Any]:
    """A call that is held at the gate, and the gate's hold."""
    call = stub.ModelInfer.future(region.request("batches", [3, 4]), timeout=TIMEOUT_S)
    return call, server.gate.hold()


def test_a_region_that_is_made_shorter(server: ForeignServer, region: tuple[Any, Region]) -> None:
    stub, made = region
    call, held = begun(server, stub, made)
    os.truncate(made.path, 0)
    held.release()
    error = call.exception()
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL), error
    assert made.name in error.details()
    before = infer_request("one.twice", [1])
    before.ClearField("raw_input_contents")
    before.inputs[0].parameters["shared_memory_region"].string_param = made.name
    before.inputs[0].parameters["shared_memory_byte_size"].int64_param = 8
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(before, timeout=TIMEOUT_S)
    refused: Any = raised.value
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert made.name in refused.details()
    server.assert_serves()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_region_that_is_removed(server: ForeignServer, region: tuple[Any, Region], replaced: bool) -> None:
    stub, made = region
    call, held = begun(server, stub, made)
    made.path.unlink()
    other = None
    if replaced:
        other = SharedMemory(made.memory.name, create=True, size=made.size)
    try:
        held.release()
        assert list(call.result().raw_output_contents) == [b""]
        assert made.results(2) == (6, 8)  # it is the one that was registered
        assert other is None or not any(bytes(other.buf))
    finally:
        if other is not None:
            other.close()
            other.unlink()
    server.assert_serves()


def test_a_region_that_is_unregistered(server: ForeignServer, region: tuple[Any, Region]) -> None:
    stub, made = region
    call, held = begun(server, stub, made)
    stub.SystemSharedMemoryUnregister(
        pb.SystemSharedMemoryUnregisterRequest(name=made.name), timeout=TIMEOUT_S
    )
    held.release()
    assert list(call.result().raw_output_contents) == [b""]
    assert made.results(2) == (6, 8)
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(made.request("twice", [1]), timeout=TIMEOUT_S)
    error: Any = raised.value
    assert (error.code(), made.name in error.details()) == (grpc.StatusCode.NOT_FOUND, True)
    server.assert_serves()


def test_a_region_whose_size_changes_all_the_time(server: ForeignServer, region: tuple[Any, Region]) -> None:
    stub, made = region
    right = 0
    for turn in range(300):
        os.truncate(made.path, made.size)
        message = made.request("twice", [turn])
        call = stub.ModelInfer.future(message, timeout=TIMEOUT_S)
        os.truncate(made.path, made.size if turn % 3 == 0 else 8)
        error = call.exception()
        right += error is None
        assert error is None or made.name in error.details(), error
    assert right >= 100
    server.assert_serves()


# ---- the end


STOP = """
import os, threading, time

def stop_when_told():
    while not os.path.exists("stop"):
        time.sleep(0.01)
    server.stop(drain_timeout_s=60)

threading.Thread(target=stop_when_told).start()
"""


@pytest.mark.both_grpc_servers
@pytest.mark.parametrize("how", ["SIGTERM", "stop"])
def test_what_was_admitted_is_answered_at_the_end(tmp_path: Path, how: str) -> None:
    settings_ = STOP if how == "stop" else "server.master.context.set_drain_timeout_s(60)"
    with foreign_server(tmp_path, settings=settings_, with_two=False) as server:

        def ask_to_end() -> None:
            if how == "stop":
                (tmp_path / "stop").touch()
            else:
                server.running.signal(signal.SIGTERM)

        asyncio.run(end(server, ask_to_end))
        wait_until(lambda: not server.running.workers(), "it has ended", 20)
        if how == "SIGTERM":
            assert server.running.wait(20) == 0
        assert "Traceback" not in server.running.read_output()


async def end(server: ForeignServer, ask_to_end: Callable[[], None]) -> None:
    """Have the server end while requests of all ways and a stream are pending."""
    async with contextlib.AsyncExitStack() as opened:
        asks = [await opened.enter_async_context(asking(server.running, way, "one")) for way in OIP]
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(server.running.grpc))
        stub: Any = inference_stub(channel)
        idle, stream = stub.ModelStreamInfer(), stub.ModelStreamInfer()
        await idle.write(infer_request("one.twice", [1]))
        assert (await idle.read()).infer_response.model_name == "one.twice"
        tasks = [asyncio.create_task(ask([i], "batches")) for i, ask in enumerate(asks)]
        held = await asyncio.to_thread(server.gate.hold)
        admitted = [str(i) for i in range(len(asks), LIMIT)]
        for name in admitted:
            await stream.write(infer_request("one.batches", [int(name)], id=name))
        await asyncio.to_thread(server.wait_until_full)
        ask_to_end()
        await asyncio.to_thread(wait_until, lambda: is_ending(server), "it takes no more")
        for told in await in_time(*(ask([1]) for ask in asks)):
            assert (told.status, told.retry_after) == ("UNAVAILABLE", True), told
            assert "stopping" in told.text
        await stream.write(infer_request("one.twice", [60], id="late"))
        late = await asyncio.wait_for(stream.read(), TIMEOUT_S)
        assert (late.infer_response.id, "stopping" in late.error_message) == ("late", True), late
        held.release()
        with server.gate.let_all_pass():
            assert await in_time(*tasks) == [doubled(i) for i in range(len(asks))]
            replies = [await asyncio.wait_for(stream.read(), TIMEOUT_S) for _ in admitted]
        told_values = {reply.infer_response.id: values_of(reply.infer_response) for reply in replies}
        assert told_values == {name: (2 * int(name),) for name in admitted}


def is_ending(server: ForeignServer) -> bool:
    """Whether a request that never waits is refused because the server ends."""
    reply = post(server.running.rest, "/model/one:no_such_method", {"instances": [{"x": 1}]})
    return reply.status == 503
