"""What worker processes beyond the devices bring to a Python stage that keeps a core busy.

Two servers of the same servable are loaded in turn, by 8 closed loops: one with the worker of its device alone, one
with two workers more. Every reply is compared with the expected bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson

from benchmarks.load import Load, rest_load
from benchmarks.servers import free_port, running_start_script

ROW = "busy Python stage, 1 worker and 3"
_HERE = Path(__file__).resolve().parent
_CLIENTS = 8
_ROUNDS = 60_000  # as in servables/parallel

_START = """\
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "parallel", device_ids=0, num_parallel_workers={workers}))
server.start_restful_server("127.0.0.1:{rest}")
print("started", flush=True)
"""


def measure_parallel(
    folder: Path, turns: int, seconds: float, say: Callable[[str], None] = print
) -> dict[str, object]:
    """Load both servers in turn; tells and returns the ratio of their rates.

    Args:
        folder: An empty folder to work in.
        turns: Turns per server.
        seconds: Length of a turn.
        say: Takes the line of the row.
    """
    with contextlib.ExitStack() as stack:
        alone, three = (stack.enter_context(_serving(folder / str(n), n)) for n in (1, 3))
        pairs = [(_turn(alone, seconds), _turn(three, seconds)) for _ in range(turns)]
    ratios = [more.rate / one.rate for one, more in pairs]
    figures: dict[str, object] = {
        "row": ROW,
        "clients": _CLIENTS,
        "requests_per_s": [
            round(statistics.median(load.rate for load in loads)) for loads in zip(*pairs, strict=True)
        ],
        "rate_ratio": round(statistics.median(ratios), 2),
        "rate_ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "wrong": sum(load.wrong for pair in pairs for load in pair),
    }
    one, more = figures["requests_per_s"]  # type: ignore[misc]
    say(
        f"{ROW}: {one} and {more} req/s = {figures['rate_ratio']} times the rate "
        f"({min(ratios):.2f}-{max(ratios):.2f})"
    )
    return figures


@contextlib.contextmanager
def _serving(folder: Path, workers: int) -> Iterator[str]:
    shutil.copytree(_HERE / "servables" / "parallel", folder / "parallel")
    address = f"127.0.0.1:{free_port()}"
    script = _START.format(workers=workers, rest=address.rpartition(":")[2])
    with running_start_script(folder, script):
        yield address


def _turn(address: str, seconds: float) -> Load:
    x = np.zeros((2, 2), np.float32)
    body = orjson.dumps({"instances": [{"x1": x.tolist(), "x2": x.tolist()}]})
    reply = orjson.dumps({"instances": [{"y": (x + _ROUNDS // 2).tolist()}]})

    async def load() -> Load:
        return await rest_load(address, "/model/parallel:busy", body, reply, _CLIENTS, seconds)

    return asyncio.run(load())
