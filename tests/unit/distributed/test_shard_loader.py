"""The graphs of one rank: what runs after one of them has failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.errors import ModelError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.distributed.agent import ShardLoader

ONES = [np.ones((2, 2), np.float32)] * 2
NOT_ALL = ONES[:1]


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardLoader:
    """Two subgraphs: the first adds, the second subtracts."""
    monkeypatch.setenv("SERVING_BACKEND", "stub")
    files = [tmp_path / "tensor_add.mindir", tmp_path / "tensor_sub.mindir"]
    for file in files:
        file.touch()
    made = ShardLoader(LoadRequest(Path(), True, (), 8, "cpu", 0, sharded=True), list(map(str, files)))
    made.load()
    return made


def refuses(loader: ShardLoader, subgraph: int) -> bool:
    with pytest.raises(ModelError) as failed:
        loader.run(subgraph, ONES)
    return "failed before, and is not loaded anew yet" in str(failed.value)


def test_subgraphs(loader: ShardLoader) -> None:
    assert (loader.run(0, ONES)[0] == 2).all()
    assert (loader.run(1, ONES)[0] == 0).all()


def test_after_a_failure_no_graph_runs_until_the_failed_one_is_loaded_anew(loader: ShardLoader) -> None:
    with pytest.raises(Exception, match="inputs"):
        loader.run(1, NOT_ALL)
    for subgraph in (0, 1, 0):
        assert refuses(loader, subgraph)
    loader.reload(0)  # the worker does so for all that have refused to run, in any order
    assert refuses(loader, 0)
    loader.reload(1)
    assert (loader.run(0, ONES)[0] == 2).all()
    assert (loader.run(1, ONES)[0] == 0).all()


def test_an_error_of_any_type_is_a_failure(loader: ShardLoader) -> None:
    with pytest.raises(IndexError):
        loader.run(2, ONES)
    assert refuses(loader, 0)
