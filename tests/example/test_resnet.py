"""The commands of the resnet example's README, run as they stand there, and its way with damaged images."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.example.test_examples import Addresses, copy_of_examples, follow_readme
from tests.support.serving import REPOSITORY

SOURCE = REPOSITORY / "example" / "resnet"
WHOLE, ONE_BLOCK_EACH = "BLOCKS_OF_STAGES = (3, 4, 6, 3)", "BLOCKS_OF_STAGES = (1, 1, 1, 1)"
DAMAGED = {
    "empty": lambda png: b"",
    "garbage": lambda png: bytes(range(200)),
    "first half": lambda png: png[: len(png) // 2],
    "wrong checksum": lambda png: png.replace(png[29:33], b"\0\0\0\0", 1),
    "other format": lambda png: _saved("GIF"),
    "huge": lambda png: _png_of_size(60_000, 60_000),
}

ImageToInput = Callable[[bytes], npt.NDArray[np.float32]]


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """The example as in a fresh clone, without the model."""
    return copy_of_examples(SOURCE, tmp_path / "resnet")


@pytest.fixture(scope="module")
def image_to_input() -> ImageToInput:
    """The preprocessing of the servable."""
    spec = importlib.util.spec_from_file_location("resnet_preprocess", SOURCE / "resnet50" / "preprocess.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.image_to_input


@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed")
@pytest.mark.timeout(900)
def test_resnet_as_its_readme_says(resnet: Path) -> None:
    cut(resnet / "export_model" / "network.py")
    assert_labels_differ(follow_readme(resnet, Addresses.free())["python serving_client.py"])


def cut(network: Path) -> None:
    """One block in each stage has every kind of layer, and compiles three times in a fraction of the time."""
    whole = network.read_text()
    assert WHOLE in whole
    network.write_text(whole.replace(WHOLE, ONE_BLOCK_EACH))


def assert_labels_differ(printed: str) -> None:
    """A model that sees no difference between images would agree with everything."""
    labels = [line.split()[-1] for line in printed.splitlines() if " class " in line]
    assert len(labels) == 6
    assert len(set(labels)) >= 3, labels


def test_pictures_are_the_same_at_every_call() -> None:
    program = (
        "import hashlib, images; print(hashlib.md5(b''.join(images.sample_images().values())).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-B", "-c", program], cwd=SOURCE, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("image_format", "mode"), [("PNG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "1"), ("JPEG", "CMYK")]
)
def test_image_becomes_input(image_to_input: ImageToInput, image_format: str, mode: str) -> None:
    x = image_to_input(_saved(image_format, mode))
    assert x.shape == (3, 224, 224)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_damaged_image_has_a_clear_error(
    image_to_input: ImageToInput, damage: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ValueError, match=r"^the image cannot be decoded: [^<]+$"):
        image_to_input(damage(_saved("PNG")))


def _saved(image_format: str, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, image_format)
    return file.getvalue()


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG file whose header promises more pixels than anybody should decode."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b"\0"), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )
