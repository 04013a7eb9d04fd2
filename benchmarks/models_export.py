"""Exports LeNet-5 and ResNet-50 of the examples for several batch sizes: `models_export.py FOLDER`.

Weights are random, the same at every run. Beside the files `NAME_BATCH.mindir` lies NAME.npz: instances that differ,
and what MindSpore gives for them.
"""

import os
import sys
from pathlib import Path

# Where the CPU has AVX-512, convolutions are a hundred times slower without this. To be set before the import.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mindspore as ms
import numpy as np
from mindspore import Tensor

from benchmarks.export_for_lite import network_of
from benchmarks.models_plan import NETWORKS


def main():
    folder = Path(sys.argv[1])
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    random = np.random.default_rng(2)
    for plan in NETWORKS:
        network = network_of(plan.example, plan.network)
        x = random.random((plan.instances, *plan.shape), np.float32)
        np.savez(folder / plan.name, x=x, expected=network(Tensor(x)).asnumpy())
        for rows in plan.batches:
            sample = Tensor(np.zeros((rows, *plan.shape), np.float32))
            ms.export(network, sample, file_name=str(folder / f"{plan.name}_{rows}"), file_format="MINDIR")


if __name__ == "__main__":
    main()
