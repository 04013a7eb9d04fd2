"""A closed-loop load: N clients, each sending its next request when the reply to the last one is there, and checked."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.connections import Connection, Exchange, connect, grpc_exchange, rest_exchange
from benchmarks.processes import children_of, resident_megabytes, tree_cpu_seconds
from mindspore_serving.cli.load.loops import ClosedLoop

__all__ = [
    "Load",
    "Samples",
    "children_of",
    "closed_loop",
    "exchange_load",
    "grpc_load",
    "percentile",
    "resident_megabytes",
    "rest_load",
    "run_clients",
    "tree_cpu_seconds",
]


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


@dataclass
class Samples:
    """Requests of one kind: the latency of each in seconds, and how many replies were wrong."""

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0

    def load(self, seconds: float) -> Load:
        """Sum up, over the wall-clock time that it took."""
        ordered = sorted(self.latencies)
        p50, p99 = (1000 * percentile(ordered, share) for share in (0.5, 0.99))
        return Load(len(ordered), self.wrong, seconds, p50, p99)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of some sorted values that at least a share of them does not exceed; NaN if there are none."""
    if not ordered:
        return float("nan")
    # What rounding adds to the product must not reach for the next value.
    rank = math.ceil(share * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


async def run_clients(
    clients: int, seconds: float, send: Callable[[], Awaitable[bytes]], expected: bytes
) -> Load:
    """Send requests from `clients` closed loops for some seconds, by a coroutine that returns the reply."""
    samples = Samples()
    end = time.perf_counter() + seconds

    async def one() -> None:
        while (begin := time.perf_counter()) < end:
            reply = await send()
            samples.latencies.append(time.perf_counter() - begin)
            samples.wrong += reply != expected

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return samples.load(time.perf_counter() - begin)


async def closed_loop(
    connections: Sequence[Connection],
    exchanges: Sequence[Exchange],
    seconds: float,
    shares: Sequence[float] = (1.0,),
    seed: int = 0,
) -> tuple[float, list[Samples]]:
    """Keep each connection busy with one request for some seconds.

    Args:
        connections: One per client.
        exchanges: Kinds of requests.
        seconds: How long new requests are sent.
        shares: How often each kind is chosen, in relation to the others.
        seed: Of the choice.

    Returns:
        Seconds until the last reply, and the samples of each kind. A connection that fails counts as a wrong reply, and
        its client ends.
    """
    kinds = [Samples() for _ in exchanges]
    draw = random.Random(seed)

    def choose() -> int:
        return draw.choices(range(len(kinds)), shares)[0] if len(kinds) > 1 else 0

    def note(request: int, due: float, sent: float, now: float, reply: bytes, connection: Connection) -> None:
        kinds[request].latencies.append(now - sent)
        kinds[request].wrong += reply != exchanges[request].reply

    requests = [exchange.request for exchange in exchanges]
    elapsed = await ClosedLoop(connections, requests, choose, seconds, note).run()
    return elapsed, kinds


async def grpc_load(
    address: str, method: str, body: bytes, expected: bytes, clients: int, seconds: float
) -> Load:
    """Load a gRPC server over one connection per client.

    Args:
        address: `host:port`.
        method: `/package.Service/Method`.
        body: The serialized request.
        expected: The serialized reply.
        clients: Closed loops.
        seconds: Length.
    """
    return await exchange_load("grpc", address, method, grpc_exchange(body, expected), clients, seconds)


async def rest_load(
    address: str, path: str, body: bytes, expected: bytes, clients: int, seconds: float
) -> Load:
    """Load a REST server over one kept-alive connection per client; see `grpc_load`."""
    exchange = rest_exchange(address, path, body, expected)
    return await exchange_load("rest", address, path, exchange, clients, seconds)


async def exchange_load(
    interface: str, address: str, path: str, exchange: Exchange, clients: int, seconds: float
) -> Load:
    """Load a server with requests that are ready to be sent, over one connection per client.

    Args:
        interface: `grpc` or `rest`.
        address: `host:port`.
        path: For gRPC, of the method.
        exchange: The request and the right reply.
        clients: Closed loops.
        seconds: Length.
    """
    connections = [await connect(interface, address, path) for _ in range(clients)]
    try:
        elapsed, [samples] = await closed_loop(connections, [exchange], seconds)
    finally:
        for connection in connections:
            connection.close()
    return samples.load(elapsed)
