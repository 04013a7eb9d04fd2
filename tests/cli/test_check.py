"""`mindspore-serving check`: real folders, real ONNX files, and a process that a library has ended."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.onnx import models
from tests.support.command_line import Terminal
from tests.support.servables import ADD

STAGES = """\
import time

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)


def prepared(x1, x2):
    time.sleep(0.01)
    return x1, x2


@register.register_method(output_names=["y"], examples=[{"x1": [1.0, 2.0], "x2": [10.0, 20.0]}])
def slow(x1, x2):
    x1, x2 = register.add_stage(prepared, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"], examples=[{"x1": [1.0, 2.0], "x2": [10.0, 20.0]}])
def slow_as_well(x1, x2):
    x1, x2 = register.add_stage(prepared, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def anything(x):
    return x
"""

FAILS = """\
from mindspore_serving.server import register


def failing(x):
    raise ValueError("no such word")


@register.register_method(output_names=["y"], inputs={"x": register.Text()}, examples=[{"x": "word"}])
def look_up(x):
    return register.add_stage(failing, x, outputs_count=1)
"""

CALLS = """\
from mindspore_serving.server import register


@register.register_method(
    output_names=["y"], inputs={"x": register.TensorSpec("float32", [])}, examples=[{"x": 1.0}]
)
def asks(x):
    return register.call("another", "answers", x)
"""

CRASHES = """\
import os
import signal

print("a line before the crash", flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_BACKEND", "stub")


def servable(folder: Path, name: str, config: str, *files: str) -> Path:
    home = folder / name
    home.mkdir()
    (home / "servable_config.py").write_text(config)
    for file in files:
        (home / file).parent.mkdir(exist_ok=True)
        (home / file).touch()
    return home


def checked(terminal: Terminal, path: Path, *more: str) -> Any:
    ended = terminal.type("check", str(path), "--json", "--seconds", "0.001", *more)
    assert ended.code == 0, ended.err
    return ended.json


def test_a_servable_with_stages(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    found = checked(terminal, servable(tmp_path, "staged", STAGES, "1/tensor_add.mindir"))
    assert (found["servable"], found["version"], found["ok"]) == ("staged", 1, True)
    [model] = found["models"]
    assert model["inputs"] == [{"name": n, "dtype": "float32", "shape": [2, 2]} for n in ("x1", "x2")]
    assert [one["rows"] for one in model["times"]] == [2]
    assert model["platform"] == "stub_mindir"
    slow, as_well, anything = found["methods"]
    assert all(sum(one["share"] for one in method["stages"]) <= 1 for method in (slow, as_well))
    assert slow["inputs"] == ["x1: any type", "x2: any type"]
    assert slow["outputs"] == ["y: float32[2]"]
    assert slow["examples"] == 1
    assert [one["rows"] for one in slow["times"]][:2] == [1, 2]
    shares = {one["stage"]: one["share"] for one in slow["stages"]}
    assert list(shares) == ["1. function staged.prepared", "2. model tensor_add.mindir"]
    assert 0.8 < shares["1. function staged.prepared"] <= 1
    assert anything["untyped"] == ["x"]
    assert 0 < found["memory"]["before_mb"] <= found["memory"]["after_mb"]
    warnings = "\n".join(found["warnings"])
    for text in (
        "takes exactly 2 instances",
        "Method anything does not say the types of x",
        "Method anything has no example",
        "Stage '1. function staged.prepared' takes",
    ):
        assert text in warnings
    assert "Method slow has no example" not in warnings


def test_the_tables(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    path = servable(tmp_path, "staged", STAGES, "1/tensor_add.mindir")
    ended = terminal.type(f"check {path} --seconds 0.001")
    assert ended.code == 0
    for text in ("staged version 1", "x1: float32[2,2]", "1 answered", "2. model tensor_add.mindir", "MiB"):
        assert text in ended.out
    assert "Warning: Model tensor_add.mindir takes exactly 2 instances" in ended.err


def test_a_file_and_a_folder_without_config(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "adder" / "1").mkdir(parents=True)
    file = models.add(tmp_path / "adder" / "1" / "add.onnx")
    for path, name in ((file, "add"), (tmp_path / "adder", "adder"), (tmp_path, "adder")):
        found = checked(terminal, path)
        assert (found["servable"], found["warnings"]) == (name, [])
        assert found["models"][0]["dynamic"] is True
        assert [one["rows"] for one in found["models"][0]["times"]] == [1, 2, 4, 8, 16, 32, 64]
        assert found["methods"][0]["inputs"] == ["x: float32[2]", "y: float32[2]"]


def test_formats_and_versions_are_compared(terminal: Terminal, tmp_path: Path) -> None:
    home = tmp_path / "net"
    for version in ("1", "2"):
        (home / version).mkdir(parents=True)
    models.lenet(home / "1" / "net.onnx")
    models.add(home / "2" / "net.onnx")
    (home / "2" / "net.mindir").write_bytes(b"nothing")
    found = checked(terminal, home)
    assert (found["servable"], found["version"]) == ("net", 2)
    compared = {one["file"]: one for one in found["compared"]}
    assert list(compared) == ["1/net.onnx", "2/net.mindir", "2/net.onnx"]
    assert "error" in compared["2/net.mindir"]
    assert found["fastest"].startswith("2/net.onnx is the fastest here")
    assert terminal.type(f"check {home} --seconds 0 --json").json["compared"] == []


def test_other_formats_beside_the_declared_one(terminal: Terminal, tmp_path: Path) -> None:
    config = ADD.format(batch=True).replace("tensor_add.mindir", "slow.onnx").replace("MindIR", "ONNX")
    home = servable(tmp_path, "both", config, "1/x")
    models.add(home / "1" / "slow.onnx")
    models.add(home / "1" / "other.onnx")
    found = checked(terminal, home)
    assert [one["file"] for one in found["compared"]] == ["1/other.onnx", "1/slow.onnx"]
    assert "is the fastest here" in found["fastest"]
    assert checked(terminal, home, "--no-compare")["compared"] == []


def test_an_example_that_fails(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    ended = terminal.type(f"check {servable(tmp_path, 'words', FAILS)}")
    assert (ended.code, ended.out) == (1, "")
    assert "'words' cannot be loaded: Example 1 of method 'look_up' failed" in ended.err
    assert "no such word" in ended.err
    assert "Traceback" not in ended.err


def test_a_crash_is_an_error(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    ended = terminal.type(f"check {servable(tmp_path, 'crashing', CRASHES)} --json")
    assert ended.code == 1
    assert ended.json["ok"] is False
    assert f"by signal {signal.Signals(signal.SIGSEGV).name}" in ended.json["error"]
    assert "a line before the crash" in ended.json["error"]
    assert "servable_config.py" in ended.json["error"]


def test_a_process_that_ends_by_itself(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    ended = terminal.type(f"check {servable(tmp_path, 'leaving', 'import os; os._exit(7)')}")
    assert (ended.code, "with exit code 7" in ended.err) == (1, True)


def test_a_damaged_file(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(os.urandom(100))
    ended = terminal.type(f"check {file}")
    assert (ended.code, ended.out) == (1, "")
    assert "'broken.onnx' cannot be loaded" in ended.err


def test_several_servables(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    servable(tmp_path, "good", STAGES, "1/tensor_add.mindir")
    servable(tmp_path, "words", FAILS)
    ended = terminal.type(f"check {tmp_path} --json --seconds 0.001")
    assert ended.code == 1
    assert [(one["ok"], Path(one["path"]).name) for one in ended.json] == [(True, "good"), (False, "words")]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("/nowhere", "'/nowhere' does not exist"),
        ("{empty}", "none lies in it"),
        ("{text}", "does not look like a model"),
        ("{empty} --device-type tpu", "expected ascend, gpu, cpu"),
    ],
)
def test_wrong_use(terminal: Terminal, tmp_path: Path, words: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    ended = terminal.type("check " + words.format(empty=tmp_path / "empty", text=tmp_path / "a.txt"))
    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err


def test_a_version_that_is_not_there(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    path = servable(tmp_path, "staged", STAGES, "1/tensor_add.mindir")
    ended = terminal.type(f"check {path} --version 3")
    assert (ended.code, "specified version number: 3" in ended.err) == (1, True)


def test_the_document_is_json_alone(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    path = servable(tmp_path, "staged", STAGES, "1/tensor_add.mindir")
    out = terminal.type(f"check {path} --json --seconds 0").out
    assert json.loads(out)["models"][0]["times"] == []


def test_a_key_for_a_plain_file(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    ended = terminal.type(f"check {models.add(tmp_path / 'add.onnx')} --dec-key-file {tmp_path / 'key'}")
    assert ended.code == 1
    assert "ONNX models are not encrypted, but dec_key was given; leave it out" in " ".join(ended.err.split())


def test_a_method_that_calls_other_servables(terminal: Terminal, tmp_path: Path, stub: None) -> None:
    [method] = checked(terminal, servable(tmp_path, "calling", CALLS))["methods"]
    assert method["examples"] == 1
    assert method["times"] == []
    assert method["not_timed"] == (
        "it calls methods of other servables, which are not loaded here; its examples are checked, and not run"
    )
