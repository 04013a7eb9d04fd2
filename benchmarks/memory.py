"""Whether memory stays flat: 200 thousand requests of mixed sizes to one server, and what it holds on the way.

Good requests and bad ones come over gRPC and REST in an order that a seed decides: first half as many that are small,
which show what a request leaves behind to a few bytes, then all sizes up to 4 MB. These move the figures by what the
allocator keeps at hand of large blocks; so that no later peak is new, they begin with the largest, from all clients at
the same time. At twenty points, once all requests are answered, the resident memory of the main process and of the
worker is read, and the pages of the shared memory between them. The first quarter warms up; a line through the samples
after it tells what 100 thousand requests add.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.calls import GrpcCalls, RestCalls
from benchmarks.memory_requests import Kind, kinds
from benchmarks.memory_samples import LIMIT_MB, Sample, after_warm_up, growth_of, shared_megabytes
from benchmarks.servers import free_port, running_start_script

REQUESTS = 200_000
_SAMPLES = 20
_CLIENTS = 32
_LARGEST_AT_FIRST = 3 * _CLIENTS
_SMALL_BYTES = 16 << 10
_REST_S = 30.0
_SEED = 1
_HERE = Path(__file__).resolve().parent

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "memory", device_ids=0))
server.start_grpc_server("127.0.0.1:{grpc}")
server.start_restful_server("127.0.0.1:{rest}")
print("started", flush=True)
"""


class _Server(NamedTuple):
    """Process id of a server, and its addresses."""

    pid: int
    grpc: str
    rest: str


def measure_memory(
    folder: Path, turns: int, seconds: float, requests: int = REQUESTS
) -> list[dict[str, Any]]:
    """Send all requests; prints the samples, and returns a row for each process and one for shared memory.

    Args:
        folder: An empty folder to work in.
        turns: Of no account: this is one long run.
        seconds: Of no account, likewise.
        requests: How many of mixed sizes.
    """
    all_kinds = kinds()
    small = [kind for kind in all_kinds if kind.size <= _SMALL_BYTES]
    largest = max(all_kinds, key=lambda kind: kind.size)
    draw = random.Random(_SEED)
    with _serving(folder) as server:
        rows = _measure("small", server, _drawn(draw, small, requests // 2))
        mixed = [largest] * _LARGEST_AT_FIRST + _drawn(draw, all_kinds, requests - _LARGEST_AT_FIRST)
        return rows + _measure("mixed", server, mixed)


def _drawn(draw: random.Random, of: Sequence[Kind], count: int) -> list[Kind]:
    return draw.choices(of, [kind.share for kind in of], k=count)


def _measure(title: str, server: _Server, requests: Sequence[Kind]) -> list[dict[str, Any]]:
    """Send requests; prints and returns the rows."""
    print(f"{title} requests    main MB  worker MB  shared MB", flush=True)
    samples = [_shown(Sample.take(server.pid, 0))]
    begin = time.monotonic()
    wrong = asyncio.run(_send_all(server, requests, samples))
    print(f"{len(requests)} requests in {time.monotonic() - begin:.0f} s", flush=True)
    for name, number in wrong.items():
        print(f"{number} wrong replies to {name}", flush=True)
    columns: dict[str, Callable[[Sample], float]] = {
        "main": lambda sample: sample.main,
        "worker": lambda sample: sum(sample.workers),
        "shared memory": lambda sample: sample.shared,
    }
    rows = [_row(f"{title} requests, {name}", samples, size) for name, size in columns.items()]
    rows[0]["wrong"] = sum(wrong.values())
    rows[-1]["at_rest_mb"] = round(_shared_at_rest(server.pid, samples[0].shared), 1)
    print(
        f"Shared memory is {rows[-1]['at_rest_mb']} MB at rest, and was {samples[0].shared:.1f} MB",
        flush=True,
    )
    return rows


def _shared_at_rest(pid: int, wanted: float) -> float:
    """Shared memory in MB once it is back at what it was, or still is not after some seconds without requests."""
    end = time.monotonic() + _REST_S
    while (size := shared_megabytes(pid)) > wanted and time.monotonic() < end:
        time.sleep(0.2)
    return size


@contextmanager
def _serving(folder: Path) -> Iterator[_Server]:
    shutil.copytree(_HERE / "servables" / "memory", folder / "memory")
    model = folder / "memory" / "1" / "counted_add.mindir"
    export = [sys.executable, str(_HERE / "batching_export.py"), str(model)]
    subprocess.run(export, cwd=folder, check=True, env={**os.environ, "GLOG_v": "3"})
    grpc, rest = free_port(), free_port()
    with running_start_script(folder, _START.format(grpc=grpc, rest=rest)) as process:
        yield _Server(process.pid, f"127.0.0.1:{grpc}", f"127.0.0.1:{rest}")


async def _send_all(server: _Server, requests: Sequence[Kind], samples: list[Sample]) -> Counter[str]:
    """Send all requests, and append a sample after each stretch; returns the wrong replies by kind."""
    wrong: Counter[str] = Counter()
    async with GrpcCalls(server.grpc, _CLIENTS) as grpc_calls, RestCalls(server.rest) as rest_calls:

        async def send(kind: Kind) -> None:
            wrong[kind.name] += not await kind.ask(grpc_calls, rest_calls)

        for part in range(1, _SAMPLES + 1):
            done = len(requests) * part // _SAMPLES
            await _by_clients(send, requests[samples[-1].requests : done])
            samples.append(_shown(Sample.take(server.pid, done)))
    return +wrong


async def _by_clients(send: Callable[[Kind], Awaitable[None]], stretch: Sequence[Kind]) -> None:
    rest = iter(stretch)

    async def client() -> None:
        for kind in rest:
            await send(kind)

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))


def _shown(sample: Sample) -> Sample:
    print(
        f"{sample.requests:10} {sample.main:10.1f} {sum(sample.workers):10.1f} {sample.shared:10.1f}",
        flush=True,
    )
    return sample


def _row(title: str, samples: Sequence[Sample], size: Callable[[Sample], float]) -> dict[str, Any]:
    """What became of one kind of memory; prints it."""
    warm = after_warm_up(samples)
    growth = growth_of([(sample.requests, size(sample)) for sample in warm])
    figures: dict[str, Any] = {
        "row": f"memory, {title}",
        "start_mb": round(size(samples[0]), 1),
        "warm_mb": round(size(warm[0]), 1),
        "end_mb": round(size(samples[-1]), 1),
        "growth_mb_per_100_thousand": round(growth.megabytes, 2),
        "growth_error_mb": round(growth.error, 2),
        "limit_mb_per_100_thousand": LIMIT_MB,
        "flat": growth.is_flat,
        "wrong": 0,
    }
    print(
        f"{figures['row']:38} {'flat' if growth.is_flat else 'GROWS'}: {growth.megabytes:+.2f} MB per 100 thousand "
        f"requests (+-{growth.error:.2f}, limit {LIMIT_MB}); at start {figures['start_mb']}, warm "
        f"{figures['warm_mb']}, end {figures['end_mb']} MB",
        flush=True,
    )
    return figures
