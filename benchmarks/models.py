"""Networks with a server, beside the backend alone at its best batch size, and two copies beside one; then by library.

LeNet-5 and ResNet-50 of the examples, with random weights. The backend alone runs in a process of its own, without a
server. Both are run with MindSpore's threads on any core, and on one core. Two copies have a core each, which is what
the server does by itself, or are let run on any core.
A request holds a batch, and four clients per copy send them: one batch runs, one waits behind it, and two are between
client and worker. Clients send different instances, and every score is compared with MindSpore's.

The copies, the main process and the load tool share the cores. On two cores the last two take theirs from the copies:
each row tells what they took, and only what they leave can be gained by a second copy.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.formats import measure_formats
from benchmarks.models_plan import NETWORKS, Network, Samples
from benchmarks.networks import Served, best_batch, row_of, running_alone, serving_network

_HERE = Path(__file__).resolve().parent


def measure_models(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Measure each network, with MindSpore in several ways and then with each library; prints and returns the rows.

    Args:
        folder: An empty folder to work in.
        turns: Turns per way of running.
        seconds: Length of a turn; of ResNet-50 at least six seconds.
    """
    print("Exporting the networks ...", flush=True)
    export = [sys.executable, str(_HERE / "models_export.py"), str(folder)]
    subprocess.run(export, cwd=folder, check=True, env={**os.environ, "GLOG_v": "3"})
    rows = [row for network in NETWORKS for row in _measure(folder, network, turns, seconds)]
    return rows + measure_formats(folder, turns, seconds)


def _measure(folder: Path, network: Network, turns: int, seconds: float) -> list[dict[str, Any]]:
    seconds = max(seconds, network.least_seconds)
    cores = sorted(os.sched_getaffinity(0))[:2]
    samples = Samples.load(folder, network)
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(running_alone(folder, network, ()))
        alone_on_core = stack.enter_context(running_alone(folder, network, cores[:1]))
        rows, wrong = best_batch(alone, network, seconds)
        wrong += not alone_on_core.load(rows)

        def serving(copies: int, own_cores: Sequence[int] = (), share: bool = True) -> Served:
            place = folder / f"{network.name}_{copies}_{len(own_cores)}_{share}"
            started = serving_network(place, folder, network, rows, copies, own_cores, share)
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
    figures = [row_of(title, rounds, ours, base) for title, ours, base in comparisons if ours in rounds[0]]
    figures[0]["wrong"] += wrong
    return figures
