"""Exports the models of these tests. Run as a script, because exporting compiles graphs: export_models.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, mint, nn, ops

DTYPES = ["bool", "float16", "float32", "float64"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


class Add(nn.Cell):
    def construct(self, x, y):
        return x + y


class Subtract(nn.Cell):
    def construct(self, x, y):
        return x - y


class Twice(nn.Cell):
    """The same twice: once as it came in, once computed."""

    def construct(self, x):
        return x, ops.concat((x, x), -1)


class Nested(nn.Cell):
    def construct(self, x):
        return x + 1, (x * 2, [x * 3, x > 0])


class Views(nn.Cell):
    """Parts of the input that do not lie in one piece, or not at its beginning."""

    def construct(self, x):
        return mint.transpose(x, 0, 1), mint.narrow(x, 1, 1, 2), mint.broadcast_to(x[:1], (4, 6)), x.T + 1


class Shapes(nn.Cell):
    """Outputs of 2, 1 and 0 dimensions from inputs of 2, 2 and 0 dimensions."""

    def construct(self, x, weights, factor):
        product = ops.matmul(x, weights) * factor
        return product, product.sum(-1), product.sum()


class Scaled(nn.Cell):
    """A batch, and two inputs without a batch dimension."""

    def construct(self, x, scale, shift):
        return x * scale + shift


class Constant(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weights = Parameter(Tensor(np.full((2, 2), 7, np.float32)))
        self.table = Tensor(np.arange(3, dtype=np.float32))
        self.large = Parameter(Tensor(np.full((256, 256), 5, np.float32)))

    def construct(self, x):
        return x + 1, self.weights, self.table, self.large


class Lookup(nn.Cell):
    """Fails for an index outside of its table."""

    def __init__(self):
        super().__init__()
        self.table = Tensor(np.arange(8, dtype=np.float32).reshape(4, 2))

    def construct(self, index):
        return ops.gather(self.table, index, 0)


class Counter(nn.Cell):
    """Gives something else at every run."""

    def __init__(self):
        super().__init__()
        self.runs = Parameter(Tensor(np.zeros((1,), np.float32)), name="runs")

    def construct(self, x):
        return x + ops.assign_add(self.runs, Tensor([1.0], ms.float32))


class CountedLookup(nn.Cell):
    """Counts its runs, and fails for an index outside of its table."""

    def __init__(self):
        super().__init__()
        self.runs = Parameter(Tensor(np.zeros((1,), np.float32)), name="runs")
        self.table = Tensor(np.arange(8, dtype=np.float32).reshape(4, 2))

    def construct(self, index):
        return ops.gather(self.table, index, 0), ops.assign_add(self.runs, Tensor([1.0], ms.float32))


class Drawn(nn.Cell):
    """Random numbers, the same after every start."""

    def construct(self, x):
        return x + ops.StandardNormal(seed=3, seed2=4)((2,))


class Table(nn.Cell):
    """Without inputs."""

    def __init__(self):
        super().__init__()
        self.table = Parameter(Tensor(np.arange(6, dtype=np.float32)), name="table")

    def construct(self):
        return self.table + 1


class Flatten(nn.Cell):
    """An output whose first dimension is not the batch."""

    def construct(self, x):
        return x.reshape((-1,))


class MeanEmbedding(nn.Cell):
    """A vector for each number, and their mean, over sequences of any length."""

    def __init__(self):
        super().__init__()
        self.table = Parameter(Tensor(np.random.default_rng(4).random((50, 8), np.float32)), name="table")
        self.dense = nn.Dense(8, 4)

    def construct(self, words):
        vectors = ops.gather(self.table, words, 0)
        return self.dense(vectors.mean(1)), vectors


class Bag(nn.Cell):
    """The mean of one sequence, without a batch."""

    def construct(self, x):
        return x.mean()


class Tiles(nn.Cell):
    """Means of parts of a picture, which must be larger than a part."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(20, 20)

    def construct(self, picture):
        return self.pool(picture)


class LeNet5(nn.Cell):
    def __init__(self):
        super().__init__()
        self.body = nn.SequentialCell(
            nn.Conv2d(1, 6, 5, pad_mode="valid"),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 16, 5, pad_mode="valid"),
            nn.ReLU(),
            nn.MaxPool2d(2, 2),
            nn.Flatten(),
            nn.Dense(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Dense(120, 84),
            nn.ReLU(),
            nn.Dense(84, 10),
        )

    def construct(self, x):
        return self.body(x)


def ones(*shape, dtype=np.float32):
    return Tensor(np.ones(shape, dtype))


def dynamic(*shape, dtype=ms.float32):
    return Tensor(shape=list(shape), dtype=dtype)


def export_all(folder):
    def export(name, net, *inputs, **options):
        ms.export(net, *inputs, file_name=str(folder / name), file_format="MINDIR", **options)

    export("add", Add(), ones(2, 2), ones(2, 2))
    export("add_dynamic", Add(), dynamic(None, 2), dynamic(None, 2))
    export("subtract_dynamic", Subtract(), dynamic(None, 2), dynamic(None, 2))
    for name in DTYPES:
        export(f"twice_{name}", Twice(), ones(2, 2, dtype=name))
    export("twice_dynamic", Twice(), dynamic(None, 2))
    export("bfloat16", Add(), Tensor(np.ones((2, 2)), ms.bfloat16), Tensor(np.ones((2, 2)), ms.bfloat16))
    export("nested", Nested(), ones(2, 2))
    export("views", Views(), ones(4, 6))
    export("shapes", Shapes(), ones(2, 3), ones(3, 4), Tensor(np.float32(2)))
    export("scaled_dynamic", Scaled(), dynamic(None, 2), ones(2), Tensor(np.float32(1)))
    export("all_dynamic", Scaled(), dynamic(None, 2), dynamic(None, 2), Tensor(np.float32(1)))
    export("constant", Constant(), ones(2, 2))
    export("lookup", Lookup(), ones(2, dtype=np.int32))
    export("counter_dynamic", Counter(), dynamic(None, 2))
    export("counted_lookup", CountedLookup(), ones(2, dtype=np.int32))
    export("drawn", Drawn(), ones(2, 2))
    export("table", Table())
    export("flatten_dynamic", Flatten(), dynamic(None, 2))
    export("second_dimension_dynamic", Add(), dynamic(2, None), dynamic(2, None))
    export("rank_dynamic", Add(), Tensor(shape=None, dtype=ms.float32), Tensor(shape=None, dtype=ms.float32))
    export("both_dimensions_dynamic", Add(), dynamic(None, None), dynamic(None, None))
    export("bag", Bag(), dynamic(None))
    export("tiles", Tiles(), dynamic(None, 1, None, None))
    export("encrypted", Add(), ones(2, 2), ones(2, 2), enc_key=b"0123456789ABCDEF", enc_mode="AES-GCM")
    ms.set_seed(1)
    lenet = LeNet5().set_train(False)
    images = np.random.default_rng(1).random((32, 1, 32, 32), np.float32)
    export("lenet_dynamic", lenet, dynamic(None, 1, 32, 32))
    export("lenet_batch_32", lenet, Tensor(images))
    np.savez(folder / "lenet.npz", images=images, scores=lenet(Tensor(images)).asnumpy())
    sentences = MeanEmbedding().set_train(False)
    export("sentences", sentences, dynamic(None, None, dtype=ms.int32))
    np.savez(folder / "sentences.npz", **scores_of(sentences))


def scores_of(sentences):
    """By its length, what MindSpore gives for a sentence alone: `words_{n}` and `scores_{n}`."""
    known = {}
    for length in range(1, 41, 4):
        words = np.random.default_rng(length).integers(0, 50, length).astype(np.int32)
        known[f"words_{length}"] = words
        known[f"scores_{length}"] = sentences(Tensor(words[np.newaxis]))[0].asnumpy()[0]
    return known


if __name__ == "__main__":
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    export_all(Path(sys.argv[1]))
