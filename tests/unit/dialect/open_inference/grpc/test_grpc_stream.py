"""A stream of requests, without gRPC: what is in flight, what is held, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mindspore_serving.server.dialect.open_inference.grpc.stream import MOST_IN_FLIGHT, RequestStream
from mindspore_serving.server.transport.grpc_routes import GrpcReply

LIMIT_S = 20.0


class Scene:
    """A stream whose messages come, and whose answers are made, when a test says so."""

    def __init__(self, most_held: int = 1000) -> None:
        self.sent: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.stopping = asyncio.Event()
        self.pending: dict[bytes, asyncio.Future[bytes]] = {}
        self.cancelled: list[bytes] = []
        self.taken = 0
        self.released = 0
        self.stream = RequestStream(self.messages(), self.answer, self.stopping, most_held, self.release)
        self.replies = self.stream.replies()

    async def messages(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.sent.get()
            if message is None:
                return
            if isinstance(message, Exception):
                raise message
            self.taken += 1
            yield message

    async def answer(self, message: bytes) -> GrpcReply:
        future = self.pending[message] = asyncio.get_running_loop().create_future()
        try:
            return GrpcReply(await future)
        except asyncio.CancelledError:
            self.cancelled.append(message)
            raise

    def release(self, size: int) -> None:
        self.released += size

    def send(self, *messages: bytes | Exception | None) -> None:
        for message in messages:
            self.sent.put_nowait(message)

    async def next(self) -> bytes | None:
        """The next reply; None at the end."""
        async for reply in self.replies:
            return reply.message
        return None

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await turns(1)


async def turns(count: int = 50) -> None:
    """Let everything come to where it waits."""
    for _ in range(count):
        await asyncio.sleep(0)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def played() -> None:
        await asyncio.wait_for(scene(), LIMIT_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(played())


def test_replies_come_in_the_order_in_which_they_are_made() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(b"a", b"b", b"c", None)
        first = asyncio.create_task(stream.next())
        await stream.until(lambda: len(stream.pending) == 3)
        for name in (b"c", b"a", b"b"):
            stream.pending[name].set_result(name.upper())
            await turns(3)
        assert [await first, await stream.next(), await stream.next(), await stream.next()] == [
            b"C",
            b"A",
            b"B",
            None,
        ]

    play(scene)


def test_an_empty_stream_ends() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(None)
        assert await stream.next() is None

    play(scene)


def test_a_client_has_a_bounded_number_of_requests_in_flight() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(*(b"%d" % i for i in range(MOST_IN_FLIGHT + 5)))
        first = asyncio.create_task(stream.next())
        await turns(5 * MOST_IN_FLIGHT)
        assert stream.taken == MOST_IN_FLIGHT
        stream.pending[b"3"].set_result(b"")
        assert await first == b""
        await turns()
        assert stream.taken == MOST_IN_FLIGHT  # the reply has not been taken yet
        second = asyncio.create_task(stream.next())
        await turns()
        assert stream.taken == MOST_IN_FLIGHT + 1
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await stream.replies.aclose()
        assert len(stream.cancelled) == MOST_IN_FLIGHT

    play(scene)


def test_no_request_is_read_while_replies_that_are_not_taken_are_large() -> None:
    async def scene() -> None:
        stream = Scene(most_held=10)
        stream.send(b"a", b"b")
        first = asyncio.create_task(stream.next())
        await stream.until(lambda: len(stream.pending) == 2)
        for name in (b"a", b"b"):
            stream.pending[name].set_result(bytes(8))
        assert await first == bytes(8)
        stream.send(b"c", b"d", None)
        await turns()
        assert stream.taken <= 3  # one may have been asked for before
        assert await stream.next() == bytes(8)
        last = asyncio.create_task(stream.next())
        await stream.until(lambda: b"d" in stream.pending)
        await turns()
        for name in (b"c", b"d"):
            stream.pending[name].set_result(b"")
        assert [await last, await stream.next(), await stream.next()] == [b"", b"", None]

    play(scene)


def test_replies_that_are_to_come_are_expected_to_be_as_large_as_others() -> None:
    async def scene() -> None:
        stream = Scene(most_held=20)
        stream.send(b"a")
        first = asyncio.create_task(stream.next())
        await stream.until(lambda: b"a" in stream.pending)
        stream.pending[b"a"].set_result(bytes(9))
        assert await first == bytes(9)
        stream.send(*(b"%d" % i for i in range(9)))
        following = asyncio.create_task(stream.next())
        await turns()
        assert stream.taken == 4  # three that may have 9 bytes each are more than 20
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await stream.replies.aclose()

    play(scene)


def test_replies_are_released_when_they_are_taken_and_when_the_stream_ends() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(b"a", b"b", b"c")
        first = asyncio.create_task(stream.next())
        await stream.until(lambda: len(stream.pending) == 3)
        for name in (b"a", b"b"):
            stream.pending[name].set_result(name * 8)
        assert await first == b"a" * 8
        assert stream.released == 0
        assert await stream.next() == b"b" * 8
        assert stream.released == 8
        stream.pending[b"c"].set_result(b"c")
        await turns()
        await stream.replies.aclose()
        assert stream.released == 17

    play(scene)


@pytest.mark.parametrize("way", ["close", "cancel"])
def test_the_end_of_a_stream_cancels_what_is_in_flight(way: str) -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(b"a", b"b")
        waiting = asyncio.create_task(stream.next())
        await stream.until(lambda: len(stream.pending) == 2)
        if way == "close":
            stream.pending[b"a"].set_result(b"A")
            assert await waiting == b"A"
            await stream.replies.aclose()
            assert stream.cancelled == [b"b"]
        else:
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert sorted(stream.cancelled) == [b"a", b"b"]

    play(scene)


def test_a_server_that_stops_reads_no_more_and_answers_what_it_has() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(b"a")
        waiting = asyncio.create_task(stream.next())
        await stream.until(lambda: b"a" in stream.pending)
        stream.stopping.set()
        await turns()
        stream.send(b"b")
        stream.pending[b"a"].set_result(b"A")
        assert await waiting == b"A"
        assert await stream.next() is None
        assert stream.taken == 1

    play(scene)


def test_an_error_of_the_messages_ends_the_stream() -> None:
    async def scene() -> None:
        stream = Scene()
        stream.send(b"a", ConnectionError("no more"))
        with pytest.raises(ConnectionError):
            await stream.next()
        assert stream.cancelled == [b"a"]

    play(scene)
