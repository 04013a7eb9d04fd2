"""`python -m benchmarks`: requests per second, latency and CPU per request, beside the bare libraries.

The server under test and a bare echo server of the same library (no worker, no dispatch) are loaded in turn, several
times over, from one load process; each row's ratio is the median of the ratios of neighbouring turns. Every reply is
compared with the expected bytes. Absolute figures depend on the machine and on what else it does; ratios less so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.distributed import measure_distributed
from benchmarks.lite import measure_lite
from benchmarks.load import Load, children_of, grpc_load, resident_megabytes, rest_load, tree_cpu_seconds
from benchmarks.parallel import measure_parallel
from benchmarks.servers import free_port, running, running_start_script
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.tensor import DATA_TYPE_OF

_HERE = Path(__file__).resolve().parent
_PREDICT = "/mindspore.serving.proto.MSService/Predict"

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "bench", device_ids=0))
server.start_grpc_server("127.0.0.1:{grpc}")
server.start_restful_server("127.0.0.1:{rest}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class Row:
    """One workload.

    Attributes:
        name: How the table calls it.
        interface: `grpc` or `rest`.
        method: Method of the servable.
        instances: Instances per request.
        clients: Closed loops.
    """

    name: str
    interface: str
    method: str
    instances: int
    clients: int


@dataclass(frozen=True)
class Measured:
    """One server in one turn."""

    load: Load
    cpu_us: float


@dataclass(frozen=True)
class Server:
    """A server under load: its process, and where it listens."""

    process: subprocess.Popen[bytes]
    grpc: str
    rest: str


def main() -> int:
    """Measure, print, write; returns the exit code."""
    arguments = _parse_arguments()
    if arguments.lite:
        return _report({}, measure_lite(arguments.turns, arguments.seconds), arguments)
    if arguments.distributed:
        with tempfile.TemporaryDirectory() as folder:
            table = measure_distributed(Path(folder), arguments.turns, arguments.seconds)
        return _report({}, table, arguments)
    rows = [
        Row(
            f"{interface} {method}, {count} instance{'s' if count > 1 else ''}",
            interface,
            method,
            count,
            clients,
        )
        for interface, method, counts in (
            ("grpc", "add", (1, 32)),
            ("grpc", "identity", (1, 32)),
            ("rest", "add", (1, 32)),
        )
        for count in counts
        for clients in arguments.clients
    ]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        print("Exporting the model and starting the servers ...", flush=True)
        ours = stack.enter_context(_server_under_test(Path(folder)))
        floors = {interface: stack.enter_context(_floor(interface)) for interface in ("grpc", "rest")}
        memory = _memory_line(ours)
        table = [_measure(row, ours, floors[row.interface], arguments) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        table.append(measure_parallel(Path(folder), arguments.turns, arguments.seconds))
    print(memory)
    return _report({"memory": memory}, table, arguments)


def _report(more: dict[str, object], table: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    report = {"machine": _machine(), **more, "rows": table}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
        print(f"Written to {arguments.json}")
    wrong = sum(row["wrong"] for row in table)
    print("All replies were right." if not wrong else f"{wrong} replies were WRONG.")
    return 1 if wrong else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./build.sh bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one turn (default 1.5)")
    parser.add_argument("--turns", type=int, default=3, help="turns per row and server (default 3)")
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 8, 32], help="closed loops per row (default 1 8 32)"
    )
    parser.add_argument(
        "--lite",
        action="store_true",
        help="measure the MindSpore Lite backend beside the MindSpore backend instead",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="measure a distributed model on 2 and 4 ranks beside the same ranks without a server instead",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the figures to a JSON file")
    return parser.parse_args()


def _measure(row: Row, ours: Server, floor: Server, arguments: argparse.Namespace) -> dict[str, object]:
    """Load both servers in turn; prints and returns one row of the table."""
    body, expected = _messages(row)
    pairs = []
    for _ in range(arguments.turns):
        base = _turn(row, floor, body, body, arguments.seconds)
        pairs.append((base, _turn(row, ours, body, expected, arguments.seconds)))
    last = [pair[1] for pair in pairs]
    figures: dict[str, object] = {
        "row": row.name,
        "clients": row.clients,
        "requests_per_s": round(statistics.median(m.load.rate for m in last)),
        "p50_ms": round(statistics.median(m.load.p50_ms for m in last), 3),
        "p99_ms": round(statistics.median(m.load.p99_ms for m in last), 3),
        "cpu_us": round(statistics.median(m.cpu_us for m in last)),
        "floor_cpu_us": round(statistics.median(pair[0].cpu_us for pair in pairs)),
        "cpu_ratio": round(statistics.median(own.cpu_us / base.cpu_us for base, own in pairs), 2),
        "cpu_ratio_spread": [
            round(bound(own.cpu_us / base.cpu_us for base, own in pairs), 2) for bound in (min, max)
        ],
        "wrong": sum(m.load.wrong for m in last),
    }
    low, high = figures["cpu_ratio_spread"]  # type: ignore[misc]
    print(
        f"{row.name:28} {row.clients:3} clients  {figures['requests_per_s']:>6} req/s  p50 {figures['p50_ms']:>7} ms  "
        f"p99 {figures['p99_ms']:>7} ms  CPU {figures['cpu_us']:>5} us/req = {figures['cpu_ratio']} x floor "
        f"({low}-{high})",
        flush=True,
    )
    return figures


def _turn(row: Row, server: Server, body: bytes, expected: bytes, seconds: float) -> Measured:
    path = f"/model/bench:{row.method}"
    run: Callable[[float], Awaitable[Load]] = {
        "grpc": lambda length: grpc_load(server.grpc, _PREDICT, body, expected, row.clients, length),
        "rest": lambda length: rest_load(server.rest, path, body, expected, row.clients, length),
    }[row.interface]
    asyncio.run(_await(run(0.3)))
    before = tree_cpu_seconds(server.process.pid)
    load = asyncio.run(_await(run(seconds)))
    return Measured(load, 1e6 * (tree_cpu_seconds(server.process.pid) - before) / load.requests)


async def _await(load: Awaitable[Load]) -> Load:
    return await load


def _messages(row: Row) -> tuple[bytes, bytes]:
    """A request's body, and the body of the right reply."""
    xs = [np.full((2, 2), i, np.float32) for i in range(row.instances)]
    twos = np.full((2, 2), 2, np.float32)
    results = [x + twos if row.method == "add" else x for x in xs]
    if row.interface == "rest":
        request = {"instances": [{"x1": x.tolist(), "x2": twos.tolist()} for x in xs]}
        reply = {"instances": [{"y": y.tolist()} for y in results]}
        return orjson.dumps(request), orjson.dumps(reply)
    spec = ms_service_pb2.ServableSpec(name="bench", method_name=row.method)
    message = ms_service_pb2.PredictRequest(servable_spec=spec)
    answer = ms_service_pb2.PredictReply(servable_spec=spec)
    for x, y in zip(xs, results, strict=True):
        instance = message.instances.add()
        for name, array in (("x1", x), ("x2", twos)):
            _fill(instance.items[name], array)
        _fill(answer.instances.add().items["y"], y)
    return message.SerializeToString(), answer.SerializeToString()


def _fill(tensor: ms_service_pb2.Tensor, array: np.ndarray) -> None:
    tensor.dtype = DATA_TYPE_OF[array.dtype]  # type: ignore[assignment]
    tensor.shape.dims.extend(array.shape)
    tensor.data = array.tobytes()


@contextlib.contextmanager
def _server_under_test(folder: Path) -> Iterator[Server]:
    shutil.copytree(_HERE / "servables" / "bench", folder / "bench")
    export = [sys.executable, str(_HERE / "export_add.py"), str(folder / "bench" / "1" / "add.mindir")]
    subprocess.run(export, cwd=folder, check=True, env={**os.environ, "GLOG_v": "3"})
    grpc_port, rest_port = free_port(), free_port()
    with running_start_script(folder, _START.format(grpc=grpc_port, rest=rest_port)) as process:
        yield Server(process, f"127.0.0.1:{grpc_port}", f"127.0.0.1:{rest_port}")


@contextlib.contextmanager
def _floor(interface: str) -> Iterator[Server]:
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.floor", interface, str(port)], _HERE.parent) as process:
        yield Server(process, f"127.0.0.1:{port}", f"127.0.0.1:{port}")


def _memory_line(server: Server) -> str:
    main = resident_megabytes(server.process.pid)
    workers = [resident_megabytes(pid) for pid in children_of(server.process.pid)]
    return f"Resident memory: main {main:.0f} MB, worker {', '.join(f'{size:.0f} MB' for size in workers)}"


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


if __name__ == "__main__":
    sys.exit(main())
