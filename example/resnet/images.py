"""Pictures to classify, drawn here: the same at every call."""

import io

import numpy as np
from PIL import Image, ImageDraw


def sample_images():
    """Name and file content of six pictures that differ in what they show, in size and in mode."""
    return {
        "sun.png": _as_file(_sun(), "PNG"),
        "chessboard.png": _as_file(_chessboard(), "PNG"),
        "rainbow.jpg": _as_file(_rainbow(), "JPEG"),
        "noise.jpg": _as_file(_noise(), "JPEG"),
        "window.png": _as_file(_window(), "PNG"),
        "rings.jpg": _as_file(_rings(), "JPEG"),
    }


def _sun():
    picture = Image.new("RGB", (320, 240), "navy")
    ImageDraw.Draw(picture).ellipse((100, 60, 220, 180), fill="gold")
    return picture


def _chessboard():
    """Grey values only."""
    rows, columns = np.indices((256, 256)) // 32
    return Image.fromarray(((rows + columns) % 2 * 255).astype(np.uint8))


def _rainbow():
    hue = np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))
    full = np.full_like(hue, 255)
    return Image.merge("HSV", [Image.fromarray(band) for band in (hue, full, full)]).convert("RGB")


def _noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (180, 180, 3)).astype(np.uint8))


def _window():
    """Half transparent."""
    picture = Image.new("RGBA", (200, 300), (255, 255, 255, 128))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((20, 20, 180, 280), outline="brown", width=12)
    draw.line((100, 20, 100, 280), fill="brown", width=12)
    draw.line((20, 150, 180, 150), fill="brown", width=12)
    return picture


def _rings():
    picture = Image.new("RGB", (500, 500), "white")
    draw = ImageDraw.Draw(picture)
    for radius in range(240, 0, -24):
        draw.ellipse((250 - radius, 250 - radius, 250 + radius, 250 + radius), outline="darkgreen", width=8)
    return picture


def _as_file(picture, image_format):
    file = io.BytesIO()
    picture.save(file, image_format)
    return file.getvalue()
