"""Loads a server with requests that are ready, and sums up what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import uvloop

from mindspore_serving.cli.asking.address import Access, Address
from mindspore_serving.cli.asking.session import CONNECT_TIMEOUT_S, WireRequest, not_reached
from mindspore_serving.cli.load.connections import (
    Connection,
    LastingConnection,
    RestConnection,
    http_request,
)
from mindspore_serving.cli.load.grpc_calls import GrpcCalls
from mindspore_serving.cli.load.loops import ClosedLoop, OpenLoop, even_times, poisson_times
from mindspore_serving.cli.load.tally import Tally
from mindspore_serving.client.python.connection import CHANNEL_OPTIONS
from mindspore_serving.client.python.proxy import route_to

_TICK_S = 0.2
_SATURATED_SHARE = 0.85
"""Of one core: this process has nothing left then, and latencies are partly its own."""
_LATE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load.

    Attributes:
        address: Of the server.
        access: What opens it.
        requests: Sent in turn.
        clients: Connections; in a closed loop each is a client.
        seconds: How long it is measured.
        warm_up_s: Before that, not counted.
        rate: Requests per second of an open loop; None for a closed loop.
        even: Whether the requests of an open loop come in equal steps; else as a Poisson process.
        seed: Of what is drawn.
        grace_s: How long the last replies are waited for.
    """

    address: Address
    access: Access
    requests: Sequence[WireRequest]
    clients: int
    seconds: float
    warm_up_s: float = 1.0
    rate: float | None = None
    even: bool = False
    seed: int = 0
    grace_s: float = 10.0


@dataclass
class Outcome:
    """What a load has shown.

    Attributes:
        seconds: How long was measured.
        cpu_share: Of one core, what this process has used.
        interrupted: Whether the user has ended it.
        notes: What to keep in mind about the figures.
    """

    seconds: float = 0.0
    cpu_share: float = 0.0
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)


def run_load(plan: LoadPlan, tally: Tally, tick: Callable[[float], None] = lambda _: None) -> Outcome:
    """Load a server until the time is over, or Ctrl+C.

    Args:
        plan: What is sent, and when.
        tally: Counts what comes back.
        tick: Called every now and then with the seconds that have passed.

    Raises:
        CommandError: The server is not reached at the begin.
    """
    return uvloop.run(_run(plan, tally, tick))


async def _run(plan: LoadPlan, tally: Tally, tick: Callable[[float], None]) -> Outcome:
    outcome = Outcome()
    async with _connections(plan) as connections:
        requests = [_as_bytes(plan, request) for request in plan.requests]
        loop = _loop_of(plan, connections, requests, tally)
        running = asyncio.get_running_loop()

        def stop() -> None:
            outcome.interrupted = True
            loop.stop()

        running.add_signal_handler(signal.SIGINT, stop)
        ticking = running.create_task(_tick(tick))
        used, begin = _cpu_seconds(), time.perf_counter()
        try:
            elapsed = await loop.run()
        finally:
            ticking.cancel()
            running.remove_signal_handler(signal.SIGINT)
        outcome.cpu_share = (_cpu_seconds() - used) / (time.perf_counter() - begin)
        outcome.seconds = max(1e-9, elapsed - plan.warm_up_s)
        tally.lose(loop.in_flight, f"no reply within {plan.grace_s:g} s")
        if isinstance(loop, OpenLoop):
            tally.lose(loop.unsent, "not sent: all connections were busy until the end")
    outcome.notes += _notes(plan, tally, outcome)
    return outcome


def _loop_of(
    plan: LoadPlan, connections: Sequence[Connection], requests: Sequence[bytes], tally: Tally
) -> ClosedLoop | OpenLoop:
    numbers = itertools.cycle(range(len(requests)))
    choose = numbers.__next__
    seconds = plan.warm_up_s + plan.seconds
    if plan.rate is None:
        return ClosedLoop(connections, requests, choose, seconds, tally.note, plan.grace_s)
    times = even_times(plan.rate, seconds) if plan.even else poisson_times(plan.rate, seconds, plan.seed)
    return OpenLoop(connections, requests, choose, times, tally.note, plan.grace_s)


def _as_bytes(plan: LoadPlan, request: WireRequest) -> bytes:
    if plan.address.over == "grpc":
        return request.body
    headers = {**request.headers, **plan.access.headers}
    return http_request(
        plan.address.authority, plan.address.prefix + request.path, request.body, headers, request.verb
    )


@contextlib.asynccontextmanager
async def _connections(plan: LoadPlan) -> AsyncIterator[list[Connection]]:
    """The connections of a load, open.

    Raises:
        CommandError: The server is not reached.
    """
    made: list[Connection] = []
    channels: list[Any] = []
    try:
        if plan.address.over == "grpc":
            made, channels = await _grpc_connections(plan)
        else:
            made = list(await _rest_connections(plan))
        yield made
    finally:
        for connection in made:
            connection.close()
        for channel in channels:
            await channel.close()


async def _grpc_connections(plan: LoadPlan) -> tuple[list[Connection], list[Any]]:
    address = plan.address
    options = (*CHANNEL_OPTIONS, *route_to(address.authority).options)
    credentials = plan.access.grpc_credentials() if address.tls else None
    channels: list[Any] = [
        grpc.aio.secure_channel(address.authority, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(address.authority, options)
        for _ in range(plan.clients)
    ]
    try:
        await asyncio.wait_for(
            asyncio.gather(*(channel.channel_ready() for channel in channels)), CONNECT_TIMEOUT_S
        )
    except asyncio.TimeoutError as cause:
        raise not_reached(address, f"no connection within {CONNECT_TIMEOUT_S:g} s") from cause
    metadata = tuple(plan.access.headers.items())
    return [GrpcCalls(one, plan.requests[0].path, metadata) for one in channels], channels


async def _rest_connections(plan: LoadPlan) -> Iterable[Connection]:
    address = plan.address
    context = plan.access.ssl_context() if address.tls else None
    loop = asyncio.get_running_loop()

    async def connect() -> RestConnection:
        _, connection = await loop.create_connection(RestConnection, address.host, address.port, ssl=context)
        return connection

    try:
        first = await asyncio.wait_for(connect(), CONNECT_TIMEOUT_S)
    except (OSError, asyncio.TimeoutError) as cause:
        raise not_reached(address, cause) from cause
    first.close()
    return [LastingConnection(connect) for _ in range(plan.clients)]


async def _tick(tick: Callable[[float], None]) -> None:
    begin = time.perf_counter()
    while True:
        await asyncio.sleep(_TICK_S)
        tick(time.perf_counter() - begin)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _notes(plan: LoadPlan, tally: Tally, outcome: Outcome) -> list[str]:
    """What to keep in mind about the figures."""
    notes = []
    if outcome.cpu_share > _SATURATED_SHARE:
        notes.append(
            f"This load generator was busy ({outcome.cpu_share:.0%} of a core, and it has one): the server may be "
            "faster. Run several of them, or on another machine."
        )
    if plan.rate is None:
        notes.append(
            "Closed loop: each client waits for its reply before it sends again, so a slow server is asked less. "
            "--rate measures what users see at a given rate."
        )
        return notes
    late, latency = tally.lateness.percentile(0.99), tally.latency.percentile(0.99)
    if late > 1e-3 and late > _LATE_SHARE * latency:
        notes.append(
            f"Requests left late (p99 {late * 1e3:.3g} ms): all {plan.clients} connections were busy, or this process "
            "was. Latencies count from when a request was due, so this is in them. More --clients, or a lower --rate."
        )
    if plan.clients > (os.cpu_count() or 1) * 1000:
        notes.append(f"{plan.clients} connections are many for one process.")
    return notes
