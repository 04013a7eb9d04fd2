"""Ten times as many requests as a servable can answer: what becomes of those that are taken, and of the memory.

The stage of the servable waits for 10 ms, so it answers just below 100 requests per second; how many it is, a closed
loop finds out. Then requests come in open loops, half as fast, as fast and ten times as fast. Small requests meet the
limit of requests, large ones the limit of bytes. Every reply is compared with the right one, or the right refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.connections import (
    Connection,
    Exchange,
    RefusableRestConnection,
    connect,
    grpc_exchange,
    rest_exchange,
)
from benchmarks.load import grpc_load, percentile, resident_megabytes, rest_load
from benchmarks.messages import is_reply, path_of, request_bytes
from benchmarks.open_loop import Arrivals, OpenLoop, poisson_times
from benchmarks.rows import rounded
from benchmarks.servers import free_port, running_start_script
from mindspore_serving.proto import ms_service_pb2

_HERE = Path(__file__).resolve().parent
_SHARES = (0.5, 1.0, 10.0)
_CONNECTIONS = {"grpc": 8, "rest": 512}
_CLIENTS_TO_FIND_THE_RATE = 8
_LENGTH = 5  # times as long as turns elsewhere: the queue takes most of a second to fill
_MOST_REQUESTS = 64
_MOST_BYTES = 2 << 20

_START = """\
import os

os.environ["SERVING_BACKEND"] = "stub"

from mindspore_serving import server
from mindspore_serving.server.master import context

context.set_max_enqueued_requests({most_requests})
context.set_max_enqueued_bytes({most_bytes})
server.start_servables(server.ServableStartConfig(".", "overload", device_ids=0))
server.start_grpc_server("{grpc}")
server.start_restful_server("{rest}")
print("started", flush=True)
"""


@dataclass(frozen=True)
class Size:
    """Requests of one size.

    Attributes:
        name: In the rows.
        numbers: float32 numbers of the only instance.
        refusal: What a request over the limit is told.
    """

    name: str
    numbers: int
    refusal: str


_SIZES = (
    Size("small", 4, f"Serving Error: enqueued requests count exceeds the limit {_MOST_REQUESTS}"),
    Size("64 KiB", 1 << 14, f"Serving Error: enqueued bytes count exceeds the limit {_MOST_BYTES}"),
)


@dataclass(frozen=True)
class Turn:
    """An open loop, and the resident memory of the main process after it in MB (2**20 bytes)."""

    arrivals: Arrivals
    main_mb: float


class Question:
    """A request over one interface, whose reply was compared with the values that it should hold.

    Args:
        interface: `grpc` or `rest`.
        address: `host:port`.
        size: How large it is.

    Raises:
        RuntimeError: The first reply was wrong.
    """

    def __init__(self, interface: str, address: str, size: Size) -> None:
        x = np.ones(size.numbers, np.float32)
        self.interface = interface
        self.address = address
        self.path = path_of(interface, "overload", "total")
        kind = "grpc" if interface == "grpc" else "rest b64"
        self.body = request_bytes(kind, "overload", "total", [{"x": x}])
        self.reply = b""
        self.reply = asyncio.run(self._ask())
        if not is_reply(interface, self.reply, [{"y": np.array(size.numbers, np.float32)}]):
            raise RuntimeError(f"{address}{self.path} answered {self.reply!r}")
        self._refusal = refusal_bytes(interface, size.refusal)

    @property
    def exchange(self) -> Exchange:
        """The request, the reply and the refusal as a connection sends and gives them."""
        if self.interface == "grpc":
            refusal = grpc_exchange(b"", self._refusal).reply
            return replace(grpc_exchange(self.body, self.reply), refusal=refusal)
        return replace(rest_exchange(self.address, self.path, self.body, self.reply), refusal=self._refusal)

    def rate(self, seconds: float) -> float:
        """Requests per second that closed loops get answered."""
        run = grpc_load if self.interface == "grpc" else rest_load
        clients = _CLIENTS_TO_FIND_THE_RATE
        load = asyncio.run(run(self.address, self.path, self.body, self.reply, clients, seconds))
        if load.wrong:
            raise RuntimeError(f"{load.wrong} wrong replies while the rate was looked for")
        return load.rate

    async def _ask(self) -> bytes:
        connection = await connect(self.interface, self.address, self.path)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        request = (
            grpc_exchange(self.body, b"")
            if self.interface == "grpc"
            else rest_exchange(self.address, self.path, self.body, b"")
        ).request
        connection.send(request, answered.set_result)
        reply = await answered
        connection.close()
        return reply[len(grpc_exchange(b"", b"").reply) :] if self.interface == "grpc" else reply


def refusal_bytes(interface: str, text: str) -> bytes:
    """The reply to a request that is refused."""
    if interface != "grpc":
        return orjson.dumps({"error_msg": text})
    spec = ms_service_pb2.ServableSpec(name="overload", method_name="total")
    error = ms_service_pb2.ErrorMsg(error_code=1, error_msg=text.encode())
    return ms_service_pb2.PredictReply(servable_spec=spec, error_msg=[error]).SerializeToString()


def measure_overload(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure it; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per row.
        seconds: A fifth of the length of a turn.
    """
    rows = []
    for interface in ("grpc", "rest"):
        for size in _SIZES:
            own_folder = folder / f"{interface}{size.numbers}"
            with _serving(own_folder) as (pid, addresses):
                question = Question(interface, addresses[interface], size)
                capacity = question.rate(seconds)
                rows += [_row(pid, question, size, capacity, share, turns, seconds) for share in _SHARES]
    return rows


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A server of its own for each kind of load, so that none has memory of another: process id and addresses."""
    shutil.copytree(_HERE / "servables" / "overload", folder / "overload")
    addresses = {interface: f"127.0.0.1:{free_port()}" for interface in ("grpc", "rest")}
    script = _START.format(most_requests=_MOST_REQUESTS, most_bytes=_MOST_BYTES, **addresses)
    with running_start_script(folder, script) as process:
        yield process.pid, addresses


def _row(
    pid: int, question: Question, size: Size, capacity: float, share: float, turns: int, seconds: float
) -> dict[str, Any]:
    begin_mb = resident_megabytes(pid)
    taken = [
        _turn(pid, question, poisson_times(share * capacity, _LENGTH * seconds, seed))
        for seed in range(turns)
    ]
    row = row_of(f"{question.interface}, {size.name}, {share:g} x the capacity", share * capacity, taken)
    row["main_begin_mb"] = round(begin_mb, 1)
    row["main_mb"] = [round(turn.main_mb, 1) for turn in taken]
    print(line_of(row), flush=True)
    return row


def _turn(pid: int, question: Question, times: Sequence[float]) -> Turn:
    async def run() -> Arrivals:
        count = _CONNECTIONS[question.interface]
        connections = [await _connection(question) for _ in range(count)]
        try:
            return await OpenLoop(connections, question.exchange, times).run()
        finally:
            for connection in connections:
                connection.close()

    arrivals = asyncio.run(run())
    return Turn(arrivals, resident_megabytes(pid))


async def _connection(question: Question) -> Connection:
    """A connection that tells a refusal from a failure."""
    if question.interface == "grpc":
        return await connect("grpc", question.address, question.path)
    host, _, port = question.address.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(RefusableRestConnection, host, int(port))
    return connection


def row_of(name: str, offered: float, turns: Sequence[Turn]) -> dict[str, Any]:
    """The medians of some turns."""
    seen = [turn.arrivals for turn in turns]

    def median(values: Iterator[float]) -> float:
        return rounded(statistics.median(values))

    def milliseconds(name: str, share: float) -> float | None:
        found: list[list[float]] = [getattr(one, name) for one in seen]
        if not all(found):
            return None
        return median(1000 * percentile(sorted(values), share) for values in found)

    return {
        "row": name,
        "load": "own",
        "offered_per_s": round(offered),
        "answered_per_s": median(len(one.latencies) / one.seconds for one in seen),
        "refused_per_s": median(len(one.refused) / one.seconds for one in seen),
        "p50_ms": milliseconds("latencies", 0.5),
        "p99_ms": milliseconds("latencies", 0.99),
        "refused_p50_ms": milliseconds("refused", 0.5),
        "refused_p99_ms": milliseconds("refused", 0.99),
        "late_p99_ms": milliseconds("lateness", 0.99),
        "wrong": sum(one.wrong for one in seen),
    }


def line_of(row: dict[str, Any]) -> str:
    """A row in one line."""
    wrong = f"  {row['wrong']} WRONG" if row["wrong"] else ""
    return (
        f"{row['row']:32} {row['offered_per_s']:>5} req/s offered, {row['answered_per_s']:g} answered, "
        f"{row['refused_per_s']:g} refused  p50 {row['p50_ms']} p99 {row['p99_ms']} ms, refusals "
        f"{row['refused_p50_ms']} {row['refused_p99_ms']} ms, sent late {row['late_p99_ms']} ms  "
        f"main {row['main_begin_mb']:g} MB, then {row['main_mb']}{wrong}"
    )
