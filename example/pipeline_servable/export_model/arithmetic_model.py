"""Export three networks over 2x2 matrices to ../arithmetic/1: subgraphs of one model."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "arithmetic" / "1"


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


class Sub(nn.Cell):
    def construct(self, x1, x2):
        return x1 - x2


class AddAndSub(nn.Cell):
    def construct(self, x1, x2, x3):
        return x1 + x2 + x3, x1 - x2 - x3


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
    x = Tensor(np.ones((2, 2), np.float32))
    export(Add(), (x, x), VERSION_FOLDER / "add.mindir")
    export(Sub(), (x, x), VERSION_FOLDER / "sub.mindir")
    export(AddAndSub(), (x, x, x), VERSION_FOLDER / "add_and_sub.mindir")


if __name__ == "__main__":
    main()
