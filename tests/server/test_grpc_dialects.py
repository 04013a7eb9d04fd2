"""A dialect that is no part of Serving, on a real gRPC server: nothing but its methods is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.health.grpc import HealthService
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.server import GrpcServer
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcReply,
    GrpcStatus,
    StreamedReplyMethod,
    StreamMethod,
    UnaryMethod,
)

pytestmark = pytest.mark.both_grpc_servers

LIMIT_S = 20.0
ASK = "/some.Dialect/Ask"
COUNT = "/some.Dialect/Count"
TALK = "/some.Dialect/Talk"


class Shouting:
    """Gives back in capitals what it is asked, and counts up to a number until the server stops."""

    def __init__(self) -> None:
        self.grpc_methods = (
            UnaryMethod(path=ASK, handler=self.ask),
            StreamedReplyMethod(path=COUNT, handler=self.count),
            StreamMethod(path=TALK, handler=self.talk),
        )

    async def ask(self, message: bytes, call: GrpcCall) -> GrpcReply:
        if not message:
            raise GrpcError(GrpcStatus.FAILED_PRECONDITION, InvalidInput("nothing to shout").failure())
        return GrpcReply(message.upper())

    async def count(self, message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        for number in range(int(message)):
            yield GrpcReply(b"%d" % number)
        await call.stopping.wait()
        yield GrpcReply(b"the end")

    async def talk(self, messages: AsyncIterator[bytes], call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        async for message in messages:
            yield await self.ask(message, call)


Scene = Callable[[GrpcServer, grpc.aio.Channel], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    """Plays a scene with a server of two dialects, and a client of it."""

    async def played(scene: Scene) -> None:
        address = f"unix:{tmp_path}/grpc"
        methods = [
            *Shouting().grpc_methods,
            *HealthService(Catalog(Dispatcher(asyncio.get_running_loop()))).grpc_methods,
        ]
        server = GrpcServer(methods, address, GrpcLimits(1 << 20, 100), None)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                await asyncio.wait_for(scene(server, channel), LIMIT_S)
        finally:
            await server.stop()

    return lambda scene: asyncio.run(played(scene))


def test_its_methods_are_answered_beside_those_of_others(play: Callable[[Scene], None]) -> None:
    async def scene(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        ask = channel.unary_unary(ASK)
        assert await ask(b"quiet") == b"QUIET"
        call = ask(b"", metadata=(("x-request-id", "mine"),))
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await call.details() == "nothing to shout"
        assert ("x-request-id", "mine") in tuple(await call.trailing_metadata())
        health = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await health(b"") == b"\x08\x02"  # NOT_SERVING: there are no servables
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/some.Dialect/Other")(b"")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(scene)


def test_a_stream_says_its_last_when_the_server_stops(play: Callable[[Scene], None]) -> None:
    async def scene(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        call = channel.unary_stream(COUNT)(b"3")
        assert [await call.read() for _ in range(3)] == [b"0", b"1", b"2"]
        _, last = await asyncio.gather(server.stop(LIMIT_S), call.read())
        assert last == b"the end"
        assert await call.code() is grpc.StatusCode.OK

    play(scene)


def test_a_stream_answers_each_message(play: Callable[[Scene], None]) -> None:
    async def scene(server: GrpcServer, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(TALK)()
        for message in (b"a", b"bc"):
            await call.write(message)
            assert await call.read() == message.upper()
        await call.write(b"")
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await call.details() == "nothing to shout"
        whole = channel.stream_stream(TALK)(iter([b"a", b"b"]))
        assert [reply async for reply in whole] == [b"A", b"B"]
        assert await whole.code() is grpc.StatusCode.OK

    play(scene)
