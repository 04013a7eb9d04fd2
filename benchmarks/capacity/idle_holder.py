"""Holds connections: `python -m benchmarks.capacity.idle_holder INTERFACE ADDRESS PATH COUNT BODY`.

BODY is a request in hexadecimal. Each connection sends it once, and is left open from then on: it has done all
that a client does before it falls silent. "started" is printed when all are open and have been answered rightly.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.capacity.server import exchanged
from benchmarks.connections import Connection, connect

_AT_A_TIME = 64


async def hold(interface: str, address: str, path: str, count: int, body: bytes) -> None:
    """Open the connections, and wait for ever."""
    request = exchanged(interface, address, path, body)
    held: list[Connection] = []
    replies: set[bytes] = set()
    while len(held) < count:
        wave = min(_AT_A_TIME, count - len(held))
        connections = await asyncio.gather(*(connect(interface, address, path) for _ in range(wave)))
        replies |= set(await asyncio.gather(*(_ask(connection, request) for connection in connections)))
        held += connections
    if len(replies) != 1 or b"" in replies:
        sys.exit(f"one and the same reply was expected, got {replies}")
    print("started", flush=True)
    await asyncio.Event().wait()


async def _ask(connection: Connection, request: bytes) -> bytes:
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection.send(request, answered.set_result)
    return await answered


if __name__ == "__main__":
    interface, address, path, count, body = sys.argv[1:]
    asyncio.run(hold(interface, address, path, int(count), bytes.fromhex(body)))
