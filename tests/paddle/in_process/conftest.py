from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.paddle.backend import PaddleBackend, PaddleGraph

Load = Callable[..., PaddleGraph]


@pytest.fixture
def load() -> Load:
    """Loads a file, with the fields of a LoadRequest as keywords."""
    return lambda path, **fields: PaddleBackend().load(request_for(path, **fields))


def request_for(path: Path, **fields: Any) -> LoadRequest:
    request: dict[str, Any] = {
        "path": path,
        "with_batch_dim": True,
        "without_batch_dim_inputs": (),
        "max_batch_size": 64,
        "device_type": "cpu",
        "device_id": 0,
        "model_format": "paddle",
    }
    return LoadRequest(**(request | fields))
