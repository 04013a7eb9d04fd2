"""A process that runs models with one backend: `python -m benchmarks.backend_process BACKEND THREADS FOLDER`.

It takes one JSON object a line, and answers each with one:

- `{"load": NAME}` loads a model and compares what it gives with what MindSpore gave when it was exported, and tells
  how many rows that has;
- `{"run": NAME, "seconds": S}` runs it over and over, and tells the median, the 99th percentile and the least of the
  milliseconds of a call, how many calls there were in how many seconds, and the CPU time of a call;
- `{"pair": NAME, "seconds": S}` tells the calls per second of two copies, one after the other and at the same time.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import percentile
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest

_LEAST_CALLS = 3


class Runner:
    """The models of one process.

    Args:
        backend: `mindspore` or `lite`.
        threads: Threads that compute a model.
        folder: Where the models are; those for Lite end with `.lite.mindir`.
    """

    def __init__(self, backend: str, threads: int, folder: Path) -> None:
        self._backend = create_backend(backend)
        self._threads = threads
        self._folder = folder
        self._ending = ".lite.mindir" if backend == "lite" else ".mindir"
        self._graphs: dict[str, tuple[LoadedGraph, list[Any]]] = {}

    def load(self, name: str) -> dict[str, object]:
        known = np.load(self._folder / f"{name}.npz")
        arrays = [known[key] for key in known.files if key != "expected"]
        graph = self._new_graph(name)
        [output] = graph.predict(arrays)
        self._graphs[name] = graph, arrays
        expected = known["expected"]
        right = np.allclose(output, expected, rtol=1e-2, atol=1e-3 * abs(expected).max())
        return {"right": bool(right), "rows": len(expected)}

    def run(self, name: str, seconds: float) -> dict[str, object]:
        graph, arrays = self._graphs[name]
        times = []
        start, cpu = time.perf_counter(), time.process_time()
        while len(times) < _LEAST_CALLS or time.perf_counter() < start + seconds:
            begin = time.perf_counter()
            graph.predict(arrays)
            times.append(time.perf_counter() - begin)
        elapsed, cpu_us = time.perf_counter() - start, 1e6 * (time.process_time() - cpu) / len(times)
        times.sort()
        return {
            "ms": statistics.median(times) * 1000,
            "p99_ms": percentile(times, 0.99) * 1000,
            "best_ms": times[0] * 1000,
            "calls": len(times),
            "seconds": elapsed,
            "cpu_us": cpu_us,
        }

    def pair(self, name: str, seconds: float) -> dict[str, object]:
        first, arrays = self._graphs[name]
        graphs = [first, self._new_graph(name)]
        alone = sum(_calls(graph, arrays, seconds / 2) for graph in graphs) / seconds
        counts = [0.0, 0.0]

        def work(index: int) -> None:
            counts[index] = _calls(graphs[index], arrays, seconds)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        graphs[1].close()
        return {"alone": alone, "together": sum(counts) / seconds}

    def _new_graph(self, name: str) -> LoadedGraph:
        return self._backend.load(
            LoadRequest(
                path=self._folder / f"{name}{self._ending}",
                with_batch_dim=False,
                without_batch_dim_inputs=(),
                max_batch_size=1,
                device_type="cpu",
                device_id=0,
                thread_num=self._threads,
            )
        )


def _calls(graph: LoadedGraph, arrays: list[Any], seconds: float) -> float:
    """Calls within the time, the last one in part."""
    begin = time.perf_counter()
    count = 0
    while True:
        graph.predict(arrays)
        count += 1
        passed = time.perf_counter() - begin
        if passed >= seconds:
            return count * seconds / passed


def main() -> None:
    runner = Runner(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            answer = runner.load(request["load"])
        elif "run" in request:
            answer = runner.run(request["run"], request["seconds"])
        else:
            answer = runner.pair(request["pair"], request["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
