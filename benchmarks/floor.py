"""Servers that do nothing: what the libraries cost without us. `python -m benchmarks.floor grpc|rest PORT LOOP [hop]`.

One process, one event loop, `uvloop` or `asyncio`. Replies are the requests: over gRPC the bytes of the message, over
REST its JSON, parsed and written again. With `hop` each request's bytes go to a second process and back on the way,
over a Unix socket: what a server cannot undercut that keeps user code out of the process that talks to clients, as
long as it passes each request on by itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import grpc
import grpc.aio
import orjson
import uvloop
from aiohttp import web

# As in the server: messages of 100 MB, a port of its own, and calls that wait for the event loop instead of being lost.
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 100 << 20),
    ("grpc.max_send_message_length", 100 << 20),
    ("grpc.server.max_pending_requests", 1 << 16),
    ("grpc.server.max_pending_requests_hard_limit", 1 << 16),
]


_HEAD_BYTES = 4
Way = Callable[[bytes], Awaitable[bytes]]


async def no_way(content: bytes) -> bytes:
    """Stay in this process."""
    return content


class Hop(asyncio.Protocol):
    """The way to a second process and back, which sends what it gets."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def start(cls) -> Hop:
        """Start the process; it ends with this one."""
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            while content := theirs.recv(1 << 20):
                theirs.sendall(content)
            os._exit(0)
        theirs.close()
        ours.setblocking(False)
        _, hop = await asyncio.get_running_loop().create_connection(cls, sock=ours)
        return hop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer who waits for it."""
        self._received += data
        while len(self._received) >= _HEAD_BYTES:
            end = _HEAD_BYTES + int.from_bytes(self._received[:_HEAD_BYTES], "little")
            if len(self._received) < end:
                break
            waiting = self._waiting.popleft()
            if not waiting.cancelled():
                waiting.set_result(bytes(self._received[_HEAD_BYTES:end]))
            del self._received[:end]

    def __call__(self, content: bytes) -> Awaitable[bytes]:
        """Send the bytes there, and return what comes back."""
        assert self._transport is not None
        self._transport.write(len(content).to_bytes(_HEAD_BYTES, "little") + content)
        waiting: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.append(waiting)
        return waiting


async def echo_grpc(port: int, way: Way) -> None:
    """Serve grpc.aio; every call is answered with its request."""

    async def answer(message: bytes, _: object) -> bytes:
        return await way(message)

    class Echo(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return handler

    handler = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("started", flush=True)
    await server.wait_for_termination()


async def echo_rest(port: int, way: Way) -> None:
    """Serve aiohttp; every request's JSON is parsed and written again."""

    async def answer(request: web.BaseRequest) -> web.Response:
        document = orjson.loads(await way(await request.content.read()))
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("started", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    interface, port, loop, *hop = sys.argv[1:]

    async def serve() -> None:
        way = await Hop.start() if hop else no_way
        await {"grpc": echo_grpc, "rest": echo_rest}[interface](int(port), way)

    run = {"uvloop": uvloop.run, "asyncio": asyncio.run}[loop]
    run(serve())


if __name__ == "__main__":
    main()
