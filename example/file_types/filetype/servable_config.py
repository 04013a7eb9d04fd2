"""Servable `filetype`: what kind of file some bytes are, told by their content and not by a name."""

import json
from pathlib import Path

import numpy as np

from mindspore_serving.server import register

VERSION_FOLDER = Path(__file__).parent / "1"
SETTINGS = json.loads((VERSION_FOLDER / "settings.json").read_text())
LABELS, THRESHOLDS = SETTINGS["target_labels_space"], SETTINGS["thresholds"]
TYPES = json.loads((VERSION_FOLDER / "types.json").read_text())

# Files of all clients run together, whatever their size: the model looks at the beginning and at the end.
model = register.declare_model("filetype.onnx", "ONNX", with_batch_dim=True, max_batch_size=64)


def ends_of(content):
    """The first and the last 1024 bytes without blanks around them, filled up with 256: int32 [2048].

    Raises:
        register.InvalidInput: There are too few bytes to tell anything.
    """
    if len(content) < SETTINGS["min_file_size_for_dl"]:
        raise register.InvalidInput(f"content has {len(content)} bytes, expected 8 or more")
    block = SETTINGS["block_size"]
    begin = content[:block].tobytes().lstrip()[: SETTINGS["beg_size"]]
    end = content[-block:].tobytes().rstrip()[-SETTINGS["end_size"] :]
    ends = np.full(SETTINGS["beg_size"] + SETTINGS["end_size"], SETTINGS["padding_token"], np.int32)
    ends[: len(begin)] = np.frombuffer(begin, np.uint8)
    ends[len(ends) - len(end) :] = np.frombuffer(end, np.uint8)
    return ends


def to_type(probabilities):
    """Label, media type and probability; `unknown` where the model is not sure enough."""
    best = int(probabilities.argmax())
    label = LABELS[best]
    if probabilities[best] < THRESHOLDS.get(label, SETTINGS["medium_confidence_threshold"]):
        return "unknown", "application/octet-stream", probabilities[best]
    return label, TYPES[label]["mime_type"] or "application/octet-stream", probabilities[best]


@register.register_method(
    output_names=["label", "media_type", "probability"],
    inputs={"content": register.Bytes("a file, or its first and last 4096 bytes")},
    outputs={
        "label": register.Text(),
        "media_type": register.Text(),
        "probability": register.TensorSpec("float32", []),
    },
    examples=[{"content": b"import sys\n\nprint(sys.version)\n"}],
)
def identify(content):
    """What kind of file it is."""
    ends = register.add_stage(ends_of, content, outputs_count=1)
    probabilities = register.add_stage(model, ends, outputs_count=1)
    return register.add_stage(to_type, probabilities, outputs_count=3)
