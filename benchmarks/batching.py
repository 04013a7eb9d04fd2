"""How far batches fill: the sizes of the batches in which requests with one instance run, by the number of clients.

The sizes are those at the backend, and at a Python function with `batch_size`: both give each instance the number of
instances that ran with it. So n replies with a count of n stand for one batch, and whether their number can be divided
by n is checked as well.

Where `ServableStartConfig` has the parameters, servers with other delays and slots are measured beside the default.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calls import RIGHT, WRONG, GrpcCalls, columns_of
from benchmarks.load import Load, run_clients
from benchmarks.messages import request_bytes
from benchmarks.servers import free_port, running_start_script
from mindspore_serving.server import ServableStartConfig

_HERE = Path(__file__).resolve().parent
_FULL = 32  # as in servables/batching
_METHODS = ("by_model", "by_function")
_CLIENTS = (1, 8, 32, 128)
_CLIENTS_OF_KNOBS = (1, 32)
_DELAYS_MS = (0, 1, 5)
_SLOTS = (1, 2, 3)
_DEFAULT_SLOTS = 2
_WARM_UP_S = 0.3

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "batching", device_ids=0{knobs}))
server.start_grpc_server("127.0.0.1:{grpc}")
print("started", flush=True)
"""


@dataclass
class BatchSizes:
    """Sizes of batches, as the replies told them.

    Attributes:
        batches: Number of batches by size.
        torn: Sizes that a number of replies told which cannot be.
    """

    batches: dict[int, int] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)

    @classmethod
    def of_replies(cls, counts: Mapping[int, int]) -> BatchSizes:
        """Make them from the number of replies by the count that they told."""
        batches = {size: replies // size for size, replies in sorted(counts.items())}
        return cls(batches, [size for size, replies in counts.items() if replies % size])

    def __add__(self, other: BatchSizes) -> BatchSizes:
        sizes = sorted(self.batches.keys() | other.batches.keys())
        summed = {size: self.batches.get(size, 0) + other.batches.get(size, 0) for size in sizes}
        return BatchSizes(summed, self.torn + other.torn)

    @property
    def mean(self) -> float:
        """Instances per batch."""
        return sum(size * number for size, number in self.batches.items()) / sum(self.batches.values())

    def quantile(self, share: float) -> int:
        """Least size that this share of all batches does not exceed."""
        wanted, seen = share * sum(self.batches.values()), 0
        for size, number in sorted(self.batches.items()):
            seen += number
            if seen >= wanted:
                return size
        raise ValueError("there are no batches")

    @property
    def full_share(self) -> float:
        """Part of the batches that were full."""
        return self.batches.get(_FULL, 0) / sum(self.batches.values())


def measure_batching(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure all numbers of clients, and all settings; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per row.
        seconds: Length of a turn.
    """
    export = [sys.executable, str(_HERE / "batching_export.py"), str(folder / "counted_add.mindir")]
    subprocess.run(export, cwd=folder, check=True, env={**os.environ, "GLOG_v": "3"})
    with contextlib.ExitStack() as stack:
        servers = {
            _shown(knobs): stack.enter_context(_serving(folder, number, knobs))
            for number, knobs in enumerate(_settings())
        }
        default, *_ = servers
        rows = []
        for method in _METHODS:
            for clients in _CLIENTS:
                rows += _measure({default: servers[default]}, method, clients, turns, seconds)
        if len(servers) > 1:
            for clients in _CLIENTS_OF_KNOBS:
                rows += _measure(servers, "by_model", clients, turns, seconds)
    return rows


def _settings() -> list[dict[str, int]]:
    """What to give to `ServableStartConfig`: nothing first, then one parameter at a time."""
    known = inspect.signature(ServableStartConfig).parameters
    settings: list[dict[str, int]] = [{}]
    if "max_batch_delay_ms" in known:
        settings += [{"max_batch_delay_ms": delay} for delay in _DELAYS_MS if delay]
    if "slots_per_copy" in known:
        settings += [{"slots_per_copy": slots} for slots in _SLOTS if slots != _DEFAULT_SLOTS]
    return settings


def _shown(knobs: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in knobs.items()) or "default"


@contextlib.contextmanager
def _serving(folder: Path, number: int, knobs: Mapping[str, int]) -> Iterator[str]:
    place = folder / str(number)
    shutil.copytree(_HERE / "servables" / "batching", place / "batching")
    (place / "batching" / "1").mkdir()
    (place / "batching" / "1" / "counted_add.mindir").hardlink_to(folder / "counted_add.mindir")
    port = free_port()
    given = "".join(f", {name}={value}" for name, value in knobs.items())
    with running_start_script(place, _START.format(knobs=given, grpc=port)):
        yield f"127.0.0.1:{port}"


def _measure(
    servers: Mapping[str, str], method: str, clients: int, turns: int, seconds: float
) -> list[dict[str, Any]]:
    """Load servers in turn with the same number of clients."""
    rounds = [
        {name: asyncio.run(_load(address, method, clients, seconds)) for name, address in servers.items()}
        for _ in range(turns)
    ]
    first = next(iter(servers))
    return [_row(name, method, clients, [(one[first], one[name]) for one in rounds]) for name in servers]


async def _load(address: str, method: str, clients: int, seconds: float) -> tuple[Load, BatchSizes]:
    instance = {"x1": np.full((2, 2), 1.5, np.float32), "x2": np.full((2, 2), 2, np.float32)}
    body = request_bytes("grpc", "batching", method, [instance])
    expected = instance["x1"] + instance["x2"]
    counts: Counter[int] = Counter()
    async with GrpcCalls(address, clients) as calls:

        async def send() -> bytes:
            columns = columns_of(await calls.send(body))
            if columns is None or not np.array_equal(columns["y"], expected[np.newaxis]):
                return WRONG
            counts[int(columns["count"][0, 0])] += 1
            return RIGHT

        await run_clients(clients, _WARM_UP_S, send, RIGHT)
        counts.clear()
        return await run_clients(clients, seconds, send, RIGHT), BatchSizes.of_replies(counts)


def _row(
    name: str,
    method: str,
    clients: int,
    pairs: Sequence[tuple[tuple[Load, BatchSizes], tuple[Load, BatchSizes]]],
) -> dict[str, Any]:
    """A server beside the default one; prints it."""
    loads = [own for _, (own, _) in pairs]
    sizes = sum((own for _, (_, own) in pairs), BatchSizes())
    ratios = [own.rate / base.rate for (base, _), (own, _) in pairs]
    figures: dict[str, Any] = {
        "row": f"batches {method}, {name}",
        "clients": clients,
        "mean": round(sizes.mean, 2),
        "p50": sizes.quantile(0.5),
        "p90": sizes.quantile(0.9),
        "full_share": round(sizes.full_share, 3),
        "requests_per_s": round(statistics.median(load.rate for load in loads)),
        "p50_ms": round(statistics.median(load.p50_ms for load in loads), 3),
        "rate_ratio": round(statistics.median(ratios), 2),
        "rate_ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "histogram": sizes.batches,
        "wrong": sum(load.wrong for load in loads) + len(sizes.torn),
    }
    beside = f" = {figures['rate_ratio']} x default" if name != "default" else ""
    print(
        f"{figures['row']:48} {clients:3} clients: batch mean {figures['mean']:5}, p50 {figures['p50']:2}, "
        f"p90 {figures['p90']:2}, full {100 * figures['full_share']:.0f} %; {figures['requests_per_s']:>6} req/s"
        f"{beside}, p50 {figures['p50_ms']} ms",
        flush=True,
    )
    return figures
