"""Servable `joiner`: finds the object in an image, and tells what it is, with the methods of two other servables."""

import numpy as np

from mindspore_serving.server import register

SIZE = 16
"""What the classifier takes."""


def cut_out(image, box):
    """The part of the image in the box, as SIZE x SIZE pixels."""
    top, left, bottom, right = box
    rows = np.linspace(top, bottom - 1, SIZE).round().astype(int)
    columns = np.linspace(left, right - 1, SIZE).round().astype(int)
    return image[np.ix_(rows, columns)]


def sentence(label, score, brightness):
    return f"a {'bright' if brightness > 0.6 else 'dark'} {label}, {score:.0%} sure"


@register.register_method(output_names=["text", "label", "box"])
def describe(image):
    """What is on an image of one object."""
    box = register.call("detector", "detect", image)
    small = register.add_stage(cut_out, image, box, outputs_count=1)
    # These two need nothing of each other: they run at the same time.
    label, score = register.call("classifier", "predict", small, outputs_count=2)
    brightness = register.call("classifier", "brightness", small)
    # This one needs both.
    text = register.add_stage(sentence, label, score, brightness, outputs_count=1)
    return text, label, box
