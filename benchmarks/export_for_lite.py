"""Exports Add, LeNet-5 and ResNet-50 as MindIR and as ONNX, with random weights: `export_for_lite.py FOLDER`.

Beside each model lies what it takes, and what MindSpore gives for it.
"""

import importlib.util
import math
import os
import sys
from pathlib import Path

# Where the CPU has AVX-512, convolutions are a hundred times slower without this. To be set before the import.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

import mindspore as ms
import numpy as np
from mindspore import Tensor

EXAMPLES = Path(__file__).resolve().parents[1] / "example"


class Add(ms.nn.Cell):
    """The sum of two tensors."""

    def construct(self, x1, x2):
        return x1 + x2


def network_of(example, name):
    """A network of an example, with random weights."""
    spec = importlib.util.spec_from_file_location(example, EXAMPLES / example / "export_model" / "network.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[example] = module  # MindSpore looks the network's module up by its name
    spec.loader.exec_module(module)
    network = getattr(module, name)()
    random = np.random.default_rng(1)
    for _, cell in network.cells_and_names():
        weight = getattr(cell, "weight", None)
        if weight is not None:
            deviation = math.sqrt(2 / math.prod(weight.shape[1:]))
            weight.set_data(Tensor(random.standard_normal(weight.shape, np.float32) * np.float32(deviation)))
    return network.set_train(False)


def export(folder, name, network, *arrays):
    """Write NAME.mindir, NAME.onnx and NAME.npz."""
    tensors = [Tensor(array) for array in arrays]
    ms.export(network, *tensors, file_name=str(folder / name), file_format="MINDIR")
    ms.onnx.export(network, *tensors, file_name=str(folder / name))
    np.savez(folder / name, *arrays, expected=network(*tensors).asnumpy())
    print(f"    {name}", flush=True)


def main():
    folder = Path(sys.argv[1])
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    random = np.random.default_rng(0)
    matrices = random.random((2, 2, 2), np.float32)
    export(folder, "add", Add(), *matrices)
    lenet = network_of("lenet", "LeNet5")
    for rows in (1, 32):
        export(folder, f"lenet_{rows}", lenet, random.random((rows, 1, 32, 32), np.float32))
    resnet = network_of("resnet", "ResNet50")
    for rows in (1, 8):
        export(folder, f"resnet_{rows}", resnet, random.random((rows, 3, 224, 224), np.float32))


if __name__ == "__main__":
    main()
