"""A servable without servable_config.py, as a worker loads it: one method, of what its model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_folder import FoundModel
from mindspore_serving.server.register.definition import ValueRef
from mindspore_serving.server.worker.servable_loader import LoadedServable, load_servable
from mindspore_serving.server.worker.undeclared import declaration_of, definition_of, has_batch_dim
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import DataType, TensorSpec
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
    (tmp_path / "adder" / "tensor_add_2_2.pdiparams").touch()
    row = "float32 of shape [2]"
    loaded = load(tmp_path, "tensor_add_2_2.pdmodel")
    assert types_of(loaded) == [("price", row), ("size", row), ("sum", row)]
    method = loaded.definition.methods["predict"]
    assert method.stages[0].inputs == (ValueRef(0, 1), ValueRef(0, 0))  # x1 is size, x2 is price
    assert method.outputs == (ValueRef(1, 1),)


def test_names_that_cannot_be_told_apart_become_others(tmp_path: Path) -> None:
    settings = worker_plan("net", servable_directory=str(tmp_path)).settings
    found = FoundModel(tmp_path / "net.onnx", "onnx")
    inputs = [TensorSpec(name, DataType.FLOAT32, (1,)) for name in ("x:0", "", "x:0", "input_1", "a/b.c")]
    outputs = [TensorSpec(name, DataType.FLOAT32, (1,)) for name in ("x:0", "")]
    definition = definition_of(settings, found, declaration_of(settings, found), inputs, outputs)
    method = definition.methods["predict"]
    assert method.input_names == ("x:0", "input_1_", "x:0_2", "input_1", "a/b.c")
    assert method.output_names == ("x:0", "output_1")


@pytest.mark.parametrize(
    ("model_format", "names", "expected"),
    [
        ("mindir", ["CNode_80:20"], ("output_0",)),
        ("mindir", ["CNode_20:7[0]", "output_0", "U4:1"], ("output_0_", "output_0", "output_2")),
        ("mindir_lite", ["CNode_80:20"], ("output_0",)),
        ("mindir", ["scores", "CNode_80", "CNode_80:20x"], ("scores", "CNode_80", "CNode_80:20x")),
        ("onnx", ["Identity:0"], ("Identity:0",)),
    ],
)
def test_an_output_named_after_a_node_of_the_graph_has_its_position(
    tmp_path: Path, model_format: str, names: list[str], expected: tuple[str, ...]
) -> None:
    settings = worker_plan("net", servable_directory=str(tmp_path)).settings
    found = FoundModel(tmp_path / "net.mindir", model_format)
    inputs = [TensorSpec("CNode_1:1", DataType.FLOAT32, (1,))]
    outputs = [TensorSpec(name, DataType.FLOAT32, (1,)) for name in names]
    definition = definition_of(settings, found, declaration_of(settings, found), inputs, outputs)
    assert definition.methods["predict"].output_names == expected
    assert definition.methods["predict"].input_names == ("CNode_1:1",)


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch"),
    [
        ([[-1, 13]], [[-1, 1]], True),
        ([[32, 1, 28, 28]], [[32, 10]], True),
        ([[1, 3, 224, 224]], [[-1, 1000]], True),
        ([[-1], [-1, 2]], [[-1]], True),
        ([[-1, 13]], [[3]], False),
        ([[-1, 13]], [[]], False),
        ([[4], []], [[4]], False),
        ([[4], [2]], [[4]], False),
        ([[-1, 3], [4, 3]], [[-1]], False),
        ([[]], [[]], False),
        ([], [[2]], False),
    ],
)
def test_shapes_tell_whether_there_is_a_batch(
    inputs: list[list[int]], outputs: list[list[int]], batch: bool
) -> None:
    sides = [
        tuple(TensorSpec(f"t{i}", DataType.FLOAT32, tuple(shape)) for i, shape in enumerate(side))
        for side in (inputs, outputs)
    ]
    assert has_batch_dim(GraphSignature(*sides)) is batch


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            NAMES.replace('"x1"', '"x9"'),
            r"names input 'x9' \(alias 'size'\), which the model has not: it has x1, x2",
        ),
        (
            NAMES.replace('"y2"', '"z"'),
            r"names output 'z' \(alias 'sum'\), which the model has not: it has y1, y2",
        ),
        (
            NAMES.replace("feed_var", "fetch_var", 1).replace('"x2"', '"y1"'),
            "does not name input x2 of the model",
        ),
        (NAMES.replace('alias_name: "size"', 'alias_name: "price"'), "has two feed_var of one name"),
        (NAMES.partition("fetch_var")[0], "has no fetch_var"),
        ("feed_var { name: }", "serving_server_conf.prototxt' cannot be read: 1:"),
        ('feed_var { alias_name: "x" }', "has a feed_var without a name"),
    ],
)
def test_a_wrong_file_of_names(tmp_path: Path, names: str, problem: str) -> None:
    (tmp_path / "adder").mkdir()
    (tmp_path / "adder" / "serving_server_conf.prototxt").write_text(names)
    (tmp_path / "adder" / "tensor_add_2_2.pdiparams").touch()
    with pytest.raises(StartUpError, match=problem):
        load(tmp_path, "tensor_add_2_2.pdmodel")
