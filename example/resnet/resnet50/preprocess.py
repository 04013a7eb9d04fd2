"""From an image file to what the model takes."""

import io

import numpy as np
from PIL import Image, ImageOps

SIZE = (224, 224)
FORMATS = ("JPEG", "PNG")
# Of the images of ImageNet, per channel, for values from 0 to 1.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def image_to_input(image):
    """A PNG or JPEG file (bytes) as float32 [3, 224, 224]: resized, cropped to a square, and normalised.

    Raises:
        ValueError: It is no such file, or it is damaged.
    """
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as picture:
            square = ImageOps.fit(picture.convert("RGB"), SIZE, Image.Resampling.BILINEAR)
    except Image.UnidentifiedImageError as cause:
        reason = f"{len(image)} bytes that are no valid PNG or JPEG file"
        raise ValueError(f"the image cannot be decoded: {reason}") from cause
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as cause:  # what Pillow raises
        raise ValueError(f"the image cannot be decoded: {cause}") from cause
    return ((np.asarray(square, np.float32) / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)
