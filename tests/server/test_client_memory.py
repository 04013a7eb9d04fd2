"""Shared memory of clients on real servers of both transports: who may use it, and what clients do to it meanwhile."""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import grpc
import grpc.aio
import pytest

from mindspore_serving.errors import Failure, ServingError
from mindspore_serving.server.dialect.open_inference.http.shared_memory import SharedMemoryRest
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.grpc.limits import GrpcLimits
from mindspore_serving.server.transport.grpc.server import GrpcServer
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcError,
    GrpcReply,
    GrpcStatus,
    UnaryMethod,
)
from mindspore_serving.server.transport.http.limits import HttpLimits
from mindspore_serving.server.transport.http.rest_gateway import RestServer
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from tests.support.http_requests import send
from tests.support.other_user import needs_root, told_by_other_user
from tests.support.serving import RunningServer, add_servable, free_port, serving

both_grpc_servers = pytest.mark.both_grpc_servers

LIMIT_S = 60.0
SHM = Path("/dev/shm")
REGISTER = "/v2/systemsharedmemory/region/r/register"
STATUS = "/v2/systemsharedmemory/status"
SUM = "/sum"
SUM_METHOD = "/some.Dialect/Sum"


class Summing:
    """Adds up the bytes of the region `r`, whatever else it holds, and writes the result behind them."""

    name = "summing"

    def __init__(self, regions: SharedMemoryRegions) -> None:
        self._regions = regions
        self.routes = (*SharedMemoryRest(regions).routes, Route(("POST",), SUM, self.over_http))
        self.grpc_methods = (UnaryMethod(path=SUM_METHOD, handler=self.over_grpc),)

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, failure.text.encode())

    async def over_http(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, await self._sum(request))

    async def over_grpc(self, message: bytes, call: GrpcCall) -> GrpcReply:
        try:
            return GrpcReply(await self._sum(call))
        except ServingError as error:
            raise GrpcError(GrpcStatus.PERMISSION_DENIED, error.failure()) from error

    async def _sum(self, asked: HttpRequest | GrpcCall) -> bytes:
        [region] = self._regions.status("r", asked)
        size = region["byte_size"] // 2
        with (
            self._regions.open("r", 0, size, asked) as read,
            self._regions.open("r", size, 4, asked) as written,
        ):
            total = sum(await read.read())
            await written.write(total.to_bytes(4, "little"))
        return str(total).encode()


Scene = Callable[[str, str], Awaitable[None]]


def play(scene: Scene, grpc_host: str = "127.0.0.1") -> None:
    """Run a scene with servers of both transports that have the regions in common."""

    async def run() -> None:
        regions = SharedMemoryRegions(allowed=True)
        dialect = Summing(regions)
        rest_address, grpc_port = f"127.0.0.1:{free_port()}", free_port()
        rest = RestServer([dialect], rest_address, HttpLimits(1 << 20), None)
        server = GrpcServer(dialect.grpc_methods, f"{grpc_host}:{grpc_port}", GrpcLimits(1 << 20, 100), None)
        await rest.start()
        await server.start()
        try:
            await asyncio.wait_for(scene(rest_address, f"127.0.0.1:{grpc_port}"), LIMIT_S)
        finally:
            await server.stop()
            await rest.stop()
            regions.close()

    asyncio.run(run())


@contextlib.contextmanager
def memory(size: int = 200) -> Iterator[SharedMemory]:
    """Shared memory as Python makes it."""
    made = SharedMemory(create=True, size=size)
    try:
        yield made
    finally:
        made.close()
        with contextlib.suppress(FileNotFoundError):
            made.unlink()


def register(address: str, key: str, size: int) -> tuple[int, str]:
    """Register the region `r`, and tell what was answered."""
    reply = send(address, "POST", REGISTER, {"key": f"/{key}", "offset": 0, "byte_size": size})
    return reply.status, reply.text


def summed(address: str) -> tuple[int, str]:
    """What is answered over HTTP."""
    reply = send(address, "POST", SUM)
    return reply.status, reply.text


async def summed_over_grpc(address: str) -> str:
    """What is answered over gRPC."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer: bytes = await channel.unary_unary(SUM_METHOD)(b"?", timeout=LIMIT_S)
            return answer.decode()
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name} {error.details()}"


def asked_by_other_user(rest: str, server: str) -> str:
    """What another user of this machine is answered by both."""
    outcomes = [summed(rest), register(rest, "missing", 1), asyncio.run(summed_over_grpc(server))]
    return json.dumps(outcomes)


@both_grpc_servers
@pytest.mark.parametrize("grpc_host", ["127.0.0.1", "0.0.0.0"])
def test_a_region_is_used_over_both_transports(grpc_host: str) -> None:
    async def scene(rest: str, server: str) -> None:
        with memory() as made:
            made.buf[:100] = bytes(range(100))
            assert await asyncio.to_thread(register, rest, made.name, 200) == (200, "")
            assert await asyncio.to_thread(summed, rest) == (200, "4950")
            assert bytes(made.buf[100:104]) == (4950).to_bytes(4, "little")
            made.buf[:100] = bytes(100)
            assert await summed_over_grpc(server) == "0"
            assert bytes(made.buf[100:104]) == bytes(4)

    play(scene, grpc_host)


@both_grpc_servers
@needs_root
@pytest.mark.parametrize("grpc_host", ["127.0.0.1", "0.0.0.0"])
def test_processes_of_other_users_are_refused(grpc_host: str) -> None:
    async def scene(rest: str, server: str) -> None:
        with memory() as made:
            assert await asyncio.to_thread(register, rest, made.name, 200) == (200, "")
            told = await asyncio.to_thread(told_by_other_user, asked_by_other_user, rest, server)
            over_http, registered, over_grpc = json.loads(told)
            text = "only for clients on the machine of this server and of its user"
            assert (over_http[0], registered[0]) == (403, 403), told
            assert text in over_http[1]
            assert over_grpc.startswith("PERMISSION_DENIED")
            assert text in over_grpc
            assert await asyncio.to_thread(summed, rest) == (200, "0")

    play(scene, grpc_host)


@both_grpc_servers
def test_whatever_a_client_does_to_its_memory_the_servers_go_on() -> None:
    async def scene(rest: str, server: str) -> None:
        path = SHM / f"memory-of-a-client-{secrets.token_hex(8)}"
        path.write_bytes(b"\1" * 200)
        try:
            assert await asyncio.to_thread(register, rest, path.name, 200) == (200, "")
            for size in (199, 10, 0):
                os.truncate(path, size)
                if size < 104:
                    status, text = await asyncio.to_thread(summed, rest)
                    assert (status, "has become too small" in text) == (400, True)
                    assert "has become too small" in await summed_over_grpc(server)
                else:  # what is used is there
                    assert await asyncio.to_thread(summed, rest) == (200, "100")
            path.write_bytes(b"\2" * 200)
            path.chmod(0)
            assert await asyncio.to_thread(summed, rest) == (200, "200")
        finally:
            path.unlink()
        assert await asyncio.to_thread(summed, rest) == (
            200,
            "200",
        )  # the file is there until it is unregistered
        reply = await asyncio.to_thread(send, rest, "POST", "/v2/systemsharedmemory/unregister")
        assert reply.status == 200
        assert (await asyncio.to_thread(send, rest, "GET", STATUS)).body == b"[]"
        assert (await asyncio.to_thread(summed, rest))[0] == 404

    play(scene)


CONFIG = """\
from mindspore_serving.server import register


def twice(x):
    return x * 2


@register.register_method(
    output_names=["y"],
    inputs={"x": register.TensorSpec("float32", [2])},
    outputs={"y": register.TensorSpec("float32", [2])},
)
def double(x):
    return register.add_stage(twice, x, outputs_count=1)
"""
INFER = "/v2/models/m/infer"


def place(region: str, size: int, offset: int = 0) -> dict[str, object]:
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def doubled(running: RunningServer) -> tuple[int, object]:
    """Ask for the double of the first 16 bytes of region `r`, to be written behind them."""
    body = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": place("r", 16)}],
        "outputs": [{"name": "y", "parameters": place("r", 16, 16)}],
    }
    reply = send(running.rest, "POST", INFER, body)
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_server_that_is_started_with_and_without_the_option(allowed: bool, tmp_path: Path) -> None:
    add_servable(tmp_path, "m", CONFIG, ())
    options = "allow_client_shared_memory=True" if allowed else ""
    with (
        serving(tmp_path, ['".", "m", num_parallel_workers=1'], start_options=options) as running,
        memory(32) as made,
    ):
        made.buf[:16] = array.array("f", [1, 2, 3, 4]).tobytes()
        extensions = json.loads(send(running.rest, "GET", "/v2").body)["extensions"]
        assert ("system_shared_memory" in extensions) is allowed
        registered = register(running.rest, made.name, 32)
        status, document = doubled(running)
        if not allowed:
            assert (registered[0], status) == (501, 501)
            assert "start_servables(..., allow_client_shared_memory=True)" in registered[1]
            return
        output = {"name": "y", "datatype": "FP32", "shape": [2, 2], "parameters": place("r", 16, 16)}
        assert (registered, status) == ((200, ""), 200), document
        assert isinstance(document, dict)
        assert document["outputs"] == [output]
        assert list(memoryview(made.buf[16:32]).cast("f")) == [2, 4, 6, 8]
        os.truncate(SHM / made.name, 8)
        status, document = doubled(running)
        assert (status, "has become too small" in str(document)) == (400, True)
        assert send(running.rest, "GET", "/v2/health/ready").status == 200
