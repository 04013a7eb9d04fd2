"""Export two networks to ../matmul/1: they differ in the shape of their input, and become subgraphs of one model."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "matmul" / "1"


class Net(nn.Cell):
    """-(x @ weight), summed over the rows of x; every weight is 0.5."""

    def __init__(self):
        super().__init__()
        self.weight = Tensor(np.full((96, 16), 0.5, np.float32))

    def construct(self, x):
        return ops.reduce_sum(-ops.matmul(x, self.weight), 0)


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    for rows, name in ((128, "matmul_0.mindir"), (8, "matmul_1.mindir")):
        export(Net(), [Tensor(np.ones((rows, 96), np.float32))], VERSION_FOLDER / name)


if __name__ == "__main__":
    main()
