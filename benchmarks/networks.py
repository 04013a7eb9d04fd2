"""A network in a process of its own, behind a server, and what one gives beside the other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.asked_process import AskedProcess
from benchmarks.calls import RIGHT, WRONG, GrpcCalls, columns_of
from benchmarks.load import children_of, run_clients, tree_cpu_seconds
from benchmarks.messages import request_bytes
from benchmarks.models_plan import MINDIR, Format, Network, Samples
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
os.environ["BENCHMARK_FILE"] = "{file}"
os.environ["BENCHMARK_FORMAT"] = "{format}"
os.environ["BENCHMARK_ROWS"] = "{rows}"
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
    """A process with a library, and no server.

    Args:
        folder: Where the files are.
        network: Which network.
        cores: For its threads; none for any.
        kind: What runs it.

    Attributes:
        wrong: Batch sizes for which it gave wrong scores.
    """

    def __init__(self, folder: Path, network: Network, cores: Sequence[int], kind: Format = MINDIR) -> None:
        self.wrong = 0
        shown = ",".join(map(str, cores)) or "-"
        self._process = AskedProcess("benchmarks.models_process", str(folder), network.name, shown, kind.name)

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


def best_batch(
    alone: BackendAlone, network: Network, seconds: float, name: str = "the backend"
) -> tuple[int, int]:
    """The best batch size, and how many of them gave wrong scores."""
    wrong = sum(not alone.load(rows) for rows in network.batches)
    rates = dict.fromkeys(network.batches, 0.0)
    for rows in [*network.batches, *reversed(network.batches)]:
        rates[rows] = max(rates[rows], alone.run(rows, seconds / 3).rate)
    best = min(rows for rows, rate in rates.items() if rate >= _GOOD_ENOUGH * max(rates.values()))
    listed = ", ".join(f"{rows}: {rate:.4g}" for rows, rate in rates.items())
    print(f"{network.name}, {name} alone, instances/s by batch size: {listed}; best is {best}", flush=True)
    return best, wrong


@contextlib.contextmanager
def running_alone(
    folder: Path, network: Network, cores: Sequence[int] = (), kind: Format = MINDIR
) -> Iterator[BackendAlone]:
    """A process with a library alone."""
    process = BackendAlone(folder, network, cores, kind)
    try:
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def serving_network(
    place: Path,
    models: Path,
    network: Network,
    rows: int,
    copies: int,
    cores: Sequence[int] = (),
    share: bool = True,
    kind: Format = MINDIR,
) -> Iterator[tuple[str, int]]:
    """Address and process id of a server.

    Args:
        place: Folder to start it in; made.
        models: Where the files of the networks are.
        network: Which one.
        rows: Its batch size.
        copies: How many there are.
        cores: A core for each copy; none for any.
        share: Whether copies share the cores.
        kind: What runs it.
    """
    shutil.copytree(_HERE / "servables" / "models", place / "models")
    (place / "models" / "1").mkdir()
    file = kind.path(models, network, rows)
    for one in (file, file.with_suffix(".pdiparams")):
        if one.is_file():
            (place / "models" / "1" / f"model{one.suffix}").hardlink_to(one)
    port = free_port()
    script = _START.format(
        cores=" ".join(map(str, cores)),
        share=int(share),
        devices=tuple(range(copies)),
        grpc=port,
        file=f"model{file.suffix}",
        format=kind.model_format,
        rows=rows,
    )
    with running_start_script(place, script) as process:
        yield f"127.0.0.1:{port}", process.pid


def row_of(title: str, rounds: Sequence[dict[Any, Turn]], ours: Any, base: Any) -> dict[str, Any]:
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
