"""What a gRPC library has to do for the server, on real sockets, by both that are used: the C core and grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from mindspore_serving.private_files import private_sockets
from mindspore_serving.server.access.tls import SSLConfig, grpc_credentials
from mindspore_serving.server.transport.grpc.core_call import CoreCall
from mindspore_serving.server.transport.grpc.core_surface import core as surface
from mindspore_serving.server.transport.grpc.library import (
    Answer,
    CallEnd,
    CallHandler,
    CallOver,
    Listener,
    Metadata,
    ServerCall,
)
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.on_aio import AioListener
from mindspore_serving.server.transport.grpc.on_core import CoreListener
from mindspore_serving.server.transport.grpc_routes import GrpcStatus
from tests.support.certificates import Authority
from tests.support.http2_frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, settings
from tests.support.serving import free_port

LIMIT_S = 20.0
PATH = "/a.Service/Ask"
MEBIBYTE = 1 << 20
LARGEST = 16 * MEBIBYTE
OPTIONS = [("grpc.so_reuseport", 0), *GrpcLimits(LARGEST, 100).options()]


LONELY = [("grpc.use_local_subchannel_pool", 1)]
"""Options of a channel that shares no connection with others."""
HEAD_OF_NO_TEXT = b"".join(
    b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
    for name, value in {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/a.\xff/Ask",
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }.items()
)


def failed(reason: BaseException) -> None:
    raise AssertionError("it takes no more calls") from reason


def core(find: Callable[[str, Metadata], CallHandler | None]) -> Listener:
    return CoreListener(find, OPTIONS, failed)


def aio(find: Callable[[str, Metadata], CallHandler | None]) -> Listener:
    return AioListener(find, OPTIONS, failed)


@pytest.fixture(params=[core, aio], ids=["core", "aio"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def one(
    answer: Answer, reads: bool = True, streams: bool = False
) -> Callable[[str, Metadata], CallHandler | None]:
    """Finds one handler by one path."""
    return lambda path, metadata: CallHandler(answer, reads, streams) if path == PATH else None


@contextlib.asynccontextmanager
async def served(
    library: Any, find: Callable[[str, Metadata], CallHandler | None], grace_s: float = 0.0
) -> AsyncIterator[tuple[Listener, grpc.aio.Channel]]:
    """A listener on a port of its own, and a channel to it."""
    listener: Listener = library(find)
    address = f"127.0.0.1:{free_port()}"
    assert listener.bind(address, None) > 0
    await listener.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        async with grpc.aio.insecure_channel(address, options) as channel:
            yield listener, channel
    finally:
        await listener.stop(grace_s)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(scene(), LIMIT_S)

    asyncio.run(limited())


async def echo(call: ServerCall) -> bytes | None:
    return await call.read()


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """Status of a call of a client."""
    return await call.code(), await call.details()


# --- What goes in, and what comes out ---


@pytest.mark.parametrize("message", [b"", b"a", bytes(MEBIBYTE), bytes(range(256)) * 4096])
def test_a_message_is_answered_with_one(library: Any, message: bytes) -> None:
    async def scene() -> None:
        async with served(library, one(echo)) as (_, channel):
            call = channel.unary_unary(PATH)(message)
            assert await call == message
            assert await ended(call) == (grpc.StatusCode.OK, "")

    play(scene)


def test_metadata_goes_both_ways(library: Any) -> None:
    seen: list[Any] = []

    async def look(call: ServerCall) -> bytes | None:
        seen.extend(item for item in call.metadata if item[0] in ("a", "b-bin"))
        call.set_trailing_metadata((("x-request-id", "mine"),))
        return await call.read()

    async def scene() -> None:
        async with served(library, one(look)) as (_, channel):
            call = channel.unary_unary(PATH)(b"", metadata=(("a", "1"), ("b-bin", b"\0\xff"), ("a", "2")))
            await call
            assert ("x-request-id", "mine") in tuple(await call.trailing_metadata())

    play(scene)
    seen.sort(key=lambda item: item[0])  # gRPC keeps the order of fields with the same name only
    assert seen == [("a", "1"), ("a", "2"), ("b-bin", b"\0\xff")]


@pytest.mark.parametrize(("timeout_s", "least_s", "most_s"), [(None, None, None), (10.0, 5.0, 10.1)])
def test_a_call_has_its_peer_and_what_is_left_of_its_deadline(
    library: Any, timeout_s: float | None, least_s: float | None, most_s: float | None
) -> None:
    seen: list[Any] = []

    async def look(call: ServerCall) -> bytes | None:
        seen.extend([call.peer, call.timeout_s])
        return await call.read()

    async def scene() -> None:
        async with served(library, one(look)) as (_, channel):
            await channel.unary_unary(PATH)(b"", timeout=timeout_s)

    play(scene)
    peer, left_s = seen
    assert peer.startswith("ipv4:127.0.0.1:")
    assert left_s is None if least_s is None else least_s < left_s <= most_s  # type: ignore[operator]


@pytest.mark.parametrize("status", list(GrpcStatus))
@pytest.mark.parametrize("reads", [True, False])
def test_a_call_ends_with_a_status(library: Any, status: GrpcStatus, reads: bool) -> None:
    async def end(call: ServerCall) -> None:
        call.set_trailing_metadata((("x-request-id", "mine"),))
        raise CallEnd(status, "why: ä, 价格")

    async def scene() -> None:
        async with served(library, one(end, reads)) as (_, channel):
            call = channel.unary_unary(PATH)(b"")
            assert await ended(call) == (grpc.StatusCode[status.name], "why: ä, 价格")
            assert ("x-request-id", "mine") in tuple(await call.trailing_metadata())

    play(scene)


def test_a_path_of_no_method_is_unimplemented(library: Any) -> None:
    async def scene() -> None:
        async with served(library, one(echo)) as (_, channel):
            for path in ("/a.Service/Other", "/", "/a.Service/Ask/"):
                call = channel.unary_unary(path)(b"")
                assert await ended(call) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            assert await channel.unary_unary(PATH)(b"a") == b"a"

    play(scene)


@pytest.mark.parametrize("where", ["find", "answer"])
def test_a_fault_of_ours_ends_one_call(library: Any, where: str) -> None:
    async def fail(call: ServerCall) -> None:
        raise KeyError("a fault")

    def find(path: str, metadata: Metadata) -> CallHandler:
        if path == PATH:
            return CallHandler(echo)
        if where == "find":
            raise KeyError("a fault")
        return CallHandler(fail)

    async def scene() -> None:
        async with served(library, find) as (_, channel):
            code, _ = await ended(channel.unary_unary("/a.Service/Other")(b"", timeout=LIMIT_S / 2))
            assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
            assert await channel.unary_unary(PATH)(b"a") == b"a"

    play(scene)


def test_a_call_without_a_message_is_seen_to_have_none(library: Any) -> None:
    async def count(call: ServerCall) -> bytes | None:
        return repr([await call.read() for _ in range(3)]).encode()

    async def scene() -> None:
        async with served(library, one(count)) as (_, channel):
            assert await channel.stream_unary(PATH)(iter(())) == b"[None, None, None]"

    play(scene)


def test_a_message_above_the_limit_reaches_no_handler(library: Any) -> None:
    async def scene() -> None:
        async with served(library, one(echo)) as (_, channel):
            call = channel.unary_unary(PATH)(bytes(LARGEST + 1))
            assert (await ended(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await channel.unary_unary(PATH)(bytes(LARGEST)) == bytes(LARGEST)

    play(scene)


@pytest.mark.parametrize("streams", [False, True])
def test_a_reply_above_the_limit_is_refused_by_the_library(library: Any, streams: bool) -> None:
    async def scene() -> None:
        done = asyncio.Event()

        async def large(call: ServerCall) -> bytes | None:
            call.when_done(done.set)
            if not streams:
                return bytes(LARGEST + 1)
            await call.write(bytes(LARGEST + 1))
            raise AssertionError("it was written")

        async with served(library, one(large, reads=False, streams=streams)) as (_, channel):
            call: Any = channel.unary_stream(PATH)(b"") if streams else channel.unary_unary(PATH)(b"")
            code, text = await ended(call)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "Sent message larger than max" in text
            await done.wait()

    play(scene)


def test_a_compressed_message_comes_as_it_was_sent(library: Any) -> None:
    async def unpack(call: ServerCall) -> bytes | None:
        message = await call.read()
        assert message is not None
        return gzip.decompress(message)

    async def scene() -> None:
        async with served(library, one(unpack)) as (_, channel):
            ask = channel.unary_unary(PATH)
            assert await ask(bytes(MEBIBYTE), compression=grpc.Compression.Gzip) == bytes(MEBIBYTE)

    play(scene)


@pytest.mark.parametrize("late", [False, True])
def test_a_message_is_freed_when_its_handler_lets_go_of_it(library: Any, late: bool) -> None:
    """Also while the call is answered, and one that came after its handler had begun to wait for it."""
    kept: list[int] = []

    async def scene() -> None:
        began = asyncio.Event()

        async def count(call: ServerCall) -> bytes:
            began.set()
            message = await call.read()
            await asyncio.sleep(0)
            kept.append(sys.getrefcount(message) - sys.getrefcount(object()))
            return b""

        async with served(library, one(count, reads=not late)) as (_, channel):
            call = channel.stream_unary(PATH)()
            if late:
                await call.wait_for_connection()
                await began.wait()
            await call.write(bytes(MEBIBYTE))
            await call.done_writing()
            await call

    play(scene)
    assert kept == [1]  # the name in the handler


# --- Streams ---


async def echo_all(call: ServerCall) -> None:
    while (message := await call.read()) is not None:
        await call.write(message)


def test_messages_are_written_one_after_the_other(library: Any) -> None:
    async def count(call: ServerCall) -> bytes | None:
        number = int(await call.read() or b"")
        for i in range(number):
            await call.write(b"%d" % i)
        return None

    async def scene() -> None:
        async with served(library, one(count, streams=True)) as (_, channel):
            for number in (0, 1, 100):
                call = channel.unary_stream(PATH)(b"%d" % number)
                assert [reply async for reply in call] == [b"%d" % i for i in range(number)]
                assert await ended(call) == (grpc.StatusCode.OK, "")

    play(scene)


@pytest.mark.parametrize("reads", [True, False])
def test_both_sides_stream_at_a_time(library: Any, reads: bool) -> None:
    async def scene() -> None:
        async with served(library, one(echo_all, reads, streams=True)) as (_, channel):
            call = channel.stream_stream(PATH)()
            for i in range(50):
                await call.write(b"%d" % i)
                assert await call.read() == b"%d" % i
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await ended(call) == (grpc.StatusCode.OK, "")

    play(scene)


def test_a_stream_ends_with_a_status_after_its_messages(library: Any) -> None:
    async def fail_late(call: ServerCall) -> None:
        await call.write(b"first")
        raise CallEnd(GrpcStatus.ABORTED, "enough")

    async def scene() -> None:
        async with served(library, one(fail_late, reads=False, streams=True)) as (_, channel):
            call = channel.unary_stream(PATH)(b"")
            assert await call.read() == b"first"
            assert await ended(call) == (grpc.StatusCode.ABORTED, "enough")

    play(scene)


def test_a_client_cannot_send_faster_than_its_messages_are_read(library: Any) -> None:
    read, sent = 0, 0

    async def scene() -> None:
        go_on = asyncio.Event()

        async def slow(call: ServerCall) -> bytes | None:
            nonlocal read
            await go_on.wait()
            while await call.read() is not None:
                read += 1
            return b"%d" % read

        async with served(library, one(slow, reads=False)) as (_, channel):
            call = channel.stream_unary(PATH)()

            async def send() -> None:
                nonlocal sent
                for _ in range(100):
                    await call.write(bytes(MEBIBYTE))
                    sent += 1
                await call.done_writing()

            sending = asyncio.create_task(send())
            before = -1
            while sent != before:  # until it makes no progress
                before = sent
                await asyncio.sleep(0.3)
            assert sent < 50
            go_on.set()
            await sending
            assert await call == b"100"

    play(scene)


def test_writing_waits_for_a_client_that_does_not_read(library: Any) -> None:
    written = 0

    async def flood(call: ServerCall) -> bytes | None:
        nonlocal written
        for _ in range(100):
            await call.write(bytes(MEBIBYTE))
            written += 1
        return None

    async def scene() -> None:
        nonlocal written
        async with served(library, one(flood, reads=False, streams=True)) as (_, channel):
            call = channel.unary_stream(PATH)(b"")
            assert await call.read() == bytes(MEBIBYTE)
            before = -1
            while written != before:
                before = written
                await asyncio.sleep(0.3)
            assert written < 50
            got = 1
            while await call.read() is not grpc.aio.EOF:
                got += 1
            assert (got, written) == (100, 100)

    play(scene)


def test_a_read_that_was_cancelled_loses_nothing() -> None:
    """With grpc.aio it loses the call: no handler of ours reads on after that."""

    async def scene() -> None:
        waits = asyncio.Event()

        async def impatient(call: ServerCall) -> bytes:
            first = asyncio.create_task(call.read())
            await asyncio.sleep(0.05)
            first.cancel()
            waits.set()
            return b",".join([await call.read() or b"none", await call.read() or b"none"])

        async with served(core, one(impatient, reads=False)) as (_, channel):
            call = channel.stream_unary(PATH)()
            await call.wait_for_connection()
            await waits.wait()
            await call.write(b"first")
            await call.write(b"second")
            await call.done_writing()
            assert await call == b"first,second"

    play(scene)


@pytest.mark.parametrize("how", ["write", "return"])
def test_a_call_that_writes_two_messages_at_a_time_ends_and_is_freed(how: str) -> None:
    """Of a batch that gRPC refuses it never frees anything: it must not be given one."""

    async def scene() -> None:
        over = asyncio.Event()

        async def twice(call: ServerCall) -> bytes | None:
            first = asyncio.create_task(call.write(bytes(LARGEST)))
            first.add_done_callback(lambda task: (task.exception(), over.set()))
            await asyncio.sleep(0)
            if how == "write":
                await call.write(b"second")
            return b"second"

        async with served(core, one(twice, reads=False, streams=True)) as (_, channel):
            call = channel.unary_stream(PATH)(b"")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.CANCELLED
            await over.wait()

    play(scene)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, CoreCall)]


def test_a_status_may_follow_a_message_that_nobody_waits_for_any_more() -> None:
    """Not with grpc.aio, which never ends such a call: no handler of ours gives up a message alone."""

    async def scene() -> None:
        async def give_up(call: ServerCall) -> None:
            first = asyncio.create_task(call.write(bytes(MEBIBYTE)))
            await asyncio.sleep(0)
            first.cancel()
            raise CallEnd(GrpcStatus.ABORTED, "enough")

        async with served(core, one(give_up, reads=False, streams=True)) as (_, channel):
            call = channel.unary_stream(PATH)(b"")
            assert await call.read() == bytes(MEBIBYTE)
            assert await ended(call) == (grpc.StatusCode.ABORTED, "enough")

    play(scene)


# --- Calls that end early ---


class Endless:
    """Answers no call, and says what becomes of it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.done = asyncio.Event()

    async def answer(self, call: ServerCall) -> bytes | None:
        call.when_done(self.done.set)
        await call.read()
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return None

    async def has_ended(self) -> None:
        await self.cancelled.wait()
        await self.done.wait()


@pytest.mark.parametrize("how", ["cancelled", "deadline", "connection closed", "stopped"])
@pytest.mark.parametrize("streams", [False, True])
def test_a_handler_is_cancelled_when_its_call_ends(library: Any, how: str, streams: bool) -> None:
    async def scene() -> None:
        endless = Endless()
        async with served(library, one(endless.answer, streams=streams)) as (listener, channel):
            ask: Any = channel.unary_stream(PATH) if streams else channel.unary_unary(PATH)
            call = ask(b"", timeout=0.3 if how == "deadline" else None)
            await endless.began.wait()
            if how == "cancelled":
                call.cancel()
            elif how == "connection closed":
                await channel.close()
            elif how == "stopped":
                await listener.stop(0.0)
            await endless.has_ended()
            if how in ("deadline", "stopped"):
                expected = (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.CANCELLED,
                )
                assert await call.code() in expected

    play(scene)


@pytest.mark.parametrize("reads", [True, False])
def test_a_call_that_is_cancelled_before_its_message_has_come_ends(library: Any, reads: bool) -> None:
    async def scene() -> None:
        outcomes: asyncio.Queue[str] = asyncio.Queue()

        async def wait(call: ServerCall) -> bytes | None:
            outcomes.put_nowait("began")
            try:
                return await call.read()
            finally:
                outcomes.put_nowait("ended")

        async with served(library, one(wait, reads)) as (_, channel):
            call = channel.stream_unary(PATH)()
            await call.wait_for_connection()
            assert await outcomes.get() == "began"  # though there is no message
            call.cancel()
            assert await outcomes.get() == "ended"
            assert await channel.stream_unary(PATH)(iter((b"a",))) == b"a"

    play(scene)


def test_who_writes_to_a_client_that_has_gone_is_told(library: Any) -> None:
    async def scene() -> None:
        began, told = asyncio.Event(), asyncio.Event()

        async def flood(call: ServerCall) -> None:
            try:
                while True:
                    await call.write(bytes(1000))
                    began.set()
            except (asyncio.CancelledError, CallOver):
                told.set()
                raise

        async with served(library, one(flood, reads=False, streams=True)) as (_, channel):
            call = channel.unary_stream(PATH)(b"")
            await began.wait()
            call.cancel()
            await told.wait()

    play(scene)


def test_done_is_when_the_reply_has_left(library: Any) -> None:
    async def scene() -> None:
        done = asyncio.Event()

        async def large(call: ServerCall) -> bytes | None:
            call.when_done(done.set)
            return bytes(LARGEST)

        async with served(library, one(large, reads=False)) as (_, channel):
            await channel.unary_unary(PATH)(b"")
            await done.wait()

    play(scene)


def test_a_callback_that_fails_holds_up_no_other(library: Any) -> None:
    """Though nothing else happens after it."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: None)
        called, all_called = 0, asyncio.Event()

        def fail_first() -> None:
            nonlocal called
            called += 1
            if called == 2:
                all_called.set()
            else:
                raise KeyError("a fault")

        async def answer(call: ServerCall) -> bytes | None:
            call.when_done(fail_first)
            await asyncio.sleep(0.1)  # the library has nothing left to look at
            loop.call_soon(time.sleep, 0.1)  # both are done when the loop goes on
            return await call.read()

        async with served(library, one(answer)) as (_, channel):
            ask = channel.unary_unary(PATH)
            assert await asyncio.gather(ask(b"a"), ask(b"b")) == [b"a", b"b"]
            await asyncio.wait_for(all_called.wait(), LIMIT_S / 4)

    play(scene)


@pytest.mark.parametrize("count", [2000])
def test_many_calls_at_once_are_answered_each_with_its_own(library: Any, count: int) -> None:
    async def scene() -> None:
        async with served(library, one(echo)) as (_, channel):
            ask = channel.unary_unary(PATH)
            sent = [b"%d" % i for i in range(count)]
            assert await asyncio.gather(*(ask(message) for message in sent)) == sent

    play(scene)


def test_many_calls_are_cancelled_and_others_answered(library: Any) -> None:
    async def scene() -> None:
        under_way = 0
        none_left = asyncio.Event()

        async def wait(call: ServerCall) -> bytes | None:
            nonlocal under_way
            under_way += 1
            none_left.clear()
            try:
                message = await call.read()
                if message == b"wait":
                    await asyncio.Event().wait()
                return message
            finally:
                under_way -= 1
                if not under_way:
                    none_left.set()

        async with served(library, one(wait)) as (_, channel):
            ask = channel.unary_unary(PATH)
            calls = [ask(b"wait") for _ in range(500)]
            answered = asyncio.gather(*(ask(b"%d" % i) for i in range(500)))
            await asyncio.sleep(0.05)  # some have begun by now, and some have not
            for call in calls:
                call.cancel()
            assert await answered == [b"%d" % i for i in range(500)]
            await none_left.wait()
            assert await ask(b"after") == b"after"

    play(scene)


def test_no_more_calls_are_taken_than_the_loop_can_keep_up_with() -> None:
    """The rest waits in the core, and is answered later."""
    found = 0

    def find(path: str, metadata: Metadata) -> CallHandler:
        nonlocal found
        found += 1
        return CallHandler(echo)

    def ask(address: str) -> list[Any]:
        with grpc.insecure_channel(address, LONELY) as channel:
            call = channel.unary_unary(PATH)
            return [one.result() for one in [call.future(b"%d" % i) for i in range(3000)]]

    async def scene() -> None:
        listener: Listener = core(find)
        port = listener.bind("127.0.0.1:0", None)
        await listener.start()
        answers = asyncio.create_task(asyncio.to_thread(ask, f"127.0.0.1:{port}"))
        await asyncio.sleep(0)
        time.sleep(2.0)  # noqa: ASYNC251 - the loop is busy
        assert 0 < found < 1500
        assert await answers == [b"%d" % i for i in range(3000)]
        await listener.stop(0.0)

    play(scene)


def test_a_failure_of_its_thread_is_told() -> None:
    async def scene() -> None:
        failures: asyncio.Queue[BaseException] = asyncio.Queue()

        def find(path: str, metadata: Metadata) -> CallHandler:
            raise SystemExit("whatever is no error of one call")

        listener = CoreListener(find, OPTIONS, failures.put_nowait)
        port = listener.bind("127.0.0.1:0", None)
        await listener.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary(PATH)(b"")
            assert isinstance(await failures.get(), SystemExit)
        await listener.stop(0.0)

    play(scene)


# --- Addresses, TLS ---


def test_it_listens_on_a_unix_socket(library: Any, tmp_path: Path) -> None:
    async def scene() -> None:
        listener: Listener = library(one(echo))
        address = f"unix:{tmp_path}/socket"
        assert listener.bind(address, None) > 0
        await listener.start()
        async with grpc.aio.insecure_channel(address) as channel:
            assert await channel.unary_unary(PATH)(b"a") == b"a"
        await listener.stop(0.0)

    play(scene)


def test_a_call_whose_path_is_no_text_changes_nothing_for_others(library: Any, tmp_path: Path) -> None:
    """Of a Unix socket neither: grpc.aio ends at such a call, and its place is taken with the same rights."""

    async def scene() -> None:
        listener: Listener = library(one(echo))
        path = tmp_path / "socket"
        with private_sockets():
            assert listener.bind(f"unix:{path}", None) > 0
        await listener.start()
        for _ in range(2):
            frames = PREFACE + settings() + frame(HEADERS, END_STREAM | END_HEADERS, 1, HEAD_OF_NO_TEXT)
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(frames)
            await asyncio.sleep(0.2)
            async with grpc.aio.insecure_channel(f"unix:{path}", LONELY) as channel:
                assert await channel.unary_unary(PATH)(b"a", wait_for_ready=True) == b"a"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            writer.close()
        await listener.stop(0.0)

    before = os.umask(0o002)
    try:
        play(scene)
    finally:
        os.umask(before)


def test_a_port_that_is_in_use_cannot_be_bound(library: Any) -> None:
    async def scene() -> None:
        address = f"127.0.0.1:{free_port()}"
        first: Listener = library(one(echo))
        assert first.bind(address, None) > 0
        await first.start()
        second: Listener = library(one(echo))
        try:
            assert second.bind(address, None) == 0
        except (OSError, RuntimeError) as error:
            assert address in str(error)
        await first.stop(0.0)

    play(scene)


@pytest.mark.parametrize("verify", [False, True])
def test_tls_says_who_the_client_is(library: Any, verify: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    ours, theirs = authority.issue("server"), authority.issue("alice")
    config = SSLConfig(ours.certificate, ours.private_key, authority.certificate, verify)
    roots = Path(authority.certificate).read_bytes()
    key, chain = (Path(theirs.private_key).read_bytes(), Path(theirs.certificate).read_bytes())

    async def look(call: ServerCall) -> bytes | None:
        return b",".join(call.auth_context().get("x509_common_name", ()))

    async def scene() -> None:
        address = f"localhost:{free_port()}"
        listener: Listener = library(one(look))
        assert listener.bind(address, grpc_credentials(config)) > 0
        await listener.start()
        shown = grpc.ssl_channel_credentials(roots, key, chain)
        async with grpc.aio.secure_channel(address, shown) as channel:
            assert await channel.unary_unary(PATH)(b"") == (b"alice" if verify else b"")
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots)) as channel:
            code, _ = await ended(channel.unary_unary(PATH)(b"", timeout=LIMIT_S / 2))
            assert code is (grpc.StatusCode.UNAVAILABLE if verify else grpc.StatusCode.OK)
        await listener.stop(0.0)

    play(scene)


# --- The end ---


def test_a_stop_lets_calls_finish_and_takes_no_more(library: Any) -> None:
    async def scene() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        async def wait(call: ServerCall) -> bytes | None:
            began.set()
            await go_on.wait()
            return await call.read()

        async with served(library, one(wait)) as (listener, channel):
            call = channel.unary_unary(PATH)(b"a")
            await began.wait()
            stopping = asyncio.create_task(listener.stop(LIMIT_S))
            await asyncio.sleep(0.2)
            late = channel.unary_unary(PATH)(b"b", timeout=1.0)
            assert (await ended(late))[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            go_on.set()
            assert await call == b"a"
            await stopping

    play(scene)


def test_a_second_stop_with_less_time_shortens_the_first(library: Any) -> None:
    async def scene() -> None:
        endless = Endless()
        async with served(library, one(endless.answer)) as (listener, channel):
            call = channel.unary_unary(PATH)(b"")
            await endless.began.wait()
            first = asyncio.create_task(listener.stop(2 * LIMIT_S))
            await asyncio.sleep(0.1)
            await listener.stop(0.1)
            await first
            await endless.has_ended()
            assert (await ended(call))[0] in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    play(scene)


@pytest.mark.parametrize("ignores", [False, True])
def test_a_stop_ends_also_where_a_handler_does_not(library: Any, ignores: bool) -> None:
    """A handler that goes on after it was cancelled holds up a stop for a while, and harms nothing."""

    async def scene() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        async def stubborn(call: ServerCall) -> bytes | None:
            began.set()
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    if not ignores:
                        raise
            return b"too late"

        async with served(library, one(stubborn)) as (listener, channel):
            channel.unary_unary(PATH)(b"")
            await began.wait()
            await listener.stop(0.0)
            go_on.set()
            await asyncio.sleep(0.05)

    play(scene)


def test_one_process_can_start_and_stop_many(library: Any) -> None:
    async def scene() -> None:
        for _ in range(20):
            async with served(library, one(echo)) as (_, channel):
                assert await channel.unary_unary(PATH)(b"a") == b"a"

    def servers() -> int:
        gc.collect()
        return sum(isinstance(thing, surface.Server) for thing in gc.get_objects())

    before = servers()
    play(scene)
    assert servers() == before
