"""Servers that do nothing: what the libraries cost without us. `python -m benchmarks.floor grpc|rest PORT LOOP`.

One process, one event loop, `uvloop` or `asyncio`, no worker. Replies are the requests: over gRPC the bytes of the
message, over REST its JSON, parsed and written again.
"""

from __future__ import annotations

import asyncio
import sys

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


async def echo_grpc(port: int) -> None:
    """Serve grpc.aio; every call is answered with its request."""

    async def answer(message: bytes, _: object) -> bytes:
        return message

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


async def echo_rest(port: int) -> None:
    """Serve aiohttp; every request's JSON is parsed and written again."""

    async def answer(request: web.BaseRequest) -> web.Response:
        document = orjson.loads(await request.content.read())
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("started", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    interface, port, loop = sys.argv[1:]
    server = {"grpc": echo_grpc, "rest": echo_rest}[interface]
    run = {"uvloop": uvloop.run, "asyncio": asyncio.run}[loop]
    run(server(int(port)))


if __name__ == "__main__":
    main()
