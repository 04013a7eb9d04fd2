"""Export a network that adds two 2x2 matrices to ../add/1/tensor_add.mindir, encrypted with the key of ../model.key."""

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

FOLDER = Path(__file__).resolve().parents[1]
MODEL_FILE = FOLDER / "add" / "1" / "tensor_add.mindir"
KEY_FILE = FOLDER / "model.key"


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


def export(network, inputs, model_file, key):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(
        network, *inputs, file_name=str(unfinished), file_format="MINDIR", enc_key=key, enc_mode="AES-GCM"
    )
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}, encrypted")


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    x = Tensor(np.ones((2, 2), np.float32))
    export(Add(), (x, x), MODEL_FILE, KEY_FILE.read_bytes())


if __name__ == "__main__":
    main()
