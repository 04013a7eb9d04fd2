"""Which networks are measured, and with what."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindspore_serving.lite.installation import find_library

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_SHARE = 1e-3
"""Part of the largest score that a score near zero may be off: sums are added up in another order per batch size."""


@dataclass(frozen=True)
class Network:
    """One network of an example.

    Attributes:
        name: How files and tables call it.
        example: Folder of the example.
        network: Its class there.
        shape: Of an instance.
        batches: Batch sizes to choose the best from.
        instances: Instances that differ from each other.
        least_seconds: Shortest turn, for some tens of batches.
    """

    name: str
    example: str
    network: str
    shape: tuple[int, ...]
    batches: tuple[int, ...]
    instances: int
    least_seconds: float


NETWORKS = (
    Network("LeNet-5", "lenet", "LeNet5", (1, 32, 32), (1, 2, 4, 8, 16, 32), 64, 1.0),
    Network("ResNet-50", "resnet", "ResNet50", (3, 224, 224), (1, 2, 4, 8, 16, 32), 32, 6.0),
)


@dataclass(frozen=True)
class Format:
    """One way to run a network: a library, and the files that it reads.

    Attributes:
        name: Of the library, as tables show it.
        model_format: For `declare_model`.
        file: Name of the model's file, with the network's name and the batch size.
        package: What is to be installed for it.
    """

    name: str
    model_format: str
    file: str
    package: str

    @property
    def is_there(self) -> bool:
        """Whether its library can run models here."""
        if self.package == "mindspore_lite":
            return find_library() is not None
        return importlib.util.find_spec(self.package) is not None

    def path(self, folder: Path, network: Network, rows: int) -> Path:
        """The file of a network for a batch size."""
        return folder / self.file.format(network=network.name, rows=rows)


MINDIR = Format("MindSpore", "MindIR", "{network}_{rows}.mindir", "mindspore")
FORMATS = (
    MINDIR,
    Format("MindSpore Lite", "MindIR_Lite", "{network}.lite.mindir", "mindspore_lite"),
    Format("ONNX Runtime", "ONNX", "{network}.onnx", "onnxruntime"),
    Format("Paddle Inference", "Paddle", "{network}.json", "paddle"),
)


@dataclass(frozen=True)
class Samples:
    """Instances of a network, and its scores for them.

    Attributes:
        x: float32 [N, ...].
        expected: float32 [N, classes].
    """

    x: np.ndarray
    expected: np.ndarray

    @classmethod
    def load(cls, folder: Path, network: Network) -> Samples:
        """Read what `models_export` wrote."""
        known = np.load(folder / f"{network.name}.npz")
        return cls(known["x"], known["expected"])

    def are_right(self, scores: np.ndarray, rows: slice) -> bool:
        """Whether these are the scores of these instances, and not those of others."""
        expected = self.expected[rows]
        if scores.shape != expected.shape:
            return False
        largest = float(np.abs(self.expected).max())
        return bool(np.allclose(scores, expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_SHARE * largest))
