"""Exports the model of the soak test, in a process of its own: `export_model.py FILE`."""

import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn


class Add(nn.Cell):
    def construct(self, x1, x2):
        return x1 + x2


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    x = Tensor(np.ones((2, 2)), ms.float32)
    ms.export(Add(), x, x, file_name=sys.argv[1], file_format="MINDIR")


if __name__ == "__main__":
    main()
