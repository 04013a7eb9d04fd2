"""Models for the tests with MindSpore Lite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.lite.installation import HOW_TO_BUILD, find_library
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.lite.backend import LiteBackend, LiteGraph
from mindspore_serving.server.backend.lite.runtime import CompiledRuntime
from tests.lite.models import Models

IN_PROCESS = "in_process"

Load = Callable[..., LiteGraph]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_library() is not None:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"MindSpore Lite is not built: {HOW_TO_BUILD}"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what loads Lite into the process of the tests, unless that is what was asked for."""
    asked = any(IN_PROCESS in argument for argument in config.args)
    return True if collection_path.name == IN_PROCESS and not asked else None


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("lite_models"))


@pytest.fixture
def load() -> Iterator[Load]:
    """Loads a file, with the fields of a LoadRequest as keywords, and closes it after the test."""
    backend = LiteBackend(CompiledRuntime())
    graphs: list[LiteGraph] = []

    def load_one(path: Path, **fields: Any) -> LiteGraph:
        graphs.append(backend.load(request_for(path, **fields)))
        return graphs[-1]

    yield load_one
    for graph in graphs:
        graph.close()


def request_for(path: Path, **fields: Any) -> LoadRequest:
    request: dict[str, Any] = {
        "path": path,
        "with_batch_dim": True,
        "without_batch_dim_inputs": (),
        "max_batch_size": 64,
        "device_type": "cpu",
        "device_id": 0,
    }
    return LoadRequest(**(request | fields))
