"""Exports y = x1 + x2 over float32 instances of shape [2, 2], any number of them: `export_add.py TARGET.mindir`."""

import sys
from pathlib import Path

import mindspore as ms


class Add(ms.nn.Cell):
    """The sum of two tensors."""

    def construct(self, x1, x2):
        return x1 + x2


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    sample = ms.Tensor(shape=[None, 2, 2], dtype=ms.float32)
    ms.export(Add(), sample, sample, file_name=str(target.with_suffix("")), file_format="MINDIR")
