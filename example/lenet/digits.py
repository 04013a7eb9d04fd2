"""Handwritten digits of scikit-learn: some to train with, and some, held out, to try what was learned."""

import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT = 360


def training_set():
    """1437 PNG files (bytes) and their labels."""
    images, _, labels, _ = _split()
    return images, labels


def held_out_set():
    """360 PNG files (bytes) and their labels; none of them is in the training set."""
    _, images, _, labels = _split()
    return images, labels


def _split():
    digits = load_digits()
    pngs = [_as_png(image) for image in digits.images]
    return train_test_split(pngs, digits.target, test_size=HELD_OUT, random_state=0, stratify=digits.target)


def _as_png(image):
    """8x8 grey values from 0 to 16 as an 8x8 PNG file."""
    file = io.BytesIO()
    Image.fromarray((image * (255 / 16)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
