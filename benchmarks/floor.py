"""Servers that do nothing: what the libraries cost without us. `python -m benchmarks.floor grpc|rest PORT`."""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio
import orjson
import uvloop
from aiohttp import web


async def echo_grpc(port: int) -> None:
    """Serve grpc.aio; every call is answered with its request."""

    async def answer(message: bytes, _: object) -> bytes:
        return message

    class Echo(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return handler

    handler = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("started", flush=True)
    await server.wait_for_termination()


async def echo_rest(port: int) -> None:
    """Serve aiohttp; every request's JSON is parsed and written again."""

    async def answer(request: web.BaseRequest) -> web.Response:
        document = orjson.loads(await request.read())
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("started", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    servers = {"grpc": echo_grpc, "rest": echo_rest}
    uvloop.run(servers[sys.argv[1]](int(sys.argv[2])))
