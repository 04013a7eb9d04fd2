"""What observers are told of calls of gRPC, and what a reply says at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.access.api_keys import ApiKeys
from mindspore_serving.server.access.guard import Guard
from mindspore_serving.server.dispatch.client_call import ClientCall, current_call
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamedReplyMethod,
    StreamMethod,
    UnaryMethod,
)
from mindspore_serving.server.transport.observers import EndedCall
from tests.unit.transport.grpc.test_calls import LIMIT_S, FakeCall, Server

PATH = "/a.Service/Ask"
KEY = "a-key-of-more-than-16-characters"
FAILURE = InvalidInput("x is wrong").failure()
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Recorder:
    """Notes what it is told, and names the trace of each call."""

    def __init__(self, traceparent: str = "") -> None:
        self.began: list[ClientCall] = []
        self.headers: list[Mapping[str, str]] = []
        self.told: list[EndedCall] = []
        self.traceparent = traceparent

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        assert current_call.get() is call
        call.traceparent = self.traceparent
        self.began.append(call)
        self.headers.append(headers)

    def ended(self, call: EndedCall) -> None:
        self.told.append(call)


def admit(version: int = 7, count: int = 1) -> None:
    """What the dispatcher does with a request of the call that the task answers."""
    call = current_call.get()
    assert call is not None
    request = SimpleNamespace(count=count, began=0.0, ended_at=0.0)
    servable = SimpleNamespace(version=version)
    call.add(cast("Any", request), cast("Any", SimpleNamespace(servable=servable)))


async def echo(message: bytes, call: GrpcCall) -> GrpcReply:
    admit(int(message))
    return GrpcReply(message * 2)


def ask(
    call: FakeCall,
    *methods: GrpcMethod,
    path: str = PATH,
    guard: Guard | None = None,
    recorder: Recorder | None = None,
) -> list[EndedCall]:
    """What observers are told of one call."""
    recorder = recorder or Recorder()

    async def scene() -> None:
        server = Server(*methods, guard=guard)
        server.router.observers.add(recorder)
        await server.call(call, path)

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))
    assert {id(one) for one in recorder.began} <= {id(one.call) for one in recorder.told}
    assert len({id(one.call) for one in recorder.told}) == len(recorder.told)  # each ends once
    return recorder.told


def shown(ended: EndedCall) -> tuple[Any, ...]:
    return (
        ended.status, ended.bytes_in, ended.bytes_out, ended.instances, ended.failed_instances, ended.error,
    )  # fmt: skip


def test_an_answered_call() -> None:
    call = FakeCall(b"7", metadata=(("x-request-id", "mine"), ("a-bin", b"\0")))
    recorder = Recorder()
    [ended] = ask(call, UnaryMethod(path=PATH, handler=echo, dialect="some"), recorder=recorder)
    assert shown(ended) == (0, 1, 2, 1, 0, "")
    assert (ended.transport, ended.dialect, ended.target, ended.route) == ("grpc", "some", PATH, PATH)
    assert (ended.request_id, ended.peer, ended.key_name, ended.probe, ended.secure) == (
        "mine", "127.0.0.1", "", False, False,
    )  # fmt: skip
    assert ended.call.version == 7
    assert ended.call.began <= ended.ended
    assert recorder.headers == [{"x-request-id": "mine"}]
    assert call.trailing == {"x-request-id": "mine", "serving-version": "7"}


def test_nothing_is_made_for_nobody() -> None:
    """The version is said all the same."""
    call = FakeCall(b"7")

    async def scene() -> None:
        assert await Server(UnaryMethod(path=PATH, handler=echo)).call(call, PATH) == b"77"

    asyncio.run(scene())
    assert call.trailing == {"serving-version": "7"}


def test_the_trace_goes_back() -> None:
    call = FakeCall(b"7")
    ask(call, UnaryMethod(path=PATH, handler=echo), recorder=Recorder(TRACEPARENT))
    assert call.trailing == {"serving-version": "7", "traceparent": TRACEPARENT}


def test_a_call_of_no_servable_has_no_version() -> None:
    async def say(message: bytes, call: GrpcCall) -> GrpcReply:
        return GrpcReply(message)

    call = FakeCall(b"7")
    [ended] = ask(call, UnaryMethod(path=PATH, handler=say, probe=True))
    assert call.trailing == {}
    assert ended.probe
    assert ended.request_id == ""


def test_calls_that_fail() -> None:
    async def fail(message: bytes, call: GrpcCall) -> GrpcReply:
        admit(3, count=4)
        raise GrpcError(GrpcStatus.ABORTED, FAILURE)

    async def partly(message: bytes, call: GrpcCall) -> GrpcReply:
        admit(3, count=4)
        return GrpcReply(b"...", [FailedRows(FAILURE, 3)], 4)

    call = FakeCall(b"7")
    [ended] = ask(call, UnaryMethod(path=PATH, handler=fail))
    assert shown(ended) == (10, 1, 0, 4, 4, "x is wrong")
    assert ended.request_id == call.id
    call = FakeCall(b"7")
    [ended] = ask(call, UnaryMethod(path=PATH, handler=partly))
    assert shown(ended) == (0, 1, 3, 4, 3, "x is wrong")
    assert call.trailing == {"x-request-id": ended.request_id, "serving-version": "3"}


def test_calls_that_are_refused() -> None:
    [ended] = ask(FakeCall(), UnaryMethod(path=PATH, handler=echo))
    assert shown(ended) == (3, 0, 0, 0, 0, "The call has no message, expected is one")
    [ended] = ask(FakeCall(b"1"), UnaryMethod(path=PATH, handler=echo), path="/no/method")
    assert shown(ended) == (12, 0, 0, 0, 0, "Method not found!")
    assert ended.target == "/no/method"
    call = FakeCall(b"1")
    [ended] = ask(call, UnaryMethod(path=PATH, handler=echo), guard=Guard(ApiKeys([KEY]), ()))
    assert ended.status == 16
    assert ended.request_id == call.id
    assert KEY not in repr(ended)


def test_the_name_of_a_key() -> None:
    call = FakeCall(b"1", metadata=(("x-api-key", KEY),))
    guard = Guard(ApiKeys([f"{KEY} name=dashboard"]), ())
    [ended] = ask(call, UnaryMethod(path=PATH, handler=echo), guard=guard)
    assert ended.key_name == "dashboard"


@pytest.mark.parametrize(("left_s", "status"), [(None, 1), (3.0, 1), (0.0, 4)])
def test_clients_that_have_gone(left_s: float | None, status: int) -> None:
    """While they are answered, or before."""

    async def wait(message: bytes, call: GrpcCall) -> GrpcReply:
        admit(1, count=2)
        raise asyncio.CancelledError

    recorder = Recorder()
    for call, expected in ((FakeCall(b"7"), (status, 1, 0, 2, 2)), (FakeCall(b"7"), (status, 0, 0, 0, 0))):
        call.timeout_s = left_s  # type: ignore[assignment]
        if not expected[1]:
            call.ends_at = 1
        with pytest.raises((asyncio.CancelledError, Exception)):
            ask(call, UnaryMethod(path=PATH, handler=wait), recorder=recorder)
        ended = recorder.told.pop()
        assert shown(ended)[:5] == expected
        assert ended.error


def test_a_reply_of_several_messages_is_one_call() -> None:
    async def talk(message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        admit(2)
        yield GrpcReply(b"12")
        yield GrpcReply(b"345")
        if message == b"fail":
            raise GrpcError(GrpcStatus.ABORTED, FAILURE)

    method = StreamedReplyMethod(path=PATH, handler=talk)
    [ended] = ask(FakeCall(b"go"), method)
    assert shown(ended) == (0, 2, 5, 1, 0, "")
    [ended] = ask(FakeCall(b"fail"), method)
    assert shown(ended) == (10, 4, 5, 1, 1, "x is wrong")


async def in_turn(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
    async for message in messages:
        if message == b"fail":
            raise GrpcError(GrpcStatus.ABORTED, FAILURE)
        if message.isdigit():
            admit(int(message))
        if message != b"silent":
            yield GrpcReply(message * 2)


@pytest.mark.parametrize(
    ("messages", "expected", "version"),
    [
        ([], [], None),
        ([b"1", b"1"], [(0, 1, 2), (0, 1, 2)], "1"),
        ([b"1", b"2"], [(0, 1, 2), (0, 1, 2)], None),
        ([b"1", b"abc"], [(0, 1, 2), (0, 3, 6)], "1"),
        ([b"silent", b"1"], [(0, 6, 2), (0, 1, 0)], None),
        ([b"1", b"fail"], [(0, 1, 2), (10, 4, 0)], "1"),
    ],
)
def test_each_message_of_a_stream(
    messages: Sequence[bytes], expected: list[tuple[int, int, int]], version: str | None
) -> None:
    call = FakeCall(*messages)
    told = ask(call, StreamMethod(path=PATH, handler=in_turn))
    assert [shown(ended)[:3] for ended in told] == expected
    assert call.trailing.get("serving-version") == version


def test_messages_that_are_answered_at_a_time() -> None:
    """Each by a task of its own, in any order; the client goes while one is answered."""

    async def at_a_time(messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        async def answer(message: bytes) -> GrpcReply:
            admit(5, count=int(message))
            await asyncio.sleep(0 if message == b"2" else 3600)
            reply = GrpcReply(message * 3)
            call.answered(reply)
            return reply

        tasks = [asyncio.create_task(answer(message)) async for message in messages]
        try:
            yield await tasks[1]
            raise asyncio.CancelledError
        finally:
            for task in tasks:
                task.cancel()

    recorder = Recorder()
    with pytest.raises(asyncio.CancelledError):
        ask(
            FakeCall(b"1", b"2"),
            StreamMethod(path=PATH, handler=at_a_time, at_a_time=True),
            recorder=recorder,
        )
    assert [shown(ended)[:5] for ended in recorder.told] == [(0, 1, 3, 2, 0), (1, 1, 0, 1, 1)]
    assert {id(one.call) for one in recorder.told} == {id(one) for one in recorder.began}


def test_an_idle_stream_keeps_nothing_of_its_last_message() -> None:
    class Idle(FakeCall):
        async def read(self) -> bytes | None:
            if not self.messages:
                assert current_call.get() is None
            return await super().read()

    ask(Idle(b"1"), StreamMethod(path=PATH, handler=in_turn))
