"""A process that runs a network with the backend alone: `python -m benchmarks.models_process FOLDER NAME CORES`.

CORES is a list with commas, or `-` for all. It takes one JSON object a line, and answers each with one:

- `{"load": BATCH}` loads the network for a batch size, and tells whether it gives what it should for all instances;
- `{"run": BATCH, "seconds": S}` tells the instances per second, and the milliseconds of CPU time per instance.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.models_plan import NETWORKS, Network, Samples
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest

_LEAST_CALLS = 3


class Runner:
    """The network of one process, for several batch sizes.

    Args:
        folder: Where the files are.
        network: Which one.
        cores: Cores for its threads; none means any.
    """

    def __init__(self, folder: Path, network: Network, cores: tuple[int, ...]) -> None:
        self._folder = folder
        self._network = network
        self._cores = cores
        self._samples = Samples.load(folder, network)
        self._graphs: dict[int, LoadedGraph] = {}

    def load(self, rows: int) -> dict[str, object]:
        path = self._folder / f"{self._network.name}_{rows}.mindir"
        request = LoadRequest(path, True, (), rows, "cpu", 0, thread_affinity_core_list=self._cores)
        graph = create_backend("mindspore").load(request)
        self._graphs[rows] = graph
        x = self._samples.x
        scores = [graph.predict([x[start : start + rows]])[0] for start in range(0, len(x), rows)]
        return {"right": self._samples.are_right(np.concatenate(scores), slice(None))}

    def run(self, rows: int, seconds: float) -> dict[str, object]:
        graph, x = self._graphs[rows], self._samples.x[:rows]
        graph.predict([x])
        calls, cpu, begin = 0, time.process_time(), time.perf_counter()
        while calls < _LEAST_CALLS or time.perf_counter() < begin + seconds:
            graph.predict([x])
            calls += 1
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return {"rate": calls * rows / elapsed, "cpu_ms": 1000 * cpu / (calls * rows)}


def main() -> None:
    folder, name, cores = sys.argv[1:]
    [network] = [network for network in NETWORKS if network.name == name]
    runner = Runner(Path(folder), network, () if cores == "-" else tuple(map(int, cores.split(","))))
    for line in sys.stdin:
        request = json.loads(line)
        answer = (
            runner.load(request["load"])
            if "load" in request
            else runner.run(request["run"], request["seconds"])
        )
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
