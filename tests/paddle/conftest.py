"""Models for the tests with Paddle Inference.

Tests that load Paddle into their own process are in `in_process`: MindSpore cannot be loaded after it.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.tensor import Array
from tests.paddle.saved_models import MODELS_VARIABLE, save_models_once
from tests.support.once_a_run import folder_of_the_run
from tests.support.paddle_models import uci_housing

__all__ = ["uci_housing"]

IN_PROCESS = "in_process"
FORMATS = ("json", "pdmodel")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs Paddle where it is not, and what loads it here unless that was asked for."""
    if importlib.util.find_spec("paddle") is None and collection_path.name.startswith("test_"):
        return True
    asked = any(IN_PROCESS in argument for argument in config.args)
    return True if collection_path.name == IN_PROCESS and not asked else None


@dataclass(frozen=True)
class Saved:
    """Networks in one format.

    Attributes:
        folder: Where they are.
        suffix: Of their programs.
    """

    folder: Path
    suffix: str

    def path(self, name: str) -> Path:
        """The program of a network."""
        return self.folder / name / f"inference.{self.suffix}"

    def inputs(self, name: str) -> dict[str, Array]:
        """A batch for it."""
        return {key: array for key, array in self._arrays(name).items() if not key.startswith("output")}

    def outputs(self, name: str) -> list[Array]:
        """What Paddle itself gives for the batch."""
        return [array for key, array in self._arrays(name).items() if key.startswith("output")]

    def _arrays(self, name: str) -> dict[str, Array]:
        with np.load(self.folder / f"{name}.npz") as arrays:
            return dict(arrays)


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """The networks of `make_models` by format, made once for all processes of a run."""
    folder = Path(os.environ.get(MODELS_VARIABLE, folder_of_the_run(tmp_path_factory) / "paddle_models"))
    save_models_once(folder, FORMATS)
    return {suffix: Saved(folder / suffix, suffix) for suffix in FORMATS}


@pytest.fixture(params=FORMATS)
def saved(request: pytest.FixtureRequest, both: dict[str, Saved]) -> Saved:
    """The networks in each format."""
    return both[request.param]
