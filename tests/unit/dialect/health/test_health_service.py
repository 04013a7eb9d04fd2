"""Health checks of gRPC, without gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import pytest

from mindspore_serving.proto.foreign import health_pb2
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.health.grpc import MOST_WATCHES, HealthService
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcReply, GrpcStatus
from tests.unit.dialect.grpc_calls import FakeCall

LIMIT_S = 20.0


class Workers:
    """One worker, whose state a test sets."""

    def __init__(self) -> None:
        self.serves = True

    def workers_health(self) -> Iterable[WorkerHealth]:
        return [WorkerHealth("one", 2, "device0", "ready", self.serves, "" if self.serves else "starting")]


def request(service: str) -> bytes:
    return bytes(health_pb2.HealthCheckRequest(service=service).SerializeToString())


def status_in(reply: GrpcReply) -> str:
    assert not reply.failures
    status = health_pb2.HealthCheckResponse.FromString(reply.message).status
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))


class Health:
    """The dialect, and what it asks."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.dispatcher = Dispatcher(asyncio.get_running_loop())
        self.catalog = Catalog(self.dispatcher)
        self.catalog.add(self.workers)
        self.service = HealthService(self.catalog, ["some.Service"])
        self.call = FakeCall()

    def set_serves(self, serves: bool) -> None:
        self.workers.serves = serves
        self.catalog.notify()

    async def check(self, content: bytes) -> str:
        return status_in(await self.service.check(content, self.call))

    def watch(self, content: bytes) -> AsyncGenerator[GrpcReply, None]:
        return self.service.watch(content, self.call)


async def following(watch: AsyncGenerator[GrpcReply, None]) -> str:
    """What a watch reports next; "" where it has ended."""
    async for reply in watch:
        return status_in(reply)
    return ""


def play(scene: Callable[[Health], Awaitable[None]]) -> None:
    async def played() -> None:
        await asyncio.wait_for(scene(Health()), LIMIT_S)

    asyncio.run(played())


def test_everybody_may_ask_as_often_as_they_like() -> None:
    methods = HealthService(Catalog(Dispatcher(asyncio.new_event_loop()))).grpc_methods
    assert [method.path for method in methods] == [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ]
    assert all(method.right is Right.NONE and method.probe for method in methods)


@pytest.mark.parametrize("service", ["", "one", "one/2", "some.Service"])
def test_a_check_tells_how_it_is_now(service: str) -> None:
    async def scene(health: Health) -> None:
        assert await health.check(request(service)) == "SERVING"
        health.set_serves(False)
        assert await health.check(request(service)) == "NOT_SERVING"

    play(scene)


LARGE = request("\u20ac" * 400)


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (request("/home/none"), GrpcStatus.NOT_FOUND, "Unknown service '/home/none', expected '' for the"),
        (LARGE, GrpcStatus.RESOURCE_EXHAUSTED, f"Health check of {len(LARGE)} bytes, expected at most 1024"),
        (b"\xff\xff", GrpcStatus.INTERNAL, "Unable to parse request"),
    ],
)
def test_what_is_no_question_has_a_status(content: bytes, status: GrpcStatus, text: str) -> None:
    async def scene(health: Health) -> None:
        with pytest.raises(GrpcError) as raised:
            await health.check(content)
        assert raised.value.status is status
        assert str(raised.value).startswith(text)
        if status is not GrpcStatus.NOT_FOUND:  # a service that is not there yet may be watched
            with pytest.raises(GrpcError):
                await anext(health.watch(content))

    play(scene)


def test_the_rest_of_a_large_message_is_not_wanted() -> None:
    for method in HealthService(Catalog(Dispatcher(asyncio.new_event_loop()))).grpc_methods:
        assert method.refuses is not None
        assert method.refuses(LARGE)
        assert not method.refuses(LARGE[:1024])


def test_a_watch_reports_each_change_until_the_server_stops() -> None:
    async def scene(health: Health) -> None:
        known, unknown = health.watch(request("one")), health.watch(request("none"))
        assert await following(known) == "SERVING"
        assert await following(unknown) == "SERVICE_UNKNOWN"
        waiting = asyncio.create_task(following(known))
        health.catalog.notify()  # nothing has changed
        health.set_serves(False)
        assert await waiting == "NOT_SERVING"
        health.set_serves(True)
        assert await following(known) == "SERVING"
        health.dispatcher.fail_waiting()
        health.call.stopping.set()
        assert await following(known) == "NOT_SERVING"
        for watch in (known, unknown):
            assert await following(watch) == ""

    play(scene)


def test_watches_have_a_bound_and_those_that_end_make_room() -> None:
    async def scene(health: Health) -> None:
        watches = [health.watch(request("one")) for _ in range(MOST_WATCHES)]
        for watch in watches:
            assert await following(watch) == "SERVING"
        with pytest.raises(GrpcError, match=f"There are {MOST_WATCHES} watches already") as raised:
            await following(health.watch(request("one")))
        assert raised.value.status is GrpcStatus.RESOURCE_EXHAUSTED
        await watches.pop().aclose()
        assert await following(health.watch(request("one"))) == "SERVING"

    play(scene)
