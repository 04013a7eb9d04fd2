"""The same networks with the same weights on each library that is installed, alone and behind the server.

MindSpore reads MindIR, ONNX Runtime what MindSpore exports as ONNX, MindSpore Lite what its converter makes of it, and
Paddle Inference a network that is built anew. Each library runs in a process of its own, as its users run it, with as
many threads as there are cores; and behind a server, where four clients send batches. Both are done for one instance
at a time, and for the batch size that is best for the library. All take turns, and every score is compared with what
MindSpore gave.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.models_plan import FORMATS, NETWORKS, Format, Network, Samples
from benchmarks.networks import (
    BackendAlone,
    Served,
    Turn,
    best_batch,
    row_of,
    running_alone,
    serving_network,
)
from mindspore_serving.lite.convert import convert

_HERE = Path(__file__).resolve().parent


def measure_formats(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure each network; prints and returns its rows, the quickest library first.

    Args:
        folder: Where `models_export` has written the networks.
        turns: Turns per way of running.
        seconds: Length of a turn; of ResNet-50 at least six seconds.
    """
    kinds = [kind for kind in FORMATS if kind.is_there]
    missing = [kind.name for kind in FORMATS if not kind.is_there]
    print(f"By library; not installed: {', '.join(missing) or 'none'}", flush=True)
    _make_files(folder, kinds)
    return [row for network in NETWORKS for row in _measure(folder, network, kinds, turns, seconds)]


def _make_files(folder: Path, kinds: list[Format]) -> None:
    packages = {kind.package for kind in kinds}
    if "paddle" in packages:
        script = _HERE / "models_export_paddle.py"
        subprocess.run([sys.executable, str(script), str(folder)], cwd=folder, check=True)
    if "mindspore_lite" in packages:
        for network in NETWORKS:
            convert(folder / f"{network.name}.onnx", folder / f"{network.name}.lite.mindir")


def _measure(
    folder: Path, network: Network, kinds: list[Format], turns: int, seconds: float
) -> list[dict[str, Any]]:
    seconds = max(seconds, network.least_seconds)
    with contextlib.ExitStack() as stack:
        ways = [way for kind in kinds for way in stack.enter_context(_ways(folder, network, kind, seconds))]
        rounds: list[dict[Any, Turn]] = []
        for _ in range(turns):
            found: dict[Any, Turn] = {}
            for title, rows, alone, served in ways:
                found[title, "alone"] = alone.run(rows, seconds)
                found[title, "served"] = served.run(seconds)
            rounds.append(found)
    figures = [row_of(title, rounds, (title, "served"), (title, "alone")) for title, *_ in ways]
    for row, (_, _, alone, _) in zip(figures, ways, strict=True):
        row["wrong"] += alone.wrong
    return sorted(figures, key=lambda row: -row["instances_per_s"])


@contextlib.contextmanager
def _ways(
    folder: Path, network: Network, kind: Format, seconds: float
) -> Iterator[list[tuple[str, int, BackendAlone, Served]]]:
    """A library with one instance at a time, and with the batch size that is best for it: title, rows, both ways."""
    samples = Samples.load(folder, network)
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(running_alone(folder, network, kind=kind))
        best, wrong = best_batch(alone, network, seconds, kind.name)
        alone.wrong = wrong
        found = []
        for rows in sorted({1, best}):
            place = folder / f"{network.name}_{kind.package}_{rows}"
            started = serving_network(place, folder, network, rows, copies=1, kind=kind)
            address, pid = stack.enter_context(started)
            title = f"{network.name}, {kind.name}, batch {rows}: served, beside the library alone"
            found.append((title, rows, alone, Served(pid, address, 1, network, samples, rows)))
        yield found
