"""Servables by their paths, and start scripts that name servables without servable_config.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.options import ServableSettings, folder_of
from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.start.distributed_servable import plan_of_distributed
from mindspore_serving.server.start.merging import merge_config
from mindspore_serving.server.start.servable_path import config_for, name_of, servables_at


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def merged(folder: Path, name: str, **options: Any) -> ServableSettings:
    [one] = merge_config([ServableStartConfig(str(folder), name, **options)])
    return one


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1/a.onnx"], ["."]),
        (["servable_config.py", "net/1/a.onnx"], ["."]),
        (["a.onnx", "README"], ["."]),
        (["one/1/a.onnx", "two/b.mindir", "notes/README"], ["one", "two"]),
        (["one/1/a.onnx", "three.onnx"], ["one", "three.onnx"]),
        (["b.onnx", "a.mindir"], ["a.mindir", "b.onnx"]),
    ],
)
def test_servables_at_a_path(tmp_path: Path, names: list[str], found: list[str]) -> None:
    files(tmp_path, *names)
    assert servables_at(str(tmp_path)) == [tmp_path / one for one in found]


def test_no_servable_at_a_path(tmp_path: Path) -> None:
    files(tmp_path, "notes/README")
    with pytest.raises(
        StartUpError, match=r"has neither servable_config\.py, nor folders of versions, nor a model"
    ):
        servables_at(str(tmp_path))
    with pytest.raises(StartUpError, match="nowhere' does not exist"):
        servables_at(str(tmp_path / "nowhere"))


def test_names_of_paths(tmp_path: Path) -> None:
    files(tmp_path, "v1.5/1/a.onnx", "b.c.onnx", "housing/__model__")
    assert name_of(tmp_path / "v1.5") == "v1.5"
    assert name_of(tmp_path / "b.c.onnx") == "b.c"
    assert name_of(tmp_path / "housing" / "__model__") == "housing"


def test_a_configuration_for_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "net/1/a.onnx", "one.onnx")
    monkeypatch.chdir(tmp_path)
    plain, renamed, file = (
        config_for("net"),
        config_for("net", "other"),
        config_for("one.onnx", slots_per_copy=3),
    )
    assert (plain.servable_directory, plain.servable_name, plain.model_path) == (str(tmp_path), "net", None)
    assert (renamed.servable_name, folder_of(renamed)) == ("other", tmp_path / "net")
    assert (file.servable_name, folder_of(file), file.slots_per_copy) == ("one", tmp_path / "one.onnx", 3)


def test_a_start_script_names_a_folder_or_a_file(tmp_path: Path) -> None:
    files(tmp_path, "net/1/a.onnx", "net/4/a.onnx", "one.onnx", "flat/a.onnx")
    assert merged(tmp_path, "net").version_number == 4
    assert merged(tmp_path, "flat").version_number == 0
    assert folder_of(merged(tmp_path, "one")) == tmp_path / "one.onnx"


def test_the_folder_of_the_name_goes_before_the_file(tmp_path: Path) -> None:
    files(tmp_path, "net/1/a.onnx", "net.onnx")
    assert merged(tmp_path, "net").model_path is None


@pytest.mark.parametrize(
    "options",
    [
        {"model_format": "ONNX"},
        {"with_batch_dim": True},
        {"max_batch_size": 8},
        {"runtime_options": {"a": 1}},
    ],
)
def test_what_servable_config_says_is_not_said_twice(tmp_path: Path, options: dict[str, Any]) -> None:
    files(tmp_path, "net/servable_config.py", "net/1/a.onnx")
    with pytest.raises(
        StartUpError, match=rf"Parameter '{next(iter(options))}' .*say it there, to declare_model"
    ):
        merged(tmp_path, "net", **options)
    (tmp_path / "net" / "servable_config.py").unlink()
    assert merged(tmp_path, "net", **options).version_number == 1


def test_a_distributed_servable_needs_its_servable_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, "net/1/a.mindir", "table.json")
    with pytest.raises(
        StartUpError, match=r"is to be distributed, but '.*servable_config\.py' does not exist"
    ):
        plan_of_distributed(str(tmp_path), "net", str(tmp_path / "table.json"), 1, "127.0.0.1:6200", 0)
