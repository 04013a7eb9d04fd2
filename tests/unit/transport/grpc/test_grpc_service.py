"""Large Predict messages: the event loop turns while their instances are read, however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from mindspore_serving.errors import QueueFull, StatusCode
from mindspore_serving.proto import ms_service_pb2 as pb
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host import settings
from mindspore_serving.server.transport.grpc.messages import MessageReader
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc.service import PredictHandler
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies
from mindspore_serving.server.transport.untaken_replies import UntakenReplies
from mindspore_serving.signature import MethodSignature
from tests.support.grpc_messages import errors, instance, request, text_tensor

COUNT = 5000
METHOD = MethodSignature("m", ("x",), 8)
LIMIT_S = 20.0


class Context:
    """Of a call."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Nobody reads it."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


class Echo:
    """A copy that gives back what it gets."""

    def __init__(self, dispatcher: Dispatcher, methods: tuple[MethodSignature, ...] = (METHOD,)) -> None:
        self.servable = dispatcher.servable("s", 1)
        self._loop = asyncio.get_running_loop()
        self.copy = ServableCopy("s", methods, self._take)
        self.servable.add_copy(self.copy)

    def _take(self, batch: Batch) -> None:
        result = Result(batch.batch_id, batch.slot, 0, batch.groups, True)
        self._loop.call_soon(self.copy.take_result, result)


class Turns:
    """Counts the turns of the event loop within a block."""

    def __enter__(self) -> Turns:
        self.count = 0
        self._counting = asyncio.create_task(self._count())
        return self

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    def __exit__(self, *_: object) -> None:
        self._counting.cancel()


def handler_of(dispatcher: Dispatcher) -> PredictHandler:
    connections = TcpConnections()
    reader = MessageReader(1 << 30, connections, UnfinishedBodies(1 << 30))
    replies = SentReplies(UntakenReplies(1 << 30, 1 << 30), connections)
    return PredictHandler(dispatcher, 1 << 30, reader, replies)


def message(count: int, text: str = "text {}") -> bytes:
    found = [instance(x=text_tensor(text.format(i).encode())) for i in range(count)]
    return bytes(request("s", "m", found).SerializeToString())


def predict(handler: PredictHandler, content: bytes) -> asyncio.Task[bytes]:
    call: Any = handler.predict(content, Context())  # type: ignore[arg-type]
    return asyncio.create_task(call)


def texts_in(reply: bytes) -> list[bytes]:
    return [found.items["x"].bytes_val[0] for found in pb.PredictReply.FromString(reply).instances]


@pytest.fixture
def one_request() -> Iterator[None]:
    """The server takes one request at a time."""
    most = settings.server_limits.requests
    settings.set_max_enqueued_requests(1)
    yield
    settings.set_max_enqueued_requests(most)


def play(scene: Any) -> None:
    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def test_the_loop_turns_while_instances_are_read() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        handler = handler_of(dispatcher)
        with Turns() as small:
            assert texts_in(await predict(handler, message(100))) == [b"text %d" % i for i in range(100)]
        with Turns() as large:
            reply = await predict(handler, message(COUNT))
        assert texts_in(reply) == [b"text %d" % i for i in range(COUNT)]
        reading = writing = COUNT // 1024
        assert large.count - small.count >= reading + writing

    play(scene)


def test_a_request_counts_while_it_is_read_and_no_longer(one_request: None) -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        handler = handler_of(dispatcher)
        route = dispatcher.resolve("s", "m", 0)
        large = predict(handler, message(COUNT))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            dispatcher.check_room(route)
        [error] = errors(pb.PredictReply.FromString(await predict(handler, message(1))))
        assert error[0] == StatusCode.FAILED
        large.cancel()
        await asyncio.wait([large])
        assert len(texts_in(await predict(handler, message(COUNT)))) == COUNT
        dispatcher.check_room(route)

    play(scene)


def test_a_drain_waits_for_a_request_that_is_being_read_and_answered() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        large = predict(handler_of(dispatcher), message(COUNT))
        await asyncio.sleep(0)
        assert await dispatcher.drain(LIMIT_S)
        assert large.done()
        assert len(texts_in(await large)) == COUNT

    play(scene)


def test_a_servable_that_is_gone_meanwhile_is_told() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        echo = Echo(dispatcher)
        handler = handler_of(dispatcher)
        for come_back in (False, True):
            large = predict(handler, message(COUNT))
            await asyncio.sleep(0)
            echo.servable.remove_copy(echo.copy)
            if come_back:
                Echo(dispatcher, (MethodSignature("m", ("y",), 8),))
            [(code, text)] = errors(pb.PredictReply.FromString(await large))
            assert code == StatusCode.SERVABLE_UNAVAILABLE
            assert text.endswith("servable is not available")
            if not come_back:
                echo = Echo(dispatcher)

    play(scene)


def test_what_is_wrong_is_told() -> None:
    broken = message(COUNT) + request("s", "m", [instance(y=text_tensor(b"y"))]).SerializeToString()
    wrong = {
        message(0) + b"\x28\x07" * 40_000: "Instances count of request cannot be 0, servable: s, method: m",
        broken: "Cannot find input x in instance input , servable s, method m",
    }

    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        handler = handler_of(dispatcher)
        for content, text in wrong.items():
            reply = pb.PredictReply.FromString(await predict(handler, content))
            assert errors(reply) == [(StatusCode.INVALID_INPUTS, text)]
        dispatcher.check_room(dispatcher.resolve("s", "m", 0))

    play(scene)
