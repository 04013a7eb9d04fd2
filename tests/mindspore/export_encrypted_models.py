"""Exports encrypted models. Run as a script, because exporting compiles graphs: export_encrypted_models.py FOLDER KEY.

KEY has 64 hexadecimal digits; the first bytes of it are the shorter keys.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

LARGE_ROWS = 4_250_000
"""Rows of 16 bytes: a little more than the 64 MiB of a block."""


class Add(nn.Cell):
    def construct(self, x, y):
        return x + y


class Shift(nn.Cell):
    def __init__(self, weights):
        super().__init__()
        self.weights = Parameter(Tensor(weights))

    def construct(self, x):
        return x + self.weights[-1]


def export_all(folder, key):
    def export(name, net, *inputs, mode="", length=16):
        options = {"enc_key": key[:length], "enc_mode": mode} if mode else {}
        ms.export(net, *inputs, file_name=str(folder / name), file_format="MINDIR", **options)

    one = Tensor(np.ones((2, 2), np.float32))
    any_rows = Tensor(shape=[None, 2], dtype=ms.float32)
    weights = np.arange(LARGE_ROWS * 4, dtype=np.float32).reshape(LARGE_ROWS, 4)
    large = Shift(weights)
    for mode in ("AES-GCM", "AES-CBC"):
        for length in (16, 24, 32):
            export(f"{mode}_{length}", Add(), one, one, mode=mode, length=length)
        export(f"{mode}_dynamic", Add(), any_rows, any_rows, mode=mode)
        export(f"{mode}_large", large, Tensor(np.ones((1, 4), np.float32)), mode=mode)
    export("SM4-CBC", Add(), one, one, mode="SM4-CBC")
    export("plain", Add(), one, one)
    secret = Shift(np.random.default_rng(1).random((64, 4), np.float32))
    export("secret", secret, Tensor(np.ones((1, 4), np.float32)))


if __name__ == "__main__":
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    export_all(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
