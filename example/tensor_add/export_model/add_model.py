"""Export a network that adds two 2x2 matrices to ../add/1/tensor_add.mindir; with --lite to ../lite/add/1/."""

import argparse
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from mindspore_serving.lite.convert import convert

MODEL_FILE = Path(__file__).resolve().parents[1] / "add" / "1" / "tensor_add.mindir"
LITE_MODEL_FILE = Path(__file__).resolve().parents[1] / "lite" / "add" / "1" / "tensor_add.mindir"


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def export_for_lite(network, inputs, model_file):
    """Write a MindIR file that MindSpore Lite reads, by way of ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "model.onnx"
        ms.onnx.export(network, *inputs, file_name=str(onnx_file))
        convert(onnx_file, model_file)
    print(f"Exported {model_file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lite", action="store_true", help="export for MindSpore Lite")
    lite = parser.parse_args().lite
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    x = Tensor(np.ones((2, 2), np.float32))
    if lite:
        export_for_lite(Add(), (x, x), LITE_MODEL_FILE)
    else:
        export(Add(), (x, x), MODEL_FILE)


if __name__ == "__main__":
    main()
