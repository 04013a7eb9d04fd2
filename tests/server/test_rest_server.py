"""How the REST server starts and stops, on an event loop of the test's own and without workers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import uvloop

from mindspore_serving.errors import ServableUnavailable, StartUpError
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.tls import SSLConfig, ssl_context
from mindspore_serving.server.dialect.native.rest import NativeRest
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.rest_gateway import RestServer
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from mindspore_serving.signature import MethodSignature
from tests.support.certificates import Authority
from tests.support.rows import rows_of
from tests.support.serving import free_port
from tests.support.watch import wait_until

BODY = b'{"instances":[{"x":1}]}'
REQUEST = b"POST /model/any:method HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
OUTCOME = [FailedRows(ServableUnavailable("gone").failure(), 1)]
LARGE = 8_000_000
"""Numbers whose text is more than sockets hold."""


class Requests:
    """A dispatcher that answers when it is told."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()

    def resolve(self, name: str, method: str, version: int) -> Destination:
        return Destination(cast("Any", None), MethodSignature(method, ("x",), 1))

    def check_room(self, destination: Destination) -> None:
        pass

    def admit(self, destination: Destination, blocks: Any, timeout_s: float | None) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait(future)
        return future


Scene = Callable[[RestServer, Requests, str], Coroutine[Any, Any, None]]


def play(
    scene: Scene,
    unfinished: UnfinishedBodies | None = None,
    untaken: UntakenReplies | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a scene with a server that listens."""

    async def run() -> None:
        requests, address = Requests(), f"127.0.0.1:{free_port()}"
        server = RestServer(
            [NativeRest(cast("Dispatcher", requests))],
            address,
            HttpLimits(1 << 20),
            tls,
            unfinished=unfinished,
            untaken=untaken,
        )
        await server.start()
        try:
            await asyncio.wait_for(scene(server, requests, address), 20)
        finally:
            await server.stop()

    loop = uvloop.new_event_loop()
    loop.run_until_complete(run())
    loop.close()


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def test_the_stop_closes_what_is_idle_answers_what_is_under_way_and_cuts_off_the_rest() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        idle, quick, slow = [await connect(address) for _ in range(3)]
        futures = []
        for _, writer in (quick, slow):
            writer.write(REQUEST)
            futures.append(await requests.waiting.get())
        stopping = asyncio.create_task(server.stop())
        assert await idle[0].read() == b""
        with pytest.raises(ConnectionError):
            await connect(address)
        futures[0].set_result(OUTCOME)
        reply = await quick[0].read()
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close\r\n" in reply
        assert not stopping.done()
        await stopping
        assert futures[1].cancelled()
        assert await slow[0].read() == b""

    play(scene)


def test_a_stop_without_requests_takes_no_time() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        reader, _ = await connect(address)
        await asyncio.wait_for(server.stop(), 0.9)  # less than requests under way would get
        assert await reader.read() == b""
        await server.stop()

    play(scene)


def test_an_address_that_is_taken_is_refused() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        other = RestServer([NativeRest(cast("Dispatcher", requests))], address, HttpLimits(1 << 20), None)
        with pytest.raises(StartUpError, match=f"bind to the socket address {address} failed"):
            await other.start()
        await other.stop()

    play(scene)


def test_a_lost_client_abandons_its_request() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        _, writer = await connect(address)
        writer.write(REQUEST)
        future = await requests.waiting.get()
        writer.transport.abort()
        await asyncio.wait([future])
        assert future.cancelled()

    play(scene)


def test_while_it_drains_new_connections_get_one_reply_each() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        idle, busy = await connect(address), await connect(address)
        idle[1].write(REQUEST)
        (await requests.waiting.get()).set_result(OUTCOME)
        assert (await idle[0].read(1000)).startswith(b"HTTP/1.1 503 ")
        busy[1].write(REQUEST)
        future = await requests.waiting.get()
        server.drain()
        assert await idle[0].read() == b""
        reader, writer = await connect(address)
        writer.write(REQUEST * 2)
        (await requests.waiting.get()).set_result(OUTCOME)
        reply = await reader.read()
        assert reply.count(b"HTTP/1.1 503 ") == 1
        assert b"\r\nConnection: close\r\n" in reply
        future.set_result(OUTCOME)
        assert b"\r\nConnection: close\r\n" in await busy[0].read()

    play(scene)


def test_a_large_reply_to_a_slow_client_may_take_the_time_that_is_left() -> None:
    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        slow, sending = await connect(address), await connect(address)
        slow[1].write(REQUEST)
        future = await requests.waiting.get()
        sending[1].write(REQUEST[:-1])
        stopping = asyncio.create_task(server.stop(60))
        future.set_result([rows_of(y=np.zeros((1, LARGE)))])
        assert await sending[0].read() == b""  # cut off, after the time that all get
        assert not stopping.done()
        reply = await slow[0].read()
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert reply.endswith(b"}]}")
        await stopping

    play(scene)


def test_bodies_that_all_connections_are_receiving_are_bounded_together() -> None:
    unfinished = UnfinishedBodies(1_000_000)
    head = b"POST /model/any:method HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        reader, writer = await connect(address)
        writer.write(head + b" " * 600_000)
        await asyncio.to_thread(
            wait_until, lambda: "600000 of 1000000" in repr(unfinished), "the first body has come so far"
        )
        other_reader, other_writer = await connect(address)
        other_writer.write(head + b" " * 500_000)
        reply = await other_reader.read()
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in reply
        assert b'"Serving Error: bytes of unfinished requests exceed the limit 1000000"' in reply
        writer.write(b" " * (400_000 - len(BODY)) + BODY)
        (await requests.waiting.get()).set_result(OUTCOME)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 Service")

    play(scene, unfinished)


def test_replies_that_clients_do_not_take_are_bounded_and_their_connections_closed() -> None:
    seconds = [0.0]
    untaken = UntakenReplies(30_000_000, 10_000_000, lambda: seconds[0])
    large = [rows_of(y=np.zeros((1, LARGE)))]

    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        async def ask() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await connect(address)
            writer.write(REQUEST)
            return reader, writer

        idle = await ask()
        (await requests.waiting.get()).set_result(large)
        late = await ask()
        future = await requests.waiting.get()
        idle[1].write(REQUEST)  # is not answered
        await wait_for(lambda: held_by(untaken) > 20_000_000)
        more = await ask()
        (await requests.waiting.get()).set_result(large)
        await wait_for(lambda: held_by(untaken) > 40_000_000)
        for _ in range(2):
            refused = await ask()
            assert is_full(await refused[0].readuntil(b"}"))
        assert requests.waiting.empty()
        future.set_result(large)  # what was asked before
        assert is_full(await late[0].readuntil(b"}"))
        seconds[0] += 2
        await wait_for(lambda: held_by(untaken) < 30_000_000)
        late[1].write(REQUEST)
        (await requests.waiting.get()).set_result(OUTCOME)
        assert (await late[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 Service")
        seconds[0] += 60
        await wait_for(lambda: held_by(untaken) == 0)
        for reader, _ in (idle, more):
            with contextlib.suppress(ConnectionError):
                assert not (await reader.read()).endswith(b"}]}")

    play(scene, untaken=untaken)


def test_a_reply_that_is_taken_slowly_counts_and_arrives_as_a_whole_over_tls(tmp_path: Path) -> None:
    untaken = UntakenReplies(100_000_000, 50_000_000)
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    trusting = ssl.create_default_context(cafile=authority.certificate)
    trusting.check_hostname = False

    async def scene(server: RestServer, requests: Requests, address: str) -> None:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
        writer.write(REQUEST + REQUEST)
        (await requests.waiting.get()).set_result([rows_of(y=np.zeros((1, LARGE)))])
        await wait_for(lambda: held_by(untaken) > 20_000_000)
        assert requests.waiting.empty()
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
        assert body.endswith(b"0.0]}]}")
        (await requests.waiting.get()).set_result(OUTCOME)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 Service")
        assert held_by(untaken) == 0
        writer.close()

    play(scene, untaken=untaken, tls=ssl_context(SSLConfig(pair.certificate, pair.private_key)))


def held_by(untaken: UntakenReplies) -> int:
    return int(repr(untaken).split()[1])


def is_full(reply: bytes) -> bool:
    return reply.startswith(b"HTTP/1.1 429 ") and b"bytes of replies that were not taken exceed" in reply


async def wait_for(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, "replies are counted")
