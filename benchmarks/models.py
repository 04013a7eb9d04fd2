"""Networks with a server, beside the backend alone at its best batch size, and two copies beside one.

LeNet-5 and ResNet-50 of the examples, with random weights. The backend alone runs in a process of its own, without a
server. Both are run with MindSpore's threads on any core, and on one core. Two copies have a core each, which is what
the server does by itself, or are let run on any core.
A request holds a batch, and four clients per copy send them: one batch runs, one waits behind it, and two are between
client and worker. Clients send different instances, and every score is compared with MindSpore's.

The copies, the main process and the load tool share the cores. On two cores the last two take theirs from the copies:
each row tells what they took, and only what they leave can be gained by a second copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.asked_process import AskedProcess
from benchmarks.calls import RIGHT, WRONG, GrpcCalls, columns_of
from benchmarks.load import children_of, run_clients, tree_cpu_seconds
from benchmarks.messages import request_bytes
from benchmarks.models_plan import NETWORKS, Network, Samples
from benchmarks.servers import free_port, running_start_script

_HERE = Path(__file__).resolve().parent
_GOOD_ENOUGH = 0.98
"""The smallest batch that reaches this part of the best rate is the best: larger ones only take longer."""
_CLIENTS_PER_COPY = 4
_WARM_UP_S = 0.5

_START = """\
import os

from mindspore_serving import server

os.environ["BENCHMARK_CORES"] = "{cores}"
os.environ["SERVING_SHARE_CORES"] = "{share}"
server.start_servables(server.ServableStartConfig(".", "models", device_ids={devices}))
server.start_grpc_server("127.0.0.1:{grpc}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class Turn:
    """One way of running a network, for some seconds.

    Attributes:
        rate: Instances per second.
        model_ms: CPU time of the processes that run the network, in ms per instance.
        main_ms: CPU time of the server's main process, likewise.
        load_ms: CPU time of the load tool, likewise.
        wrong: Replies that were not right.
    """

    rate: float
    model_ms: float
    main_ms: float = 0.0
    load_ms: float = 0.0
    wrong: int = 0


class BackendAlone:
    """A process with the backend, and no server.

    Args:
        folder: Where the files are.
        network: Which network.
        cores: For its threads; none for any.
    """

    def __init__(self, folder: Path, network: Network, cores: Sequence[int]) -> None:
        shown = ",".join(map(str, cores)) or "-"
        self._process = AskedProcess("benchmarks.models_process", str(folder), network.name, shown)

    def load(self, rows: int) -> bool:
        """Load the network for a batch size; returns whether it gives what it should."""
        return bool(self._process.ask(load=rows)["right"])

    def run(self, rows: int, seconds: float) -> Turn:
        """Run it over and over."""
        answer = self._process.ask(run=rows, seconds=seconds)
        return Turn(answer["rate"], answer["cpu_ms"])

    def stop(self) -> None:
        """Let the process end."""
        self._process.stop()


@dataclass(frozen=True)
class Served:
    """A server with copies of a network.

    Attributes:
        pid: Of its main process.
        address: Of its gRPC server.
        copies: How many there are.
        network: Which network.
        samples: Its instances.
        rows: Its batch size.
    """

    pid: int
    address: str
    copies: int
    network: Network
    samples: Samples
    rows: int

    def run(self, seconds: float) -> Turn:
        """Keep it busy."""
        asyncio.run(self._load(_WARM_UP_S))
        workers = children_of(self.pid)
        before = tree_cpu_seconds(self.pid), sum(map(tree_cpu_seconds, workers)), time.process_time()
        rate, instances, wrong = asyncio.run(self._load(seconds))
        after = tree_cpu_seconds(self.pid), sum(map(tree_cpu_seconds, workers)), time.process_time()
        tree, model, load = (
            1000 * (late - early) / instances for early, late in zip(before, after, strict=True)
        )
        return Turn(rate, model, tree - model, load, wrong)

    async def _load(self, seconds: float) -> tuple[float, int, int]:
        """Instances per second, instances, and wrong replies."""
        clients, x = self.copies * _CLIENTS_PER_COPY, self.samples.x
        # Any batch-long stretch of the instances, so that scores that went to the wrong request show.
        starts = range(0, len(x) - self.rows + 1, max(1, self.rows // 4))
        parts = [slice(start, start + self.rows) for start in starts]
        bodies = [
            request_bytes("grpc", "models", "predict", [{"x": one} for one in x[part]]) for part in parts
        ]
        turn = itertools.cycle(range(len(parts)))

        async with GrpcCalls(self.address, clients) as calls:

            async def send() -> bytes:
                index = next(turn)
                columns = columns_of(await calls.send(bodies[index]))
                right = columns is not None and self.samples.are_right(columns["scores"], parts[index])
                return RIGHT if right else WRONG

            load = await run_clients(clients, seconds, send, RIGHT)
        return load.rate * self.rows, load.requests * self.rows, load.wrong


def measure_models(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure each network; prints and returns its rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per way of running.
        seconds: Length of a turn; of ResNet-50 at least six seconds.
    """
    print("Exporting the networks ...", flush=True)
    export = [sys.executable, str(_HERE / "models_export.py"), str(folder)]
    subprocess.run(export, cwd=folder, check=True, env={**os.environ, "GLOG_v": "3"})
    return [row for network in NETWORKS for row in _measure(folder, network, turns, seconds)]


def _measure(folder: Path, network: Network, turns: int, seconds: float) -> list[dict[str, Any]]:
    seconds = max(seconds, network.least_seconds)
    cores = sorted(os.sched_getaffinity(0))[:2]
    samples = Samples.load(folder, network)
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(_alone(folder, network, ()))
        alone_on_core = stack.enter_context(_alone(folder, network, cores[:1]))
        rows, wrong = _best_batch(alone, network, seconds)
        wrong += not alone_on_core.load(rows)

        def serving(copies: int, own_cores: Sequence[int] = (), share: bool = True) -> Served:
            place = folder / f"{network.name}_{copies}_{len(own_cores)}_{share}"
            started = _serving(place, folder, network, rows, copies, own_cores, share)
            address, pid = stack.enter_context(started)
            return Served(pid, address, copies, network, samples, rows)

        served = {(1, False): serving(1), (1, True): serving(1, cores[:1])}
        if len(cores) > 1:
            served |= {(2, False): serving(2, share=False), (2, True): serving(2)}
        rounds = []
        for _ in range(turns):
            found = {(0, False): alone.run(rows, seconds), (0, True): alone_on_core.run(rows, seconds)}
            rounds.append(found | {key: server.run(seconds) for key, server in served.items()})
    shown = f"{network.name}, batch {rows}"
    comparisons = [
        (f"{shown}: one copy, beside the backend alone", (1, False), (0, False)),
        (f"{shown}: one copy on one core, beside the backend alone on it", (1, True), (0, True)),
        (f"{shown}: two copies on a core each, beside one copy on one core", (2, True), (1, True)),
        (f"{shown}: two copies on a core each, beside one copy on any core", (2, True), (1, False)),
        (f"{shown}: two copies on a core each, beside two on any core", (2, True), (2, False)),
    ]
    figures = [_row(title, rounds, ours, base) for title, ours, base in comparisons if ours in rounds[0]]
    figures[0]["wrong"] += wrong
    return figures


def _best_batch(alone: BackendAlone, network: Network, seconds: float) -> tuple[int, int]:
    """The best batch size, and how many of them gave wrong scores."""
    wrong = sum(not alone.load(rows) for rows in network.batches)
    rates = dict.fromkeys(network.batches, 0.0)
    for rows in [*network.batches, *reversed(network.batches)]:
        rates[rows] = max(rates[rows], alone.run(rows, seconds / 3).rate)
    best = min(rows for rows, rate in rates.items() if rate >= _GOOD_ENOUGH * max(rates.values()))
    listed = ", ".join(f"{rows}: {rate:.4g}" for rows, rate in rates.items())
    print(
        f"{network.name}, the backend alone, instances/s by batch size: {listed}; best is {best}", flush=True
    )
    return best, wrong


@contextlib.contextmanager
def _alone(folder: Path, network: Network, cores: Sequence[int]) -> Iterator[BackendAlone]:
    process = BackendAlone(folder, network, cores)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def _serving(
    place: Path,
    models: Path,
    network: Network,
    rows: int,
    copies: int,
    cores: Sequence[int],
    share: bool,
) -> Iterator[tuple[str, int]]:
    """Address and process id of a server."""
    shutil.copytree(_HERE / "servables" / "models", place / "models")
    (place / "models" / "1").mkdir()
    (place / "models" / "1" / "model.mindir").hardlink_to(models / f"{network.name}_{rows}.mindir")
    port = free_port()
    devices = tuple(range(copies))
    script = _START.format(cores=" ".join(map(str, cores)), share=int(share), devices=devices, grpc=port)
    with running_start_script(place, script) as process:
        yield f"127.0.0.1:{port}", process.pid


def _row(title: str, rounds: Sequence[dict[Any, Turn]], ours: Any, base: Any) -> dict[str, Any]:
    """One way beside another one; prints it."""
    pairs = [(turn[base], turn[ours]) for turn in rounds]
    ratios = [own.rate / other.rate for other, own in pairs]

    def median(name: str, side: int) -> float:
        return statistics.median(getattr(pair[side], name) for pair in pairs)

    figures: dict[str, Any] = {
        "row": title,
        "instances_per_s": round(median("rate", 1), 1),
        "base_instances_per_s": round(median("rate", 0), 1),
        "rate_ratio": round(statistics.median(ratios), 3),
        "rate_ratio_spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "cpu_ms": {name: round(median(f"{name}_ms", 1), 4) for name in ("model", "main", "load")},
        "base_cpu_ms": round(median("model_ms", 0), 4),
        "wrong": sum(turn.wrong for pair in pairs for turn in pair),
    }
    cpu = figures["cpu_ms"]
    print(
        f"{title}: {figures['instances_per_s']} and {figures['base_instances_per_s']} instances/s = "
        f"{figures['rate_ratio']} ({min(ratios):.3f}-{max(ratios):.3f}); CPU ms per instance: model {cpu['model']} "
        f"(was {figures['base_cpu_ms']}), main {cpu['main']}, load tool {cpu['load']}",
        flush=True,
    )
    return figures
