"""Makes the networks of the tests in a process of its own: the format is chosen when Paddle is imported."""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.once_a_run import folder_made_once
from tests.support.serving import REPOSITORY

MADE_WITHIN_S = 120
MODELS_VARIABLE = "PADDLE_TEST_MODELS"
"""The environment variable with the folder of networks that are there already, or are to be made there."""
KEY = b"0123456789ABCDEF"
CIPHERS = {
    "AES-GCM": "AES_GCM_NoPadding",
    "AES-CBC": "AES_CBC_PKCSPadding",
    "AES-CTR": "AES_CTR_NoPadding",
}
"""What the network `conv` is encrypted with, by the name of its folder."""


def save_models_once(folder: Path, formats: Iterable[str]) -> None:
    """Make FOLDER/FORMAT for each format that is not there; other processes that call this meanwhile wait."""
    for suffix in formats:
        folder_made_once(folder / suffix, functools.partial(save_models, old=suffix == "pdmodel"))


def save_models(folder: Path, *, old: bool) -> None:
    """Run `make_models`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.paddle.make_models", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "FLAGS_enable_pir_api": "0" if old else "1"},
        capture_output=True,
        text=True,
        timeout=MADE_WITHIN_S,
    )
    assert done.returncode == 0, done.stderr


def copied(program: Path, folder: Path) -> Path:
    """A copy of a model that a test may change; returns its program."""
    shutil.copytree(program.parent, folder)
    return folder / program.name


def as_folder(program: Path, folder: Path) -> Path:
    """A copy of a `.pdmodel` as `__model__` with `__params__`; returns its program."""
    folder.mkdir()
    shutil.copy(program, folder / "__model__")
    shutil.copy(program.with_suffix(".pdiparams"), folder / "__params__")
    return folder / "__model__"


def with_file_each(program: Path, folder: Path, lengths: dict[str, int]) -> Path:
    """A copy of a `.pdmodel` as `__model__` with a file for each parameter.

    Args:
        program: The file.
        folder: To be made.
        lengths: Bytes of data of each parameter, in the order of the file.
    """
    folder.mkdir()
    shutil.copy(program, folder / "__model__")
    content = program.with_suffix(".pdiparams").read_bytes()
    for name, length in lengths.items():
        [description] = struct.unpack_from("<i", content, 16)
        size = 20 + description + length
        (folder / name).write_bytes(content[:size])
        content = content[size:]
    assert not content
    return folder / "__model__"
