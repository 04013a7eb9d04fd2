"""Exports a model that tells the size of the batch that it ran in: `batching_export.py TARGET.mindir`.

y = x1 + x2 over float32 instances of shape [2, 2], any number of them, and for each of them that number.
"""

import sys
from pathlib import Path

import mindspore as ms
from mindspore import ops


class CountedAdd(ms.nn.Cell):
    """The sum, and the number of rows, once per row."""

    def construct(self, x1, x2):
        ones = ops.ones_like(x1[:, :1, 0])  # [N, 1]
        return x1 + x2, ones * ones.sum()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    sample = ms.Tensor(shape=[None, 2, 2], dtype=ms.float32)
    ms.export(CountedAdd(), sample, sample, file_name=str(target.with_suffix("")), file_format="MINDIR")
