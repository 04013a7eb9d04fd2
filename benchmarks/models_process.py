"""A process that runs a network without a server: `python -m benchmarks.models_process FOLDER NAME CORES FORMAT`.

CORES is a list with commas, or `-` for all; FORMAT is one of `models_plan.FORMATS`. MindSpore and MindSpore Lite are
called as a worker calls them, ONNX Runtime and Paddle Inference as their users do, with as many threads. The process
takes one JSON object a line, and answers each with one:

- `{"load": BATCH}` loads the network for a batch size, and tells whether it gives what it should for all instances;
- `{"run": BATCH, "seconds": S}` tells the instances per second, and the milliseconds of CPU time per instance.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.models_plan import FORMATS, NETWORKS, Format, Network, Samples
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadRequest

_LEAST_CALLS = 3

Run = Callable[[np.ndarray], np.ndarray]
"""Gives the scores of a batch."""


class Runner:
    """The network of one process, for several batch sizes.

    Args:
        folder: Where the files are.
        network: Which one.
        cores: Cores for its threads; none means any.
        kind: What runs it.
    """

    def __init__(self, folder: Path, network: Network, cores: tuple[int, ...], kind: Format) -> None:
        self._folder = folder
        self._network = network
        self._cores = cores
        self._kind = kind
        self._samples = Samples.load(folder, network)
        self._runs: dict[int, Run] = {}

    def load(self, rows: int) -> dict[str, object]:
        path = self._kind.path(self._folder, self._network, rows)
        run = _OPEN[self._kind.name](path, rows, self._cores)
        self._runs[rows] = run
        x = self._samples.x
        scores = [run(x[start : start + rows]) for start in range(0, len(x), rows)]
        return {"right": self._samples.are_right(np.concatenate(scores), slice(None))}

    def run(self, rows: int, seconds: float) -> dict[str, object]:
        run, x = self._runs[rows], self._samples.x[:rows]
        run(x)
        calls, cpu, begin = 0, time.process_time(), time.perf_counter()
        while calls < _LEAST_CALLS or time.perf_counter() < begin + seconds:
            run(x)
            calls += 1
        elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return {"rate": calls * rows / elapsed, "cpu_ms": 1000 * cpu / (calls * rows)}


def _with_backend(name: str) -> Callable[[Path, int, tuple[int, ...]], Run]:
    def opened(path: Path, rows: int, cores: tuple[int, ...]) -> Run:
        threads = len(cores or os.sched_getaffinity(0)) if name == "lite" else -1
        request = LoadRequest(
            path, True, (), rows, "cpu", 0, thread_num=threads, thread_affinity_core_list=cores
        )
        graph = create_backend(name).load(request)
        return lambda x: graph.predict([x])[0]

    return opened


def _with_onnxruntime(path: Path, rows: int, cores: tuple[int, ...]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda x: session.run(["scores"], {"x": x})[0]


def _with_paddle(path: Path, rows: int, cores: tuple[int, ...]) -> Run:
    from paddle import inference

    config = inference.Config(str(path), str(path.with_suffix(".pdiparams")))
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(len(os.sched_getaffinity(0)))
    predictor = inference.create_predictor(config)
    [name], [scores] = predictor.get_input_names(), predictor.get_output_names()

    def run(x: np.ndarray) -> np.ndarray:
        predictor.get_input_handle(name).copy_from_cpu(x)
        predictor.run()
        return predictor.get_output_handle(scores).copy_to_cpu()

    return run


_OPEN = {
    "MindSpore": _with_backend("mindspore"),
    "MindSpore Lite": _with_backend("lite"),
    "ONNX Runtime": _with_onnxruntime,
    "Paddle Inference": _with_paddle,
}


def main() -> None:
    folder, name, cores, kind = sys.argv[1:]
    [network] = [network for network in NETWORKS if network.name == name]
    [format_] = [one for one in FORMATS if one.name == kind]
    own = () if cores == "-" else tuple(map(int, cores.split(",")))
    runner = Runner(Path(folder), network, own, format_)
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
