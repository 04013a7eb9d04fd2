"""Export a network that adds and one that subtracts to ../add_sub/1, both for any number of 2x2 matrices."""

import tempfile
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
    x = Tensor(shape=[None, 2, 2], dtype=ms.float32)
    for network, name in ((Add(), "tensor_add.mindir"), (Sub(), "tensor_sub.mindir")):
        export(network, (x, x), VERSION_FOLDER / name)
        print(f"Exported {VERSION_FOLDER / name}")


if __name__ == "__main__":
    main()
