"""`mindspore-serving init`: what it writes runs as written."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto

from tests.onnx import models
from tests.support.command_line import Terminal
from tests.support.serving import free_port, running_script


def odd(path: Path) -> Path:
    """Names that are no identifiers, int64 and float inputs, a sequence of any length, and two outputs."""
    return models.write(
        path,
        [
            models.helper.make_node("Cast", ["ids:0"], ["numbers"], to=TensorProto.FLOAT),
            models.helper.make_node("Mul", ["numbers", "class"], ["ids:masked"]),
            models.helper.make_node("ReduceSum", ["ids:masked", "axis"], ["sum of all"], keepdims=0),
        ],
        [("ids:0", TensorProto.INT64, ("n", "length")), ("class", TensorProto.FLOAT, ("n", "length"))],
        [("ids:masked", TensorProto.FLOAT, ("n", "length")), ("sum of all", TensorProto.FLOAT, ("n",))],
        {"axis": models.np.int64([1])},
    )


def made(terminal: Terminal, model: Path, folder: Path, *more: str) -> Path:
    ended = terminal.type("init", str(model), "--output", str(folder), *more)
    assert ended.code == 0, ended.err
    return folder


def run_test(folder: Path, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_all_files_run_as_written(terminal: Terminal, tmp_path: Path) -> None:
    folder = made(terminal, odd(tmp_path / "7 odd.onnx"), tmp_path / "new")
    assert sorted(path.name for path in folder.iterdir()) == [
        "client.py",
        "m_7_odd",
        "serving_server.py",
        "test_m_7_odd.py",
    ]
    config = (folder / "m_7_odd" / "servable_config.py").read_text()
    assert "#     ids_0: the file calls it 'ids:0'" in config
    assert "#     x_class: the file calls it 'class'" in config
    assert "def predict(ids_0, x_class):" in config
    run_test(folder, "m_7_odd")
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with running_script(folder / "serving_server.py", grpc, rest) as server:
        server.wait_for_line("RESTful server start success")
        command = [sys.executable, "client.py", grpc]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "output_0 float32 (16,)" in done.stdout
        assert "y2 float32 ()" in done.stdout
        ended = terminal.type(f"infer m_7_odd -i ids_0=[1,2] -i x_class=[3,4] --url {rest} --json")
        assert ended.json["results"] == [{"output_0": [3.0, 8.0], "output_1": 11.0}]


def test_names_that_python_has_stay(terminal: Terminal, tmp_path: Path) -> None:
    folder = made(terminal, models.add(tmp_path / "add.onnx"), tmp_path / "new")
    config = (folder / "add" / "servable_config.py").read_text()
    assert 'register.declare_model("add.onnx", "ONNX", with_batch_dim=True)' in config
    assert "def predict(x, y):" in config
    assert '"x": register.TensorSpec("float32", [2]),' in config
    assert '"z": register.TensorSpec("float32", [2]),' in config
    assert "the file calls it" not in config
    assert (folder / "add" / "1" / "add.onnx").read_bytes() == (tmp_path / "add.onnx").read_bytes()
    for path in folder.rglob("*.py"):
        ast.parse(path.read_text())


def test_a_model_without_batch_dimension(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = models.write(
        tmp_path / "scale.onnx",
        [models.node("Mul", "x factor", "y")],
        [("x", models.FLOAT, (3,)), ("factor", models.FLOAT, ())],
        [("y", models.FLOAT, (3,))],
    )
    ended = terminal.type(f"init {model}")
    assert ended.code == 0, ended.err
    assert "cd scale_serving" in ended.out
    config = (tmp_path / "scale_serving" / "scale" / "servable_config.py").read_text()
    assert "with_batch_dim=False" in config
    assert '"factor": register.TensorSpec("float32", []),' in config
    run_test(tmp_path / "scale_serving", "scale")


def test_weights_beside_the_model_come_along(terminal: Terminal, tmp_path: Path) -> None:
    models.dense(tmp_path / "dense.onnx", external=True)
    folder = made(terminal, tmp_path / "dense.onnx", tmp_path / "new")
    assert sorted(path.name for path in (folder / "dense" / "1").iterdir()) == [
        "dense.onnx",
        "dense.onnx.data",
    ]
    assert terminal.type(f"check {folder / 'dense'} --seconds 0").code == 0


def test_a_link(terminal: Terminal, tmp_path: Path) -> None:
    folder = made(terminal, models.add(tmp_path / "add.onnx"), tmp_path / "new", "--link")
    link = folder / "add" / "1" / "add.onnx"
    assert link.is_symlink()
    assert link.resolve() == (tmp_path / "add.onnx").resolve()


def test_nothing_is_overwritten_unless_forced(terminal: Terminal, tmp_path: Path) -> None:
    model = models.add(tmp_path / "add.onnx")
    folder = made(terminal, model, tmp_path / "new")
    (folder / "client.py").write_text("mine")
    ended = terminal.type(f"init {model} --output {folder}")
    assert (ended.code, "--force" in ended.err, "client.py" in ended.err) == (2, True, True)
    assert (folder / "client.py").read_text() == "mine"
    made(terminal, model, folder, "--force")
    assert "Client(" in (folder / "client.py").read_text()


def test_json(terminal: Terminal, tmp_path: Path) -> None:
    ended = terminal.type(f"init {odd(tmp_path / 'odd.onnx')} --output {tmp_path}/new --json")
    assert ended.json["servable"] == "odd"
    assert ended.json["inputs"] == {"ids_0": "ids:0", "x_class": "class"}
    assert ended.json["outputs"] == {"output_0": "ids:masked", "output_1": "sum of all"}


def test_the_model_in_place(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "new" / "add" / "1").mkdir(parents=True)
    model = models.add(tmp_path / "new" / "add" / "1" / "add.onnx")
    size = model.stat().st_size
    made(terminal, model, tmp_path / "new", "--force")
    assert model.stat().st_size == size


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ("/nowhere.onnx", 2, "'/nowhere.onnx' is no file"),
        ("{tmp}/a.txt", 2, "does not look like a model: expected a name like *.mindir"),
        ("{tmp}/broken.onnx", 1, "'broken.onnx' cannot be loaded"),
        ("{tmp}/broken.onnx --name 7up", 2, "expected letters, digits and _"),
    ],
)
def test_errors_write_nothing(
    terminal: Terminal, tmp_path: Path, words: str, code: int, problem: str
) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    ended = terminal.type("init " + words.format(tmp=tmp_path) + f" --output {tmp_path}/new")
    assert (ended.code, ended.out) == (code, "")
    assert problem in ended.err
    assert not (tmp_path / "new").exists()
