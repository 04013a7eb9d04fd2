"""What serving adds to a distributed model: milliseconds per call beside the same ranks without a server.

The example matmul_distributed is exported for 2 and for 4 ranks. Its server is called through gRPC by one client; in
turn with it, the same files run in processes that only join the ranks and call the backend. Every reply is compared
with NumPy.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.servers import free_port, running_start_script
from mindspore_serving.client import Client
from mindspore_serving.server.backend.mindspore.ranks import Scheduler

_EXAMPLE = Path(__file__).resolve().parents[1] / "example" / "matmul_distributed"
_RANKS = (2, 4)
_TOLERANCE = 1e-4
_END_S = 30
_WARM_UP = 20
_FIGURES = b"figures:"

_SERVER = """\
from mindspore_serving import server
from mindspore_serving.server import distributed

distributed.start_servable(".", "matmul", "rank_table_{ranks}pcs.json", distributed_address="127.0.0.1:{port}")
server.start_grpc_server("127.0.0.1:{grpc}")
print("started", flush=True)
"""

_AGENTS = """\
from mindspore_serving.server import distributed

files = [f"model/device{{rank}}/matmul.mindir" for rank in range({ranks})]
distributed.startup_agents("127.0.0.1:{port}", files, agent_start_port={agent_port})
"""


@dataclass(frozen=True)
class _Calls:
    """Calls one after the other: milliseconds each, and the largest error beside NumPy."""

    milliseconds: list[float]
    error: float


def measure_distributed(folder: Path, turns: int, seconds: float) -> list[dict[str, object]]:
    """Measure with 2 and with 4 ranks; prints and returns a row for each.

    Args:
        folder: An empty folder to work in.
        turns: Turns per way of calling.
        seconds: Length of a turn.
    """
    os.environ.setdefault("GLOG_v", "3")
    return [_measure(folder / str(ranks), ranks, turns, seconds) for ranks in _RANKS]


def _measure(folder: Path, ranks: int, turns: int, seconds: float) -> dict[str, object]:
    shutil.copytree(_EXAMPLE, folder, ignore=shutil.ignore_patterns("model", "serving_logs"))
    export = [sys.executable, "export_model/export_model.py", f"--ranks={ranks}"]
    subprocess.run(export, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with _serving(folder, ranks) as address:
        pairs = [(_bare(folder, ranks, seconds), _served(address, seconds)) for _ in range(turns)]
    ratios = [_median(served) / _median(bare) for bare, served in pairs]
    bare_ms, served_ms = (statistics.median(map(_median, calls)) for calls in zip(*pairs, strict=True))
    errors = [calls.error for pair in pairs for calls in pair]
    figures: dict[str, object] = {
        "row": f"matmul on {ranks} ranks, gRPC, 1 client",
        "p50_ms": round(served_ms, 3),
        "bare_p50_ms": round(bare_ms, 3),
        "time_ratio": round(statistics.median(ratios), 2),
        "time_ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "largest_error": float(f"{max(errors):.2g}"),
        "wrong": sum(error > _TOLERANCE for error in errors),
    }
    print(
        f"{figures['row']}: {served_ms:.2f} ms, the ranks alone {bare_ms:.2f} ms = {figures['time_ratio']} times "
        f"({min(ratios):.2f}-{max(ratios):.2f}), largest error {max(errors):.1g}",
        flush=True,
    )
    return figures


def _median(calls: _Calls) -> float:
    return statistics.median(calls.milliseconds)


@contextlib.contextmanager
def _serving(folder: Path, ranks: int) -> Iterator[str]:
    port, agent_port, grpc = free_port(), free_port(), free_port()
    agents_script = folder / "agents.py"
    agents_script.write_text(_AGENTS.format(ranks=ranks, port=port, agent_port=agent_port))
    with (folder / "agents.log").open("wb") as log:
        agents = subprocess.Popen([sys.executable, str(agents_script)], cwd=folder, stdout=log, stderr=log)
    try:
        with running_start_script(folder, _SERVER.format(ranks=ranks, port=port, grpc=grpc)):
            yield f"127.0.0.1:{grpc}"
    finally:
        agents.send_signal(signal.SIGTERM)
        agents.wait(_END_S)


def _served(address: str, seconds: float) -> _Calls:
    random = np.random.default_rng(1)
    milliseconds, error = list[float](), 0.0
    with Client(address, "matmul", "predict") as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(milliseconds) <= _WARM_UP:
            x = random.random((128, 96), np.float32)
            begin = time.perf_counter()
            reply = client.infer({"x": x})
            milliseconds.append(1000 * (time.perf_counter() - begin))
            if not isinstance(reply, list):
                raise RuntimeError(f"The request failed: {reply}")
            error = max(error, _error_of(x, reply[0]["y"]))
    return _Calls(milliseconds[_WARM_UP:], error)


def _bare(folder: Path, ranks: int, seconds: float) -> _Calls:
    """Run the files of all ranks in processes of their own, without a server."""
    scheduler = Scheduler("127.0.0.1", ranks)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes += [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.distributed",
                    str(folder / f"model/device{rank}/matmul.mindir"),
                    str(rank),
                    str(ranks),
                    scheduler.address,
                    str(seconds),
                ],
                cwd=Path(__file__).resolve().parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(ranks)
        ]
        figures = _figures_of(processes[0])
    finally:
        # Ranks wait to be ended: one that went first could take its last words to the others along.
        for process in processes:
            process.kill()
            process.communicate()
        scheduler.stop()
    if not figures:
        raise RuntimeError("The ranks failed; run the example matmul_distributed to see why")
    error, *milliseconds = figures
    return _Calls(milliseconds, error)


def _figures_of(rank: subprocess.Popen[bytes]) -> list[float]:
    """What rank 0 prints at its end; empty if it has failed."""
    assert rank.stdout is not None
    for line in rank.stdout:
        if line.startswith(_FIGURES):
            return [float(word) for word in line.removeprefix(_FIGURES).split()]
    return []


def _run_rank(model_file: str, rank: int, ranks: int, scheduler: str, seconds: float) -> None:
    """Body of one rank's process: rank 0 prints the largest error, and the milliseconds of each call."""
    from mindspore_serving.server.backend import create_backend
    from mindspore_serving.server.backend.contract import LoadRequest
    from mindspore_serving.server.backend.mindspore.ranks import join_ranks

    join_ranks(
        device_type="cpu",
        device_id=0,
        rank_id=rank,
        rank_size=ranks,
        ip="127.0.0.1",
        scheduler=scheduler,
        rank_table_file=None,
    )
    request = LoadRequest(Path(model_file), False, (), 1, "cpu", 0, sharded=True)
    graph = create_backend("mindspore").load(request)
    random = np.random.default_rng(1)
    milliseconds, error = list[float](), 0.0
    # All ranks make the same number of calls: it cannot depend on the time that one of them takes.
    for _ in range(_WARM_UP + int(200 * seconds)):
        x = random.random((128, 96), np.float32)
        begin = time.perf_counter()
        [y] = graph.predict([x])
        milliseconds.append(1000 * (time.perf_counter() - begin))
        error = max(error, _error_of(x, y))
    if rank == 0:
        print(_FIGURES.decode(), error, *milliseconds[_WARM_UP:], flush=True)
    sys.stdin.read()


def _error_of(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(y + x @ np.full((96, 16), 0.5, np.float32)).max())


if __name__ == "__main__":
    _file, _rank, _ranks, _scheduler, _seconds = sys.argv[1:]
    _run_rank(_file, int(_rank), int(_ranks), _scheduler, float(_seconds))
