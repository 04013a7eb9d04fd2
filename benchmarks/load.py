"""A closed-loop load: N clients, each sending its next request when the reply to the last one is there, and checked."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc.aio


@dataclass(frozen=True)
class Load:
    """What one run of clients saw.

    Attributes:
        requests: Requests answered.
        wrong: Replies that were not what was expected.
        seconds: Wall-clock time.
        p50_ms: Median latency in ms.
        p99_ms: 99th percentile of the latency in ms.
    """

    requests: int
    wrong: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


async def run_clients(
    clients: int, seconds: float, send: Callable[[], Awaitable[bytes]], expected: bytes
) -> Load:
    """Send requests from `clients` closed loops for some seconds."""
    latencies: list[float] = []
    wrong = 0
    end = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal wrong
        while (begin := time.perf_counter()) < end:
            reply = await send()
            latencies.append(time.perf_counter() - begin)
            wrong += reply != expected

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    elapsed = time.perf_counter() - begin
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies), wrong, elapsed, 1000 * cuts[49], 1000 * cuts[98])


async def grpc_load(
    address: str, method: str, body: bytes, expected: bytes, clients: int, seconds: float
) -> Load:
    """Load a gRPC server over one channel per client, at most eight."""
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(min(clients, 8))
    ]
    calls = [channel.unary_unary(method) for channel in channels]
    turn = 0

    async def send() -> bytes:
        nonlocal turn
        turn += 1
        return bytes(await calls[turn % len(calls)](body))

    try:
        return await run_clients(clients, seconds, send, expected)
    finally:
        for channel in channels:
            await channel.close()


async def rest_load(
    address: str, path: str, body: bytes, expected: bytes, clients: int, seconds: float
) -> Load:
    """Load a REST server over one kept-alive connection per client."""
    host, port = address.rsplit(":", 1)
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(clients):
        idle.put_nowait(await asyncio.open_connection(host, int(port)))

    async def send() -> bytes:
        reader, writer = idle.get_nowait()
        writer.write(head + body)
        reply_head = await reader.readuntil(b"\r\n\r\n")
        length = int(reply_head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        reply = await reader.readexactly(length)
        idle.put_nowait((reader, writer))
        return reply

    try:
        return await run_clients(clients, seconds, send, expected)
    finally:
        while not idle.empty():
            idle.get_nowait()[1].close()


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children so far, in seconds."""
    total = 0.0
    for process in [pid, *children_of(pid)]:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def resident_megabytes(pid: int) -> float:
    """Resident memory of one process in MB (2**20 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / (1 << 20)


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found
