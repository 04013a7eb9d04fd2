"""From an image file to what the model takes; the training uses the same function as the server."""

import io

import numpy as np
from PIL import Image

SIZE = (32, 32)


def image_to_input(image):
    """An image file of any format that Pillow reads, as float32 [1, 32, 32] from 0 (black) to 1 (white)."""
    with Image.open(io.BytesIO(image)) as picture:
        resized = picture.convert("L").resize(SIZE, Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[np.newaxis] / 255
