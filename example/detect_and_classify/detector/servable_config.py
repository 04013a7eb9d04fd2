"""Servable `detector`: finds the object in an image, with NumPy."""

import numpy as np

from mindspore_serving.server import register

BACKGROUND = 0.1
"""Pixels of an object are brighter."""


def bounding_box(image):
    rows, columns = np.nonzero(image > BACKGROUND)
    if not rows.size:
        raise register.InvalidInput("there is no object in the image")
    return np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1], np.int32)


@register.register_method(
    output_names=["box"],
    inputs={"image": register.TensorSpec("float32", [-1, -1])},
    outputs={"box": register.TensorSpec("int32", [4])},
    examples=[{"image": np.ones([8, 8], np.float32)}],
)
def detect(image):
    """The box of the object: top, left, bottom, right."""
    return register.add_stage(bounding_box, image, outputs_count=1)
