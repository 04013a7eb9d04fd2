"""Servable `classifier`: tells what is on a small image, by comparing it with a pattern of each class."""

import numpy as np

from mindspore_serving.server import register

SIZE = 16
"""Images have SIZE x SIZE pixels."""
_AXIS = np.linspace(-1, 1, SIZE)
_X, _Y = np.meshgrid(_AXIS, _AXIS)
NAMES = ("square", "disc", "cross")
_PATTERNS = np.stack(
    [
        np.ones([SIZE, SIZE], bool),
        _X**2 + _Y**2 <= 1,
        (np.abs(_X) < 0.34) | (np.abs(_Y) < 0.34),
    ]
)


def classify(instances):
    """One call for a batch of images, which may come from many requests."""
    images = np.stack([image for (image,) in instances])
    patterns = _PATTERNS[None]
    alike = ((images[:, None] > 0.1) == patterns).mean(axis=(2, 3))
    best = alike.argmax(axis=1)
    return [(NAMES[index], np.float32(row[index])) for index, row in zip(best, alike, strict=True)]


def mean_of_object(image):
    return np.float32(image[image > 0.1].mean())


SMALL_IMAGE = {"image": register.TensorSpec("float32", [SIZE, SIZE])}


@register.register_method(output_names=["label", "score"], inputs=SMALL_IMAGE)
def predict(image):
    """The class of the image, and which share of its pixels are as in the pattern of that class."""
    return register.add_stage(classify, image, outputs_count=2, batch_size=32)


@register.register_method(output_names=["brightness"], inputs=SMALL_IMAGE)
def brightness(image):
    """The mean of the pixels that belong to the object."""
    return register.add_stage(mean_of_object, image, outputs_count=1)
