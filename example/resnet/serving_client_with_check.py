"""Compare what the server says about the pictures with what MindSpore computes here from the exported file."""

import argparse
import os
import sys
from pathlib import Path

# Where the CPU has AVX-512, convolutions are a hundred times slower without this. To be set before the import.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

import mindspore as ms
import numpy as np
from images import sample_images
from mindspore import Tensor, nn
from resnet50.preprocess import image_to_input
from serving_client import METHODS, infer, labels_of

MODEL_FILE = Path(__file__).resolve().parent / "resnet50" / "1" / "resnet50.mindir"
BATCH_SIZE = 4
TOP = 5
TOLERANCE = 1e-3


def compute(images):
    """Probabilities [N, 1000], without the server."""
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    network = nn.GraphCell(ms.load(str(MODEL_FILE)))
    x = np.stack([image_to_input(image) for image in images])
    scores = []
    for start in range(0, len(x), BATCH_SIZE):
        batch = x[start : start + BATCH_SIZE]
        full = np.resize(batch, (BATCH_SIZE, *batch.shape[1:]))
        scores.append(network(Tensor(full)).asnumpy()[: len(batch)])
    exponentials = np.exp(np.concatenate(scores))
    return exponentials / exponentials.sum(-1, keepdims=True)


def check_labels(method, results, probabilities):
    expected = [f"class {index}" for index in probabilities.argmax(-1)]
    if labels_of(results) != expected:
        sys.exit(f"{method}: {labels_of(results)} instead of {expected}")
    print(f"{method}: right")


def check_top5(results, probabilities):
    """Labels of the five most probable classes, in order, and their probabilities."""
    for result, of_image in zip(results, probabilities, strict=True):
        best = np.argsort(-of_image)[:TOP]
        if result["label"] != ";".join(f"class {index}" for index in best):
            sys.exit(f"Wrong labels: {result}, the best classes are {best}")
        if not np.allclose(result["score"], of_image[best], rtol=TOLERANCE, atol=0):
            sys.exit(f"Wrong scores: {result['score']} instead of {of_image[best]}")
        print(" ".join(f"{score:.3f}" for score in result["score"]), result["label"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--grpc",
        metavar="ADDRESS",
        default="127.0.0.1:5500",
        help="of the gRPC server, ip:port or unix:path (default: %(default)s)",
    )
    arguments = parser.parse_args()
    images = list(sample_images().values())
    probabilities = compute(images)
    for method in METHODS:
        results = infer(arguments.grpc, method, images)
        check_labels(method, results, probabilities)
    check_top5(results, probabilities)


if __name__ == "__main__":
    main()
