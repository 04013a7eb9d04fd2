"""A servable without servable_config.py, as a worker loads it: one method, of what its model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server.worker.servable_loader import LoadedServable, load_servable
from tests.support.plans import worker_plan

NAMES = """
feed_var { name: "x2" alias_name: "price" feed_type: 1 shape: 2 }
feed_var { name: "x1" alias_name: "size" feed_type: 1 shape: 2 }
fetch_var { name: "y2" alias_name: "sum" fetch_type: 1 shape: 2 }
"""


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")


def load(folder: Path, file: str, name: str = "adder", **options: Any) -> LoadedServable:
    path = folder / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return load_servable(worker_plan(name, servable_directory=str(folder), **options))


def types_of(loaded: LoadedServable) -> list[tuple[str, str]]:
    [method] = loaded.methods
    assert method.name == "predict"
    return [(one.name, one.text) for one in (*method.inputs, *method.outputs)]


@pytest.mark.parametrize("file", ["1/tensor_add_1_2.mindir", "tensor_add_1_2.onnx", "1/tensor_add_1_2.ms"])
def test_its_method_has_the_inputs_and_outputs_of_the_model(tmp_path: Path, file: str) -> None:
    of_rows = "float32 of shape [2]"
    assert types_of(load(tmp_path, file)) == [("x1", of_rows), ("y1", of_rows), ("y2", of_rows)]


def test_the_batch_dimension_can_be_ruled_out(tmp_path: Path) -> None:
    whole = "float32 of shape [2, 2]"
    loaded = load(tmp_path, "1/tensor_add_1_1.mindir", with_batch_dim=False)
    assert types_of(loaded) == [("x1", whole), ("y1", whole)]
    assert not loaded.methods[0].rows


def test_names_for_clients_come_from_the_file_that_paddle_serving_writes(tmp_path: Path) -> None:
    (tmp_path / "adder").mkdir()
    (tmp_path / "adder" / "serving_server_conf.prototxt").write_text(NAMES)
    load(tmp_path, "tensor_add_2_2.pdmodel", model_format="paddle")
