"""What tests of the console, and its pictures, have in common: a servable, a picture to send, and a browser."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""The browser that is installed; None for none."""
INSTALL = "chromium is not installed: apt-get install -y chromium"
SERVABLE = '''\
import io
import time

import numpy as np
from PIL import Image

from mindspore_serving.server import register

MATRIX = register.TensorSpec("float32", [2, -1], "A matrix of two rows.")


def add(x1, x2):
    time.sleep(0.004)
    return x1 + x2


def size_of(image):
    picture = Image.open(io.BytesIO(image.tobytes()))
    return f"{picture.format} {picture.width}x{picture.height}"


def greet(name, times, loud):
    text = " ".join([f"Hello {name}!"] * int(times))
    return text.upper() if loud else text


@register.register_method(
    output_names=["y"],
    inputs={"x1": MATRIX, "x2": MATRIX},
    outputs={"y": MATRIX},
    examples=[{"x1": [[1.0, 2.5], [3.0, 4.0]], "x2": [[10.0, 20.0], [30.0, 40.0]]}],
)
def add_matrices(x1, x2):
    """Add two matrices."""
    return register.add_stage(add, x1, x2, outputs_count=1)


@register.register_method(
    output_names=["size"], inputs={"image": register.Image("Any picture.")}, outputs={"size": register.Text()}
)
def image_size(image):
    """The format of a picture, and its size in pixels."""
    return register.add_stage(size_of, image, outputs_count=1)


@register.register_method(
    output_names=["text"],
    inputs={
        "name": register.Text("Whom to greet."),
        "times": register.TensorSpec("int64", []),
        "loud": register.TensorSpec("bool_", []),
    },
    outputs={"text": register.Text()},
    examples=[{"name": "Ada", "times": 2, "loud": False}],
)
def greeting(name, times, loud):
    """Greet somebody, once or more."""
    return register.add_stage(greet, name, times, loud, outputs_count=1)
'''
"""Methods with arrays, an image, a text and single values."""


def png(width: int = 64, height: int = 48) -> bytes:
    """A picture of a red disc."""
    picture = Image.new("RGB", (width, height), "white")
    middle, most = (width / 2, height / 2), (min(width, height) / 2) ** 2
    for x in range(width):
        for y in range(height):
            if (x - middle[0]) ** 2 + (y - middle[1]) ** 2 < most:
                picture.putpixel((x, y), (200, 30, 30))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed browser, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()
