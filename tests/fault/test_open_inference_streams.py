"""Streams of Open Inference Protocol under attack: calls that end early, that are not read, that never stop."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from tests.support import http2_frames
from tests.support.foreign_server import LIMIT, ForeignServer, foreign_server
from tests.support.foreign_ways import STREAM_INFER, Told, asking, infer_request, values_of
from tests.support.grpc_stub import inference_stub
from tests.support.holdings import holdings_of
from tests.support.http2_frames import DATA, PREFACE, headers_of, http2_connection, message_of, settings
from tests.support.watch import kill, wait_until

pytestmark = pytest.mark.both_grpc_servers

TIMEOUT_S = 30.0
IN_FLIGHT = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignServer]:
    with foreign_server(tmp_path_factory.mktemp("streams")) as running:
        yield running


@contextlib.asynccontextmanager
async def streams(server: ForeignServer, count: int = 1) -> AsyncIterator[list[Any]]:
    """Streams on one connection."""
    async with grpc.aio.insecure_channel(server.running.grpc) as channel:
        stub: Any = inference_stub(channel)
        yield [stub.ModelStreamInfer() for _ in range(count)]


async def replies_of(stream: Any, count: int) -> dict[str, pb.ModelStreamInferResponse]:
    """So many replies, by the id of their request."""
    told = {}
    for _ in range(count):
        reply = await asyncio.wait_for(stream.read(), TIMEOUT_S)
        assert reply is not grpc.aio.EOF, f"the stream ended after {len(told)} replies"
        assert reply.infer_response.id not in told
        told[reply.infer_response.id] = reply
    return told


def assert_doubled(told: dict[str, pb.ModelStreamInferResponse], count: int) -> None:
    """The requests "0", "1" and so on have asked for twice their number."""
    assert set(told) == {str(i) for i in range(count)}
    for i in range(count):
        assert told[str(i)].error_message == ""
        assert values_of(told[str(i)].infer_response) == (2 * i,)


def test_a_half_closed_stream_gets_all_its_replies(server: ForeignServer) -> None:
    async def run() -> None:
        async with streams(server) as [stream]:
            for i in range(IN_FLIGHT):
                await stream.write(infer_request("two.batches", [i], id=str(i)))
            await stream.done_writing()
            held = await asyncio.to_thread(server.gate.hold)
            held.release()
            with server.gate.let_all_pass():
                assert_doubled(await replies_of(stream, IN_FLIGHT), IN_FLIGHT)
                assert await asyncio.wait_for(stream.read(), TIMEOUT_S) is grpc.aio.EOF
                assert await stream.code() is grpc.StatusCode.OK

    asyncio.run(run())
    server.assert_serves()


def test_a_stream_that_is_cancelled_with_50_in_flight(server: ForeignServer) -> None:
    async def run() -> None:
        async with streams(server) as [stream], asking(server.running, "grpc", "two") as ask:
            neighbour = asyncio.create_task(ask([7000], "batches"))
            held = await asyncio.to_thread(server.gate.hold)
            for i in range(IN_FLIGHT):
                await stream.write(infer_request("two.batches", [7001 + i], id=str(i)))
            await stream.write(infer_request("two.none", [1], id="behind"))
            assert "behind" in await replies_of(stream, 1)
            stream.cancel()
            assert await stream.code() is grpc.StatusCode.CANCELLED
            await asyncio.to_thread(server.assert_serves, "one")
            held.release()
            with server.gate.let_all_pass():
                assert await asyncio.wait_for(neighbour, TIMEOUT_S) == Told((14000,))
                assert await asyncio.wait_for(ask([7500], "batches"), TIMEOUT_S) == Told((15000,))

    asyncio.run(run())
    done = {value for batch in server.batches() for value in batch}
    # Two workers had two batches each, of 8 at most, when it was cancelled.
    assert len(done & set(range(7001, 7001 + IN_FLIGHT))) <= 32
    server.assert_serves()


@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_what_a_stream_has_in_flight_is_bounded_by_the_limit(server: ForeignServer, how: str) -> None:
    async def run() -> None:
        async with streams(server, 3 * LIMIT if how == "all at once" else 1) as opened:
            count = 3 * LIMIT
            for i in range(count):
                await opened[i % len(opened)].write(infer_request("one.batches", [i], id=str(i)))
            if how == "one by one":
                told = await replies_of(opened[0], count - LIMIT)
            else:
                first = [asyncio.create_task(replies_of(stream, 1)) for stream in opened]
                while sum(task.done() for task in first) < count - LIMIT:
                    await asyncio.wait(
                        [task for task in first if not task.done()], return_when="FIRST_COMPLETED"
                    )
                told = {key: one for task in first if task.done() for key, one in task.result().items()}
            assert all(f"exceeds the limit {LIMIT}" in one.error_message for one in told.values())
            held = await asyncio.to_thread(server.gate.hold)
            held.release()
            with server.gate.let_all_pass():
                if how == "one by one":
                    rest = await replies_of(opened[0], LIMIT)
                else:
                    all_of = await asyncio.wait_for(asyncio.gather(*first), TIMEOUT_S)
                    rest = {key: one for each in all_of for key, one in each.items() if key not in told}
            assert {values_of(one.infer_response)[0] for one in rest.values()} == {
                2 * int(key) for key in rest
            }
            assert len(rest) == LIMIT

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    server.assert_serves()


def test_a_worker_that_is_killed_while_a_stream_has_requests_in_flight(server: ForeignServer) -> None:
    async def run() -> None:
        async with streams(server) as [stream]:
            for i in range(IN_FLIGHT):
                await stream.write(infer_request("two.batches", [i], id=str(i)))
            held = await asyncio.to_thread(server.gate.hold)
            kill(held.pid)
            with server.gate.let_all_pass():
                assert_doubled(await replies_of(stream, IN_FLIGHT), IN_FLIGHT)
            held.release()
            await stream.write(infer_request("two.twice", [21], id="after"))
            assert values_of((await replies_of(stream, 1))["after"].infer_response) == (42,)

    asyncio.run(run())
    wait_until(lambda: len(server.running.workers()) == 3, "a new worker has taken its place", 60)
    server.assert_serves()


def test_2000_requests_on_4_streams(server: ForeignServer) -> None:
    async def ask(stream: Any, first: int) -> None:
        async def write() -> None:
            for i in range(first, first + 500):
                rows = [i, -i, i + 1][: 1 + i % 3]
                model = "two.none" if i % 50 == 0 else "two.twice_all"
                await stream.write(infer_request(model, rows, id=str(i)))
            await stream.done_writing()

        writing = asyncio.create_task(write())
        told = await replies_of(stream, 500)
        await writing
        for i in range(first, first + 500):
            reply = told[str(i)]
            if i % 50 == 0:
                assert "none" in reply.error_message
            else:
                assert values_of(reply.infer_response) == (2 * i, -2 * i, 2 * i + 2)[: 1 + i % 3]
        assert await asyncio.wait_for(stream.read(), TIMEOUT_S) is grpc.aio.EOF

    async def run() -> None:
        async with streams(server, 4) as opened:
            await asyncio.gather(*(ask(stream, 1000 * at) for at, stream in enumerate(opened)))

    asyncio.run(run())


def test_a_stream_whose_client_never_reads(server: ForeignServer) -> None:
    size, count = 1 << 20, 300
    pid = server.running.process.pid
    server.assert_serves()
    before = holdings_of(pid).memory
    content = message_of(infer_request("two.large", [size]).SerializeToString())
    begin = PREFACE + settings(window=100) + headers_of(STREAM_INFER, 1)
    with http2_connection(server.running.grpc, begin) as connection:
        for _ in range(count):  # 300 MB of replies
            connection.sendall(http2_frames.frame(DATA, 0, 1, content))
        for _ in range(5):
            server.assert_serves()
        held = holdings_of(pid).memory - before
        assert held < 2.5 * 64 * size, f"{held >> 20} MB are held for a client that does not read"
    server.assert_serves()


def test_messages_of_a_stream_that_are_nonsense(server: ForeignServer) -> None:
    draw = random.Random(3)
    known = infer_request("one.twice", [1, 2], id="known").SerializeToString()

    async def one() -> None:
        async with grpc.aio.insecure_channel(server.running.grpc) as channel:
            stream: Any = channel.stream_stream(
                STREAM_INFER, response_deserializer=pb.ModelStreamInferResponse.FromString
            )()
            for _ in range(10):
                torn = bytearray(known)
                for _ in range(draw.randint(1, 3)):
                    torn[draw.randrange(len(torn))] = draw.randrange(256)
                content = bytes(torn) if draw.random() < 0.8 else draw.randbytes(draw.randint(1, 200))
                try:
                    await stream.write(content)
                    reply = await asyncio.wait_for(stream.read(), TIMEOUT_S)
                except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    reply = grpc.aio.EOF
                if reply is grpc.aio.EOF:  # what is no message may end the stream
                    code = await stream.code()
                    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT), code
                    return
            stream.cancel()

    async def run() -> None:
        for _ in range(20):
            await one()

    asyncio.run(run())
    server.assert_serves()


def test_streams_that_begin_and_end_at_once(server: ForeignServer) -> None:
    pid = server.running.process.pid

    async def run(rounds: int) -> None:
        for i in range(rounds):
            async with streams(server, 20) as opened:
                for stream in opened[: 10 if i % 2 else 20]:
                    await stream.write(infer_request("two.twice", [i]))
                for stream in opened[::3]:
                    stream.cancel()

    asyncio.run(run(5))
    server.assert_serves()
    before = holdings_of(pid)
    asyncio.run(run(20))
    server.assert_serves()
    assert holdings_of(pid).memory - before.memory < 30 << 20
    wait_until(lambda: holdings_of(pid).descriptors <= before.descriptors, "connections are closed")


@pytest.mark.parametrize("what", ["timeout of a request", "deadline of the stream"])
def test_a_stream_that_waits_too_long(server: ForeignServer, what: str) -> None:
    async def run() -> None:
        async with grpc.aio.insecure_channel(server.running.grpc) as channel:
            stub: Any = inference_stub(channel)
            of_stream = what == "deadline of the stream"
            stream = stub.ModelStreamInfer(timeout=0.5 if of_stream else None)
            for i in range(LIMIT):
                timeout_us = 0 if of_stream else 100_000
                await stream.write(infer_request("one.batches", [i], id=str(i), timeout_us=timeout_us))
            held = await asyncio.to_thread(server.gate.hold)
            if of_stream:
                assert await asyncio.wait_for(stream.code(), TIMEOUT_S) is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                told = await replies_of(stream, LIMIT)
                assert all("deadline" in one.error_message.lower() for one in told.values()), told
                assert set(told) == {str(i) for i in range(LIMIT)}
            await asyncio.to_thread(server.wait_until_not_full)
            held.release()
            with server.gate.let_all_pass():
                async with asking(server.running, "grpc", "one") as ask:
                    assert await asyncio.wait_for(ask([5], "batches"), TIMEOUT_S) == Told((10,))

    asyncio.run(run())
    server.assert_serves()
