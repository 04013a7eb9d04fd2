"""Train LeNet-5 on the digits of scikit-learn, in seconds, and export it to ../lenet/1/, or ../lite/lenet/1/."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

# Where the CPU has AVX-512, convolutions are a hundred times slower without this. To be set before the import.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mindspore as ms
import numpy as np
from digits import held_out_set, training_set
from lenet.preprocess import image_to_input
from mindspore import Tensor, nn
from network import LeNet5
from tqdm import tqdm

from mindspore_serving.lite.convert import convert

MODEL_FILE = Path(__file__).resolve().parents[1] / "lenet" / "1" / "lenet.mindir"
LITE_MODEL_FILE = Path(__file__).resolve().parents[1] / "lite" / "lenet" / "1" / "lenet.mindir"
BATCH_SIZE = 32
EPOCHS = 8
SEED = 1


def train(network, x, labels):
    optimizer = nn.AdamWeightDecay(network.trainable_params(), learning_rate=2e-3)
    step = nn.TrainOneStepCell(nn.WithLossCell(network, nn.CrossEntropyLoss()), optimizer).set_train()
    shuffle = np.random.default_rng(SEED)
    epochs = tqdm(range(EPOCHS), "Training LeNet", unit="epoch")
    for _ in epochs:
        order = shuffle.permutation(len(x))
        losses = [step(Tensor(x[batch]), Tensor(labels[batch])).asnumpy() for batch in full_batches(order)]
        epochs.set_postfix(loss=f"{np.mean(losses):.4f}")
    network.set_train(False)


def full_batches(order):
    """The graph is compiled for one batch size: what is left over waits for the next epoch."""
    return order[: len(order) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE)


def accuracy(network, x, labels):
    hits = 0
    for start in range(0, len(x), BATCH_SIZE):
        batch, expected = x[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]
        scores = network(Tensor(np.resize(batch, (BATCH_SIZE, *batch.shape[1:])))).asnumpy()
        hits += int((scores[: len(batch)].argmax(-1) == expected).sum())
    return hits / len(x)


def export(network, inputs, model_file):
    """Write a MindIR file under its name once it is complete. MindSpore makes files that cannot be overwritten."""
    unfinished = model_file.with_name("unfinished.mindir")
    model_file.parent.mkdir(parents=True, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    ms.export(network, *inputs, file_name=str(unfinished), file_format="MINDIR")
    unfinished.chmod(0o644)
    unfinished.replace(model_file)
    print(f"Exported {model_file}")


def export_for_lite(network, inputs, model_file):
    """Write a MindIR file that MindSpore Lite reads, by way of ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "model.onnx"
        ms.onnx.export(network, *inputs, file_name=str(onnx_file))
        convert(onnx_file, model_file)
    print(f"Exported {model_file}")


def as_arrays(images, labels):
    return np.stack([image_to_input(image) for image in images]), labels.astype(np.int32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lite", action="store_true", help="export for MindSpore Lite")
    lite = parser.parse_args().lite
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    ms.set_seed(SEED)
    network = LeNet5()
    train(network, *as_arrays(*training_set()))
    held_out, labels = as_arrays(*held_out_set())
    print(f"Accuracy on {len(labels)} held-out images: {accuracy(network, held_out, labels):.3f}")
    sample = (Tensor(held_out[:BATCH_SIZE]),)
    if lite:
        export_for_lite(network, sample, LITE_MODEL_FILE)
    else:
        export(network, sample, MODEL_FILE)


if __name__ == "__main__":
    main()
