"""Make a ResNet-50 with random weights, the same at every run, and export it to ../resnet50/1/resnet50.mindir."""

import math
import os
import sys
from pathlib import Path

# Where the CPU has AVX-512, convolutions are a hundred times slower without this. To be set before the import.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mindspore as ms
import numpy as np
from images import sample_images
from mindspore import Tensor
from network import ResNet50
from resnet50.preprocess import image_to_input

MODEL_FILE = Path(__file__).resolve().parents[1] / "resnet50" / "1" / "resnet50.mindir"
BATCH_SIZE = 4
SEED = 1
SCORE_DEVIATION = 2.0


def set_random_weights(network):
    """Normally distributed, so that values neither grow nor shrink from layer to layer."""
    random = np.random.default_rng(SEED)
    for _, cell in network.cells_and_names():
        weight = getattr(cell, "weight", None)
        if weight is not None:
            deviation = math.sqrt(2 / math.prod(weight.shape[1:]))
            weight.set_data(Tensor(random.standard_normal(weight.shape, np.float32) * np.float32(deviation)))


def spread_scores(network, x):
    """Let each class have the mean score 0 over some images; without that, one class would win for all images."""
    network.set_train(False)
    scores = network(Tensor(x)).asnumpy()
    centred = scores - scores.mean(0)
    factor = SCORE_DEVIATION / centred.std()
    network.classifier.weight.set_data(network.classifier.weight * factor)
    network.classifier.bias.set_data(Tensor(-scores.mean(0) * factor))


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def main():
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    x = np.stack([image_to_input(image) for image in sample_images().values()])
    network = ResNet50()
    set_random_weights(network)
    spread_scores(network, x)
    export(network, (Tensor(x[:BATCH_SIZE]),), MODEL_FILE)


if __name__ == "__main__":
    main()
