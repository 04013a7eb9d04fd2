"""Models for the tests with MindSpore, exported once a run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest
from tests.support.once_a_run import folder_once

EXPORTED_WITHIN_S = 300
TIMEOUT_S = 400
"""Of a test; the first one waits for the models."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    is_installed = importlib.util.find_spec("mindspore") is not None
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(TIMEOUT_S))
        if not is_installed:
            item.add_marker(pytest.mark.skip(reason="MindSpore is not installed"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the models of export_models.py, not to be changed."""
    return folder_once(tmp_path_factory, "mindspore_models", _export)


def _export(folder: Path) -> None:
    """In a process of its own: compiling takes over its signals."""
    script = Path(__file__).with_name("export_models.py")
    # As in a worker; without it LeNet's scores come from other, slower kernels.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=EXPORTED_WITHIN_S,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def load(models: Path) -> Iterator[Callable[..., LoadedGraph]]:
    """Loads a model by name, with the fields of a LoadRequest as keywords, and closes it after the test."""
    backend = create_backend("mindspore")
    graphs: list[LoadedGraph] = []

    def load_one(name: str, **fields: Any) -> LoadedGraph:
        request = {
            "path": models / f"{name}.mindir",
            "with_batch_dim": True,
            "without_batch_dim_inputs": (),
            "max_batch_size": 64,
            "device_type": "cpu",
            "device_id": 0,
        }
        graphs.append(backend.load(LoadRequest(**(request | fields))))
        return graphs[-1]

    yield load_one
    for graph in graphs:
        graph.close()
