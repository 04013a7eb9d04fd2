"""Which model a servable without servable_config.py holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.options import ServableSettings
from mindspore_serving.server.backend.model_folder import (
    is_servable,
    model_in,
    model_of,
    place_by_name,
    versions_of,
)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def settings(folder: Path, **options: Any) -> ServableSettings:
    return ServableSettings(servable_directory=str(folder.parent), servable_name=folder.name, **options)


@pytest.mark.parametrize(
    ("names", "found", "model_format"),
    [
        (["a.mindir"], "a.mindir", "mindir"),
        (["a.ms", "README"], "a.ms", "mindir_lite"),
        (["a.onnx", "a.onnx.data"], "a.onnx", "onnx"),
        (["__model__", "fc_0.w_0"], "__model__", "paddle"),
        (["inference.pdmodel", "inference.pdiparams"], "inference.pdmodel", "paddle"),
        (["inference.json", "inference.pdmodel", "inference.pdiparams"], "inference.json", "paddle"),
        (["labels.json", "a.onnx"], "a.onnx", "onnx"),
    ],
)
def test_the_model_of_a_folder(tmp_path: Path, names: list[str], found: str, model_format: str) -> None:
    one = model_in(files(tmp_path, *names))
    assert (one.path, one.model_format) == (tmp_path / found, model_format)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "is empty, it should hold a model. Models are files named *.mindir, "),
        (["a.txt", "b.pdmodel"], "holds no model and no servable_config.py. Models are files named "),
        (
            ["a.onnx", "b.onnx"],
            "holds 2 models and no servable_config.py that tells what to do with them: a.onnx, b.onnx. ",
        ),
        (
            ["a.onnx", "b.onnx"],
            "Leave one model in the folder, or write servable_config.py, for which `mindspore-serving ",
        ),
        (["a.onnx", "a.mindir"], "a.mindir, a.onnx. Choose one with parameter 'model_format', or write "),
    ],
)
def test_a_folder_without_one_model(tmp_path: Path, names: list[str], problem: str) -> None:
    with pytest.raises(StartUpError) as refused:
        model_in(files(tmp_path, *names))
    assert problem in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_the_format_chooses(tmp_path: Path) -> None:
    files(tmp_path, "a.onnx", "a.mindir", "b.bin")
    assert model_in(tmp_path, "onnx").path.name == "a.onnx"
    assert model_in(tmp_path / "b.bin", "mindir").model_format == "mindir"
    with pytest.raises(StartUpError, match="holds no model of format paddle"):
        model_in(tmp_path, "paddle")
    with pytest.raises(StartUpError, match=r"b\.bin' does not look like a model\. Models are files named"):
        model_in(tmp_path / "b.bin")


def test_each_version_has_its_model(tmp_path: Path) -> None:
    folder = files(tmp_path / "net", "1/a.onnx", "3/b.mindir", "notes/c.onnx", "d.onnx")
    assert sorted(versions_of(folder)) == [1, 3]
    assert model_of(settings(folder)).path == folder / "3" / "b.mindir"
    assert model_of(settings(folder, version_number=1)).path == folder / "1" / "a.onnx"
    with pytest.raises(StartUpError, match=r"has no version 2: '.*net' has the versions 1, 3"):
        model_of(settings(folder, version_number=2))


def test_a_folder_or_file_without_versions_is_version_1(tmp_path: Path) -> None:
    folder = files(tmp_path / "net", "a.onnx")
    assert model_of(settings(folder, version_number=1)).path == folder / "a.onnx"
    file = settings(folder, model_path=str(folder / "a.onnx"))
    assert model_of(file).path == folder / "a.onnx"
    with pytest.raises(StartUpError, match="has no folders of versions, so it is version 1"):
        model_of(settings(folder, version_number=2))


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (["servable_config.py"], True),
        (["1/anything"], True),
        (["a.onnx"], True),
        (["a.onnx", "b.onnx"], True),
        (["a.txt"], False),
        (["sub/a.onnx"], False),
        ([], False),
    ],
)
def test_what_looks_like_a_servable(tmp_path: Path, names: list[str], answer: bool) -> None:
    assert is_servable(files(tmp_path, *names)) is answer


def test_a_file_by_the_name_of_the_servable(tmp_path: Path) -> None:
    files(tmp_path, "net.onnx", "two.onnx", "two.mindir", "no.txt")
    assert place_by_name(tmp_path, "net") == tmp_path / "net.onnx"
    assert place_by_name(tmp_path, "no") is None
    assert place_by_name(tmp_path / "nowhere", "net") is None
    with pytest.raises(
        StartUpError, match=r"any of the files two\.mindir, two\.onnx .* parameter 'model_path'"
    ):
        place_by_name(tmp_path, "two")
