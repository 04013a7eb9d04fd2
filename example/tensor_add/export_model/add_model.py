"""Export a network that adds two 2x2 matrices to ../add/1/tensor_add.mindir."""

import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

MODEL_FILE = Path(__file__).resolve().parents[1] / "add" / "1" / "tensor_add.mindir"


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


def export(network, inputs, model_file):
    """Write a MindIR file, and only a complete one: MindSpore cannot overwrite, and its files are for reading only."""
    model_file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model_file.parent, prefix=".export-") as folder:
        ms.export(network, *inputs, file_name=f"{folder}/{model_file.stem}", file_format="MINDIR")
        exported = Path(folder, model_file.name)
        exported.chmod(0o644)
        exported.replace(model_file)


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    x = Tensor(np.ones((2, 2), np.float32))
    export(Add(), (x, x), MODEL_FILE)
    print(f"Exported {MODEL_FILE}")


if __name__ == "__main__":
    main()
