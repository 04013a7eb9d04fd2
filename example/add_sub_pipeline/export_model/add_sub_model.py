"""Export a network that adds and one that subtracts to ../add_sub/1, both for any number of 2x2 matrices."""

from pathlib import Path

import mindspore as ms
from mindspore import Tensor, nn

VERSION_FOLDER = Path(__file__).resolve().parents[1] / "add_sub" / "1"


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


class Sub(nn.Cell):
    def construct(self, x1, x2):
        return x1 - x2


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
    x = Tensor(shape=[None, 2, 2], dtype=ms.float32)
    for network, name in ((Add(), "tensor_add.mindir"), (Sub(), "tensor_sub.mindir")):
        export(network, (x, x), VERSION_FOLDER / name)


if __name__ == "__main__":
    main()
