"""Exports the part of one rank of the distributed tests: export_sharded_models.py FOLDER RANK RANKS SCHEDULER."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from mindspore_serving.server.backend.mindspore.ranks import join_ranks

WIDTH = 8
KEY = bytes(range(100, 124))


def main(folder: Path, rank: int, ranks: int, scheduler: str) -> None:
    join_ranks(
        device_type="cpu",
        device_id=0,
        rank_id=rank,
        rank_size=ranks,
        ip="127.0.0.1",
        scheduler=scheduler,
        rank_table_file=None,
    )
    import mindspore as ms
    from mindspore import Tensor, nn, ops

    class Lookup(nn.Cell):
        """The sum over all ranks of what each has in its table; fails for an index outside of it."""

        def __init__(self, rows: int) -> None:
            super().__init__()
            self.table = Tensor(np.arange(rows, dtype=np.float32) + 100 * rank)
            self.sum = ops.AllReduce()

        def construct(self, index):
            return self.sum(ops.gather(self.table, index, 0))

    class Product(nn.Cell):
        """x @ weight for any number of rows; this rank holds some columns of the weight, and all gather them."""

        def __init__(self) -> None:
            super().__init__()
            columns = WIDTH // ranks
            weight = np.arange(WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH) / 64
            self.weight = Tensor(weight[:, rank * columns : (rank + 1) * columns].copy())
            self.gather = ops.AllGather()

        def construct(self, x):
            return self.gather(ops.matmul(x, self.weight).swapaxes(0, 1)).swapaxes(0, 1)

    index = Tensor(np.zeros(2, np.int32))
    rows = {"even": 8, "uneven": 4 if rank == 0 else 8}
    for name, count in rows.items():
        ms.export(Lookup(count), index, file_name=str(folder / f"{name}{rank}"), file_format="MINDIR")
    x = Tensor(shape=[None, WIDTH], dtype=ms.float32)
    name = str(folder / f"product{rank}")
    ms.export(Product(), x, file_name=name, file_format="MINDIR", enc_key=KEY, enc_mode="AES-CBC")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    os._exit(0)  # MindSpore's clean-up crashes now and then where ranks end at different times
