"""The MindSpore backend and the MindSpore Lite backend on the same models: milliseconds of a call, and their ratio.

Each backend has a process of its own, which calls it as a worker does, without a server. The two run in turn, several
times over; a row's ratio is the median of the ratios of neighbouring turns. Beside it stands the ratio of the quickest
calls of all turns, which a busy machine disturbs least. Every model's output is compared with what
MindSpore gave when it was exported.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.asked_process import AskedProcess
from mindspore_serving.lite.convert import convert

_HERE = Path(__file__).resolve().parent
_ROWS = {
    "Add 2x2": "add",
    "LeNet-5, 1 image": "lenet_1",
    "LeNet-5, 32 images": "lenet_32",
    "ResNet-50, 1 image": "resnet_1",
    "ResNet-50, 8 images": "resnet_8",
}
_PAIR = "resnet_1"


def backend_process(backend: str, threads: int, folder: Path) -> AskedProcess:
    """One process that runs models, with the requests of `backend_process`.

    Args:
        backend: `mindspore` or `lite`.
        threads: Threads of a model.
        folder: Where the models are.
    """
    return AskedProcess("benchmarks.backend_process", backend, str(threads), str(folder))


def measure_lite(turns: int, seconds: float) -> list[dict[str, object]]:
    """Measure all rows, printing each.

    Args:
        turns: Turns per row and backend.
        seconds: Length of a turn.

    Returns:
        The rows.
    """
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_models(folder)
        for threads in (1, 2):
            with _processes(threads, folder) as (mindspore, lite):
                for title, model in _ROWS.items():
                    table.append(
                        _measure(
                            f"{title}, {threads} thread{'s' if threads > 1 else ''}",
                            model,
                            mindspore,
                            lite,
                            turns,
                            seconds,
                        )
                    )
                if threads == 1:
                    table.append(_measure_pair(mindspore, lite, turns, seconds))
    return table


def _make_models(folder: Path) -> None:
    print("Exporting the models ...", flush=True)
    subprocess.run([sys.executable, _HERE / "export_for_lite.py", folder], check=True)
    print("Converting them for Lite ...", flush=True)
    for model in _ROWS.values():
        convert(folder / f"{model}.onnx", folder / f"{model}.lite.mindir")
        (folder / f"{model}.onnx").unlink()


@contextlib.contextmanager
def _processes(threads: int, folder: Path) -> Iterator[tuple[AskedProcess, AskedProcess]]:
    processes = [backend_process(backend, threads, folder) for backend in ("mindspore", "lite")]
    try:
        yield processes[0], processes[1]
    finally:
        for process in processes:
            process.stop()


def _measure(
    title: str, model: str, mindspore: AskedProcess, lite: AskedProcess, turns: int, seconds: float
) -> dict[str, object]:
    wrong = sum(not process.ask(load=model)["right"] for process in (mindspore, lite))
    for process in (mindspore, lite):
        process.ask(run=model, seconds=seconds / 4)
    turns_of_both = [
        [process.ask(run=model, seconds=seconds) for process in (mindspore, lite)] for _ in range(turns)
    ]
    pairs = [(one["ms"], other["ms"]) for one, other in turns_of_both]
    ratios = [one / other for one, other in pairs]
    best = [min(answer["best_ms"] for answer in answers) for answers in zip(*turns_of_both, strict=True)]
    figures: dict[str, object] = {
        "row": title,
        "mindspore_ms": round(statistics.median(one for one, _ in pairs), 3),
        "lite_ms": round(statistics.median(other for _, other in pairs), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "best_ms": [round(one, 3) for one in best],
        "best_ratio": round(best[0] / best[1], 2),
        "wrong": wrong,
    }
    print(
        f"{title:30} MindSpore {figures['mindspore_ms']:>8} ms  Lite {figures['lite_ms']:>8} ms  "
        f"Lite is {figures['ratio']} times as fast ({min(ratios):.2f}-{max(ratios):.2f}), by the quickest calls "
        f"{figures['best_ratio']} times",
        flush=True,
    )
    return figures


def _measure_pair(
    mindspore: AskedProcess, lite: AskedProcess, turns: int, seconds: float
) -> dict[str, object]:
    """Two models of a process at a time, beside one after the other."""
    figures: dict[str, object] = {"row": "two ResNet-50, 1 image, 1 thread each", "wrong": 0}
    for name, process in (("mindspore", mindspore), ("lite", lite)):
        answers = [process.ask(pair=_PAIR, seconds=2 * seconds) for _ in range(turns)]
        ratios = [answer["together"] / answer["alone"] for answer in answers]
        figures[f"{name}_rate_ratio"] = round(statistics.median(ratios), 2)
        figures[f"{name}_rate_ratio_spread"] = [round(min(ratios), 2), round(max(ratios), 2)]
        print(
            f"{figures['row']}, {name}: at the same time {statistics.median(ratios):.2f} times the rate of one "
            f"after the other ({min(ratios):.2f}-{max(ratios):.2f})",
            flush=True,
        )
    return figures
