"""Exports the models of the servables `bench` and `networks`, those as in the examples: `export_models.py FOLDER`.

Beside each file lies what it takes, and what MindSpore gives for it, in NAME.npz.
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

from benchmarks.export_for_lite import Add, network_of


def export(file, network, *arrays):
    """Write the model, and its arrays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = [Tensor(array) for array in arrays]
    ms.export(network, *tensors, file_name=str(file), file_format="MINDIR")
    np.savez(file, *arrays, expected=network(*tensors).asnumpy())


def main():
    folder = Path(sys.argv[1])
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    random = np.random.default_rng(0)
    export(folder / "bench/1/add", Add(), *random.random((2, 32, 2, 2), np.float32))
    export(folder / "bench/1/add_single", Add(), *random.random((2, 2, 2), np.float32))
    if sys.argv[2:] == ["--networks"]:
        lenet, resnet = network_of("lenet", "LeNet5"), network_of("resnet", "ResNet50")
        export(folder / "networks/1/lenet", lenet, random.random((32, 1, 32, 32), np.float32))
        export(folder / "networks/1/resnet", resnet, random.random((4, 3, 224, 224), np.float32))


if __name__ == "__main__":
    main()
