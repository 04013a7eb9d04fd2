"""Models for the tests with ONNX Runtime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest

Load = Callable[..., LoadedGraph]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    return True if missing and collection_path.name.startswith("test_") else None


@pytest.fixture
def load() -> Load:
    """Loads a file, with the fields of a LoadRequest as keywords."""
    return lambda path, **fields: create_backend("onnx").load(request_for(path, **fields))


def request_for(path: Path, **fields: Any) -> LoadRequest:
    request: dict[str, Any] = {
        "path": path,
        "with_batch_dim": True,
        "without_batch_dim_inputs": (),
        "max_batch_size": 64,
        "device_type": "cpu",
        "device_id": 0,
        "model_format": "onnx",
    }
    return LoadRequest(**(request | fields))
