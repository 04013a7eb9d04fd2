"""What a call of a method of another servable costs: two stages in two servables beside the same two in one.

Two servers are loaded in turn over gRPC, each reply compared. One has both stages in one servable, in one worker. The
other has one stage in each of two servables; the first one calls the second one with `register.call`. `quick` stages do
next to nothing, so they show the cost of the call itself; `computed` stages multiply a matrix of 256 x 256 each.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.messages import native_request
from benchmarks.servers import free_port, running_start_script
from benchmarks.targets import Server, Target, answered_target
from benchmarks.turns import OwnGenerator, Turn

_HERE = Path(__file__).resolve().parent
_SHAPE = (2, 2)
_CLIENTS = (1, 8, 32)
_INSTANCES = (1, 32)
_METHODS = ("quick", "computed")
_AT_MOST = 1.3
"""Goal: CPU time of a request with a call, over that without."""

_START = """\
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

from mindspore_serving import server

server.start_servables(
    [server.ServableStartConfig(".", name, num_parallel_workers=1) for name in {servables}]
)
server.start_grpc_server("127.0.0.1:{grpc}")
print("started", flush=True)
"""


def measure_called_methods(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Load both servers in turn; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per server and row.
        seconds: Length of a turn.
    """
    rows = []
    with (
        _serving(folder / "together", "one servable", ("together",)) as together,
        _serving(folder / "apart", "a call", ("first", "second")) as apart,
    ):
        for method in _METHODS:
            for instances in _INSTANCES:
                targets = [
                    _target(server, servable, method, instances, folder)
                    for server, servable in ((together, "together"), (apart, "first"))
                ]
                rows += [_row(method, instances, clients, targets, turns, seconds) for clients in _CLIENTS]
    return rows


@contextlib.contextmanager
def _serving(folder: Path, name: str, servables: tuple[str, ...]) -> Iterator[Server]:
    for servable in servables:
        shutil.copytree(_HERE / "servables" / "calls" / servable, folder / servable)
    grpc = free_port()
    with running_start_script(folder, _START.format(servables=servables, grpc=grpc)) as process:
        yield Server(name, process.pid, {"grpc": f"127.0.0.1:{grpc}"})


def _target(server: Server, servable: str, method: str, instances: int, folder: Path) -> Target:
    given = [{"x": np.full(_SHAPE, i, np.float32)} for i in range(instances)]
    right = [{"y": (one["x"] + 1) * 2} for one in given]
    request = native_request("grpc", servable, method, given, right)
    name = f"{servable} {method} {instances}"
    return answered_target(name, request, server, folder / f"requests {name}")


def _row(
    method: str, instances: int, clients: int, targets: list[Target], turns: int, seconds: float
) -> dict[str, Any]:
    generator = OwnGenerator()
    pairs: list[tuple[Turn, Turn]] = []
    for number in range(turns):
        order = (0, 1) if number % 2 == 0 else (1, 0)  # neither server always goes first
        both = {at: generator.turn(targets[at], clients, seconds) for at in order}
        pairs.append((both[0], both[1]))
    ratios = [apart.cpu_us / together.cpu_us for together, apart in pairs]
    ratio = statistics.median(ratios)
    together, apart = (statistics.median([pair[at].cpu_us for pair in pairs]) for at in (0, 1))
    rates = [round(statistics.median([pair[at].rate for pair in pairs])) for at in (0, 1)]
    p50 = [round(statistics.median([pair[at].p50_ms for pair in pairs]), 3) for at in (0, 1)]
    plural = "s" if instances > 1 else ""
    name = f"{method} stages, {instances} instance{plural}, {clients} client{'s' if clients > 1 else ''}"
    verdict = "met" if ratio <= _AT_MOST else "MISSED"
    print(
        f"{name}: CPU {together:.0f} us in one servable, {apart:.0f} us with a call = {ratio:.2f} x "
        f"({min(ratios):.2f}-{max(ratios):.2f}) [at most {_AT_MOST}: {verdict}]; {rates[0]} and {rates[1]} req/s, "
        f"p50 {p50[0]} and {p50[1]} ms",
        flush=True,
    )
    return {
        "row": name,
        "cpu_us": [round(together, 1), round(apart, 1)],
        "cpu_ratio": round(ratio, 2),
        "cpu_ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "requests_per_s": rates,
        "p50_ms": p50,
        "wrong": sum(turn.wrong for pair in pairs for turn in pair),
    }
