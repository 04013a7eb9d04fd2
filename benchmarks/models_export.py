"""Exports LeNet-5 and ResNet-50 of the examples: `models_export.py FOLDER`.

Weights are random, the same at every run. For each batch size there is a file `NAME_BATCH.mindir`, and for any of them
`NAME.onnx`. Beside these lie NAME.npz, instances that differ and what MindSpore gives for them, and NAME_weights.npz,
the weights in the order of the layers, for libraries that build the network anew.
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


def weights_of(network):
    """Arrays of all layers, as they follow each other."""
    layers = [cell for _, cell in network.cells_and_names()]
    names = ("weight", "bias", "gamma", "beta", "moving_mean", "moving_variance")
    found = [getattr(layer, name, None) for layer in layers for name in names]
    return [one.asnumpy() for one in found if isinstance(one, ms.Parameter)]


def main():
    folder = Path(sys.argv[1])
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    random = np.random.default_rng(2)
    for plan in NETWORKS:
        network = network_of(plan.example, plan.network)
        x = random.random((plan.instances, *plan.shape), np.float32)
        np.savez(folder / plan.name, x=x, expected=network(Tensor(x)).asnumpy())
        np.savez(folder / f"{plan.name}_weights", *weights_of(network))
        for rows in plan.batches:
            sample = Tensor(np.zeros((rows, *plan.shape), np.float32))
            ms.export(network, sample, file_name=str(folder / f"{plan.name}_{rows}"), file_format="MINDIR")
        ms.onnx.export(
            network,
            Tensor(np.zeros((2, *plan.shape), np.float32)),
            file_name=str(folder / plan.name),
            input_names=["x"],
            output_names=["scores"],
            dynamic_axes={"x": {0: "n"}, "scores": {0: "n"}},
        )


if __name__ == "__main__":
    main()
