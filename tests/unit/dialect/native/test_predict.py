"""Predict without gRPC: what its errors become, and that the loop turns while large messages are read and written."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mindspore_serving.errors import (
    DeadlineExceeded,
    Failure,
    InvalidInput,
    QueueFull,
    ServableUnavailable,
    ServerStopping,
    ServingError,
    StatusCode,
    UnknownTarget,
)
from mindspore_serving.proto import ms_service_pb2 as pb
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dialect.native.predict import PREDICT_PATH, Predict
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.destination import Destination
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.host import settings
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcReply, GrpcStatus
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import DataType, TensorSpec
from tests.support.grpc_messages import errors, instance, request, text_tensor
from tests.unit.dialect.grpc_calls import FakeCall

COUNT = 5000
METHOD = MethodSignature("m", ("x",), 8)
LIMIT_S = 20.0


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


def message(count: int, text: str = "text {}") -> bytes:
    found = [instance(x=text_tensor(text.format(i).encode())) for i in range(count)]
    return bytes(request("s", "m", found).SerializeToString())


def predict(dialect: Predict, content: bytes) -> asyncio.Task[bytes]:
    """The bytes of a reply."""

    async def message() -> bytes:
        return (await dialect.answer(content, FakeCall())).message

    return asyncio.create_task(message())


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
        dialect = Predict(dispatcher)
        with Turns() as small:
            assert texts_in(await predict(dialect, message(100))) == [b"text %d" % i for i in range(100)]
        with Turns() as large:
            reply = await predict(dialect, message(COUNT))
        assert texts_in(reply) == [b"text %d" % i for i in range(COUNT)]
        reading = writing = COUNT // 1024
        assert large.count - small.count >= reading + writing

    play(scene)


def test_a_request_counts_while_it_is_read_and_no_longer(one_request: None) -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        dialect = Predict(dispatcher)
        destination = dispatcher.resolve("s", "m", 0)
        large = predict(dialect, message(COUNT))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            dispatcher.check_room(destination)
        [error] = errors(pb.PredictReply.FromString(await predict(dialect, message(1))))
        assert error[0] == StatusCode.FAILED
        large.cancel()
        await asyncio.wait([large])
        assert len(texts_in(await predict(dialect, message(COUNT)))) == COUNT
        dispatcher.check_room(destination)

    play(scene)


def test_a_drain_waits_for_a_request_that_is_being_read_and_answered() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        Echo(dispatcher)
        large = predict(Predict(dispatcher), message(COUNT))
        await asyncio.sleep(0)
        assert await dispatcher.drain(LIMIT_S)
        assert large.done()
        assert len(texts_in(await large)) == COUNT

    play(scene)


def test_a_servable_that_is_gone_meanwhile_is_told() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        echo = Echo(dispatcher)
        dialect = Predict(dispatcher)
        for come_back in (False, True):
            large = predict(dialect, message(COUNT))
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


def test_a_message_whose_servable_is_gone_is_read_no_further() -> None:
    async def scene() -> None:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        echo = Echo(dispatcher)
        large = predict(Predict(dispatcher), message(COUNT))
        await asyncio.sleep(0)
        echo.servable.remove_copy(echo.copy)
        await asyncio.sleep(0)  # more parts follow, of which none is read
        assert large.done()

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
        dialect = Predict(dispatcher)
        for content, text in wrong.items():
            reply = pb.PredictReply.FromString(await predict(dialect, content))
            assert errors(reply) == [(StatusCode.INVALID_INPUTS, text)]
        dispatcher.check_room(dispatcher.resolve("s", "m", 0))

    play(scene)


# --- What errors become ---

TARGET = "servable(s) method(m)"
WRONG = FailedRows(InvalidInput("below 0").failure(), 2)


class FakeServable:
    """Serves every method, and has no limits of its own."""

    name = "s"
    version = 1

    def serves(self, method: str) -> bool:
        return True


class FakeDispatcher:
    """Answers every request with the same.

    Attributes:
        outcome: A reply, or an error that is raised.
        raised_by: The method that raises it.
    """

    def __init__(self, outcome: Reply | Exception, raised_by: str = "admit") -> None:
        self.outcome = outcome
        self.raised_by = raised_by

    def _pass(self, name: str) -> None:
        if name == self.raised_by and isinstance(self.outcome, Exception):
            raise self.outcome

    def resolve(self, name: str, method: str, version: int) -> Destination:
        self._pass("resolve")
        return Destination(cast("Any", FakeServable()), METHOD)

    def check_room(self, destination: Destination) -> None:
        self._pass("check_room")

    def admit(self, destination: Destination, blocks: list[Rows]) -> asyncio.Future[Reply]:
        self._pass("admit")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if isinstance(self.outcome, Exception):
            future.set_exception(self.outcome)
        else:
            future.set_result(self.outcome)
        return future


def answer(
    outcome: Reply | Exception,
    raised_by: str = "admit",
    content: bytes | None = None,
    call: FakeCall | None = None,
) -> GrpcReply:
    """The reply to one message."""
    dialect = Predict(cast("Dispatcher", FakeDispatcher(outcome, raised_by)))
    asked = message(1) if content is None else content
    return asyncio.run(asyncio.wait_for(dialect.answer(asked, call or FakeCall()), LIMIT_S))


def numbers(count: int, bytes_each: int = 4) -> Rows:
    spec = TensorSpec("y", DataType.UINT8, (bytes_each,))
    return Rows((spec,), (np.zeros((count, bytes_each), np.uint8),), count)


def test_predict_is_all_that_there_is_and_needs_the_right_to_infer() -> None:
    [method] = Predict(cast("Dispatcher", FakeDispatcher([]))).grpc_methods
    assert (method.path, method.right, method.probe) == (PREDICT_PATH, Right.INFER, False)
    assert PREDICT_PATH == "/mindspore.serving.proto.MSService/Predict"


@pytest.mark.parametrize("raised_by", ["resolve", "check_room", "admit", "the future"])
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (QueueFull("full"), Failure(StatusCode.FAILED, "full", 429)),
        (UnknownTarget("none"), Failure(StatusCode.INVALID_INPUTS, "none", 404)),
        (ServableUnavailable("gone"), Failure(StatusCode.SERVABLE_UNAVAILABLE, "gone")),
        (DeadlineExceeded("late"), Failure(StatusCode.FAILED, "late", 504)),
        (KeyError("k"), Failure(StatusCode.SYSTEM_ERROR, "Predict failed: KeyError('k')")),
    ],
)
def test_errors_are_told_in_a_reply_and_to_the_log(
    error: Exception, failure: Failure, raised_by: str
) -> None:
    reply = answer(error, raised_by)
    message = pb.PredictReply.FromString(reply.message)
    assert errors(message) == [(failure.code, failure.text)]
    assert (message.servable_spec.name, message.servable_spec.method_name) == ("s", "m")
    assert (list(reply.failures), reply.instance_count, reply.target) == ([FailedRows(failure, 1)], 0, TARGET)
    assert bool(reply.failures[0].failure.trace) == (not isinstance(error, ServingError))


@pytest.mark.parametrize("raised_by", ["resolve", "check_room", "admit"])
def test_a_server_that_stops_sends_clients_to_another_one(raised_by: str) -> None:
    with pytest.raises(GrpcError) as raised:
        answer(ServerStopping(), raised_by)
    assert (raised.value.status, raised.value.target) == (GrpcStatus.UNAVAILABLE, TARGET)
    assert raised.value.failure == ServerStopping().failure()


@pytest.mark.parametrize("content", [b"no message", message(1) + b"\xff", b"\x0a\x02\xff\xff"])
def test_bytes_that_are_no_message_have_a_status(content: bytes) -> None:
    with pytest.raises(GrpcError, match="Unable to parse request") as raised:
        answer([numbers(1)], content=content)
    assert raised.value.status is GrpcStatus.INTERNAL
    assert raised.value.failure.code is StatusCode.INVALID_INPUTS
    assert raised.value.target == (TARGET if content.startswith(message(1)) else "")


def test_a_reply_that_is_too_large_is_refused_before_it_is_written() -> None:
    assert answer([numbers(2, 500)], call=FakeCall(1000)).message
    with pytest.raises(GrpcError, match=r"SERVER: Sent message larger than max \(1002 vs\. 1000\)") as raised:
        answer([numbers(2, 501)], call=FakeCall(1000))
    assert (raised.value.status, raised.value.target) == (GrpcStatus.RESOURCE_EXHAUSTED, TARGET)


def test_instances_that_failed_are_told_to_the_log() -> None:
    reply = answer([numbers(1), WRONG])
    assert (list(reply.failures), reply.instance_count, reply.target) == ([WRONG], 3, TARGET)
    assert errors(pb.PredictReply.FromString(reply.message)) == [(0, ""), *[(2, "below 0")] * 2]


def test_where_all_is_well_there_is_nothing_to_log() -> None:
    reply = answer([numbers(1)])
    assert reply == GrpcReply(reply.message)
    assert not errors(pb.PredictReply.FromString(reply.message))


LARGE = message(1, "x" * (1 << 16))


def test_a_large_message_is_counted_until_the_dispatcher_counts_it() -> None:
    call = FakeCall()
    counted: list[int] = []

    class Noting(FakeDispatcher):
        def admit(self, destination: Destination, blocks: list[Rows]) -> asyncio.Future[Reply]:
            counted.append(call.arriving)
            return super().admit(destination, blocks)

        @contextlib.contextmanager
        def reading(self, destination: Destination) -> Iterator[SimpleNamespace]:
            yield SimpleNamespace(admit=functools.partial(self.admit, destination))

    dialect = Predict(cast("Dispatcher", Noting([numbers(1)])))
    for content in (LARGE, message(1)):
        asyncio.run(dialect.answer(content, call))
    assert call.counted_sizes == [len(LARGE)]
    assert counted == [len(LARGE), 0]  # a small one never


def test_a_message_that_was_read_is_not_held_while_it_waits() -> None:
    content = b"".join([message(1)])
    held: list[int] = []

    class Noting(FakeDispatcher):
        def admit(self, destination: Destination, blocks: list[Rows]) -> asyncio.Future[Reply]:
            loop = asyncio.get_running_loop()
            pending: asyncio.Future[Reply] = loop.create_future()
            loop.call_soon(lambda: held.append(sys.getrefcount(content)))
            loop.call_soon(pending.set_result, super().admit(destination, blocks).result())
            return pending

    dialect = Predict(cast("Dispatcher", Noting([numbers(1)])))
    before = sys.getrefcount(content)
    asyncio.run(dialect.answer(content, FakeCall()))
    assert held == [before]


def test_a_large_message_for_which_there_is_no_room_is_refused() -> None:
    with pytest.raises(GrpcError, match="no room") as raised:
        answer([numbers(1)], content=LARGE, call=FakeCall(has_room=False))
    assert (raised.value.status, raised.value.target) == (GrpcStatus.RESOURCE_EXHAUSTED, TARGET)


@pytest.mark.parametrize(
    ("outcome", "raised_by", "beginning", "refused"),
    [
        ([], "", message(3), False),
        (UnknownTarget("none"), "resolve", message(3), True),
        (ServerStopping(), "resolve", message(3), True),
        (QueueFull("full"), "check_room", message(3), True),
        (UnknownTarget("none"), "resolve", b"no message", False),
    ],
)
def test_the_beginning_of_a_message_tells_whether_it_is_refused(
    outcome: Reply | Exception, raised_by: str, beginning: bytes, refused: bool
) -> None:
    dialect = Predict(cast("Dispatcher", FakeDispatcher(outcome, raised_by)))
    [method] = dialect.grpc_methods
    assert method.refuses is not None
    assert method.refuses(beginning) == refused
