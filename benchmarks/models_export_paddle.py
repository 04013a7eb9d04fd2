"""Builds LeNet-5 and ResNet-50 with Paddle, with the weights of `models_export`: `models_export_paddle.py FOLDER`.

The layers follow each other as in the examples' networks, so that the weights fit in order. Written are `NAME.json` and
`NAME.pdiparams`, for any batch size.
"""

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.models_plan import NETWORKS

BLOCKS_OF_STAGES = (3, 4, 6, 3)


def lenet():
    """LeNet-5."""
    return nn.Sequential(
        nn.Conv2D(1, 6, 5, bias_attr=False),
        nn.ReLU(),
        nn.MaxPool2D(2, 2),
        nn.Conv2D(6, 16, 5, bias_attr=False),
        nn.ReLU(),
        nn.MaxPool2D(2, 2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def convolution(inputs, outputs, kernel, stride=1):
    """A convolution and its normalisation."""
    return (
        nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, bias_attr=False),
        nn.BatchNorm2D(outputs),
    )


class Bottleneck(nn.Layer):
    """A block of ResNet-50."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.residual = nn.Sequential(
            *convolution(inputs, width, 1),
            nn.ReLU(),
            *convolution(width, width, 3, stride),
            nn.ReLU(),
            *convolution(width, 4 * width, 1),
        )
        same = inputs == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, 4 * width, 1, stride))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.residual(x) + self.shortcut(x))


def resnet():
    """ResNet-50. What it pools is not below zero, so that zeros pad as nothing would."""
    blocks, inputs, width = [], 64, 64
    for index, count in enumerate(BLOCKS_OF_STAGES):
        for block in range(count):
            blocks.append(Bottleneck(inputs, width, 2 if index and block == 0 else 1))
            inputs = 4 * width
        width *= 2
    return nn.Sequential(
        *convolution(3, 64, 7, 2),
        nn.ReLU(),
        nn.Pad2D([0, 1, 0, 1]),
        nn.MaxPool2D(3, 2),
        *blocks,
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        nn.Linear(inputs, 1000),
    )


def tensors_of(network):
    """The weights of all layers in order, and whether each lies the other way round than in MindSpore."""
    for layer in network.sublayers():
        if isinstance(layer, nn.Conv2D):
            yield layer.weight, False
        elif isinstance(layer, nn.BatchNorm2D):
            for tensor in (layer.weight, layer.bias, layer._mean, layer._variance):
                yield tensor, False
        elif isinstance(layer, nn.Linear):
            yield layer.weight, True
            yield layer.bias, False


def main():
    folder = Path(sys.argv[1])
    paddle.set_device("cpu")
    for plan, make in zip(NETWORKS, (lenet, resnet), strict=True):
        network = make()
        network.eval()
        known = np.load(folder / f"{plan.name}_weights.npz")
        for (tensor, turned), name in zip(tensors_of(network), known.files, strict=True):
            tensor.set_value(known[name].T if turned else known[name])
        paddle.jit.save(
            network, str(folder / plan.name), input_spec=[InputSpec([None, *plan.shape], "float32", "x")]
        )


if __name__ == "__main__":
    main()
