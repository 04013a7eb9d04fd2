"""`mindspore-serving serve`: folders, files and YAML become servers, as a user starts them in a shell."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.onnx.models import FLOAT, node, write
from tests.support.certificates import Authority
from tests.support.command_line import Terminal
from tests.support.serve_process import READY, serve_process
from tests.support.serving import RunningServer, add_servable, free_port
from tests.support.watch import wait_until

WAIT_S = 90.0
NO_STUB = {"SERVING_BACKEND": ""}
HTTP_ERROR = 22
"""How `curl -f` ends when the status is 400 or more."""
NO_CONNECTION = (35, 52, 56)
"""How curl ends when the server has ended the connection in the handshake, or just after it."""


def write_linear(path: Path, weight: float) -> None:
    """A model of 13 floats a row, which adds them times a weight."""
    weights = {"w": np.full((13, 1), weight, np.float32)}
    path.parent.mkdir(parents=True)
    write(
        path,
        [node("MatMul", "x w", "price")],
        [("x", FLOAT, ["n", 13])],
        [("price", FLOAT, ["n", 1])],
        weights,
    )


def write_scaled(path: Path) -> None:
    """A model without a batch: four floats times a number. Its output has a name that no Python variable has."""
    path.parent.mkdir(parents=True)
    write(
        path,
        [node("Mul", "a b", "scope/a.b:0")],
        [("a", FLOAT, [4]), ("b", FLOAT, [])],
        [("scope/a.b:0", FLOAT, [4])],
    )


def write_ids(path: Path) -> None:
    """A model of int64 rows of any length."""
    ids = ("ids", TensorProto.INT64, ["n", "length"])
    write(path, [node("Cast", "ids", "y", to=FLOAT)], [ids], [("y", FLOAT, ["n", "length"])])


def ask(server: RunningServer, path: str, body: Any) -> Any:
    request = urllib.request.Request(server.url(path), json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
        return json.load(reply)


def line_to_try(server: RunningServer) -> str:
    [line] = [line for line in server.lines if line.startswith("Try ")]
    return line.removeprefix("Try").strip()


def printed_by(line: str) -> str:
    """What a line prints, which a shell runs as it is."""
    return subprocess.run(line, shell=True, capture_output=True, text=True, timeout=WAIT_S, check=True).stdout


def outcome_of(line: str) -> Any:
    """The reply to a line."""
    return json.loads(printed_by(line))


def serve_and_end(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call of `serve` that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "mindspore_serving", "serve", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A folder of servables as other servers have them, none of which has a servable_config.py."""
    folder = tmp_path_factory.mktemp("serve")
    models = folder / "models"
    write_linear(models / "linear" / "1" / "model.onnx", 1.0)
    write_linear(models / "linear" / "2" / "anything.onnx", 2.0)
    write_scaled(models / "scaled" / "model.onnx")
    write_ids(models / "zz.onnx")
    (models / "notes").mkdir()
    (models / "notes" / "README").write_text("no model")
    with serve_process(folder, "models", "--default-servable", "linear", environment=NO_STUB) as running:
        running.wait_for_line(READY)
        yield running


def test_a_folder_of_models_is_served(server: RunningServer) -> None:
    reply = ask(server, "/model/linear:predict", {"instances": [{"x": [1.0] * 13}, {"x": [0.5] * 13}]})
    assert reply == {"instances": [{"price": [26.0]}, {"price": [13.0]}]}
    reply = ask(server, "/model/scaled:predict", {"instances": [{"a": [1, 2, 3, 4], "b": 2}]})
    assert reply == {"instances": [{"scope/a.b:0": [2.0, 4.0, 6.0, 8.0]}]}


def test_requests_that_name_no_servable_mean_the_default_one(server: RunningServer) -> None:
    tensor = {"alias_name": "x", "elem_type": 1, "shape": [1, 13], "float_data": [1.0] * 13}
    reply = ask(server, "/GeneralModelService/inference", {"tensor": [tensor]})
    assert reply["outputs"][0]["tensor"][0]["float_data"] == [26.0]


def test_the_summary_names_what_can_be_called(server: RunningServer) -> None:
    assert [line.strip() for line in server.lines if ".predict " in line] == [
        "linear.predict  version 2  (x: float32[13]) -> (price: float32[1])",
        "scaled.predict  version 1  (a: float32[4], b: float32) -> (scope/a.b:0: float32[4])",
        "zz.predict  version 1  (ids: int64[-1]) -> (y: float32[-1])",
    ]
    assert f"REST  http://{server.rest}" in server.lines
    assert f"Logs  {server.folder / 'serving_logs'}" in server.lines
    assert (server.folder / "serving_logs").is_dir()


def test_the_printed_line_works(server: RunningServer) -> None:
    [output] = outcome_of(line_to_try(server))["instances"]
    assert output["price"] == [pytest.approx(13 * 0.1 * 2)]


def test_a_printed_configuration_is_served_in_a_terminal_until_sigterm(
    tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ids(tmp_path / "ids.onnx")
    printed = terminal.type("serve ids.onnx --name any.name -o slots_per_copy=3 --print-config").out
    (tmp_path / "printed.yaml").write_text(printed)
    assert "slots_per_copy: 3\n" in printed
    assert terminal.type("serve printed.yaml --print-config").out == printed
    with (
        pseudo_terminal() as (shown, descriptor),
        serve_process(tmp_path, "printed.yaml", environment=NO_STUB, terminal=descriptor) as running,
    ):
        os.close(descriptor)
        running.wait_for_line(READY)
        assert f"REST  http://{running.rest}" in running.lines
        reply = outcome_of(line_to_try(running))
        assert (reply["model_name"], reply["model_version"]) == ("any.name", "1")
        [output] = reply["outputs"]
        assert (output["name"], output["shape"], output["data"]) == ("y", [1, 16], [0.0] * 16)
        running.signal(signal.SIGTERM)
        assert running.wait(WAIT_S) == 0
    assert b"any.name version 1" in b"".join(shown)
    assert b"0 of 1 workers ready" in b"".join(shown)


@contextlib.contextmanager
def pseudo_terminal() -> Iterator[tuple[list[bytes], int]]:
    """A terminal, as a descriptor for a process, which closes it; what was shown there is in the list at the end."""
    reader, descriptor = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:  # a terminal whose output nobody reads blocks who writes to it
        with contextlib.suppress(OSError):  # the server has ended
            while data := os.read(reader, 1 << 16):
                shown.append(data)

    reading = threading.Thread(target=read)
    reading.start()
    yield shown, descriptor
    reading.join(WAIT_S)
    os.close(reader)


def test_yaml_with_mutual_tls_keys_and_web_pages(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair, client = authority.issue("server"), authority.issue("client")
    (tmp_path / "keys.txt").write_text("# of the tests\n0123456789abcdef0123 name=tests rights=infer\n")
    (tmp_path / "keys.txt").chmod(0o600)
    (tmp_path / "adder" / "7").mkdir(parents=True)
    (tmp_path / "adder" / "7" / "tensor_add_1_1.mindir").touch()
    (tmp_path / "server.yaml").write_text(
        "models:\n- path: adder\n  name: plus\n  with_batch_dim: false\n  num_parallel_workers: 2\n"
        f"tls:\n  certificate: {pair.certificate}\n  private_key: {pair.private_key}\n"
        f"  custom_ca: {authority.certificate}\n  verify_client: true\n"
        "api_keys: keys.txt\n"
        "cors_origins: https://page.example\n"
        f"admin: {(admin := f'127.0.0.1:{free_port()}')}\n"
        "public_pages: metrics\n"
        "metrics_aliases: [triton]\n"
    )
    assert client.certificate == str(tmp_path / "client.crt")  # as the line to try calls it
    with serve_process(tmp_path, "server.yaml") as running:
        running.wait_for_line(READY)
        assert len(running.workers()) == 2
        assert any(line.strip().startswith("plus.predict  version 7 ") for line in running.lines)
        line = f"cd {tmp_path}; {line_to_try(running)}"
        [output] = outcome_of(line)["instances"]
        assert output["y1"] == [[pytest.approx(0.1)] * 2] * 2
        assert "access-control-allow-origin: https://page.example" in (
            printed_by(f"{line} -s -i -H 'Origin: https://page.example'").lower()
        )
        with pytest.raises(subprocess.CalledProcessError) as refused:  # without a key
            printed_by(re.sub(r'-H "X-API-Key: [^"]*"', "-f", line))
        assert refused.value.returncode == HTTP_ERROR
        pages = f"cd {tmp_path}; curl -sS -f -k --cert client.crt --key client.key https://{admin}"
        assert 'nv_inference_count{model="plus",version="7"} ' in printed_by(f"{pages}/metrics")
        with pytest.raises(subprocess.CalledProcessError) as refused:  # is not public
            printed_by(f"{pages}/status")
        assert refused.value.returncode == HTTP_ERROR
        with pytest.raises(subprocess.CalledProcessError) as refused:  # without a certificate
            printed_by(re.sub(r"--cert \S+ --key \S+", "-f", line))
        assert refused.value.returncode in NO_CONNECTION


ADD = """\
from mindspore_serving.server import register

def add(x):
    return x + {number}

@register.register_method(output_names=["y"])
def plus({name}):
    return register.add_stage(add, {name}, outputs_count=1)
"""


def test_dev_reloads_what_changes(tmp_path: Path) -> None:
    """A change is taken over, also one of inputs; what cannot be loaded leaves the server as it is."""
    add_servable(tmp_path, "plus", "this is no Python", files=())
    config = tmp_path / "plus" / "servable_config.py"

    def change(source: str, told: str) -> None:
        running.lines.clear()
        config.write_text(source)
        running.wait_for_line(told)

    with serve_process(tmp_path, "plus", "--dev") as running:
        running.wait_for_line("Waiting for a change")
        change(ADD.format(number=1, name="x"), READY)
        assert ask(running, "/model/plus:plus", {"instances": [{"x": 1}]}) == {"instances": [{"y": 2}]}
        change(ADD.format(number=2, name="x"), "Reloaded plus")
        assert ask(running, "/model/plus:plus", {"instances": [{"x": 1}]}) == {"instances": [{"y": 3}]}
        change("def broken(:\n", "Waiting for the next change")
        assert "servable_config.py:1" in running.output
        assert ask(running, "/model/plus:plus", {"instances": [{"x": 1}]}) == {"instances": [{"y": 3}]}
        change(ADD.format(number=5, name="z"), "Reloaded plus")
        assert "has other methods now" in running.output
        assert ask(running, "/model/plus:plus", {"instances": [{"z": 1}]}) == {"instances": [{"y": 6}]}
        change("def broken(:\n", "Waiting for the next change")
        [worker] = running.workers()
        os.kill(worker, signal.SIGKILL)  # what serves is gone, and what is there cannot start
        running.wait_for_line("No worker is left; the server goes on")
        change(ADD.format(number=7, name="x"), "Reloaded plus")
        assert ask(running, "/model/plus:plus", {"instances": [{"x": 1}]}) == {"instances": [{"y": 8}]}
        assert len(running.workers()) == 1
        running.lines.clear()
        shutil.rmtree(config.parent)
        running.wait_for_line("Waiting for the next change")
        config.parent.mkdir()
        change(ADD.format(number=8, name="x"), "Reloaded plus")
        assert ask(running, "/model/plus:plus", {"instances": [{"x": 1}]}) == {"instances": [{"y": 9}]}
        running.signal(signal.SIGINT)
        assert running.wait(WAIT_S) == 0


def test_a_port_in_use_is_told_with_who_has_it(tmp_path: Path) -> None:
    (tmp_path / "tensor_add.mindir").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = serve_and_end(tmp_path, "tensor_add.mindir", "--rest", address, "--grpc", "none")
    assert ended.returncode == 1
    assert "Address already in use, process " in ended.stderr
    assert "choose other addresses with --grpc and --rest" in ended.stderr


def test_a_model_that_cannot_be_loaded_ends_it(tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"this is no model")
    rest = f"127.0.0.1:{free_port()}"
    ended = serve_and_end(tmp_path, "damaged.onnx", "--rest", rest, "--grpc", "none")
    assert ended.returncode == 1
    assert f"Load model '{tmp_path / 'damaged.onnx'}' failed" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_there(terminal: Terminal) -> None:
    ended = terminal.type("serve /nowhere")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "Error: '/nowhere' does not exist")
    assert ended.err.splitlines()[1].startswith("Next: ")


SLOW = """\
import time

open("loading", "w").close()
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("options", "number", "code"), [(["--dev"], signal.SIGINT, 130), ([], signal.SIGTERM, 143)]
)
def test_a_signal_while_models_load(
    tmp_path: Path, options: list[str], number: signal.Signals, code: int
) -> None:
    add_servable(tmp_path, "slow", SLOW, files=())
    with serve_process(tmp_path, "slow", *options) as running:
        wait_until((tmp_path / "loading").exists, "the worker loads", WAIT_S)
        running.signal(number)
        assert running.wait(WAIT_S) == code
        assert "because of signal" in running.output
        assert "Waiting for a change" not in running.output


def test_a_default_servable_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "tensor_add.mindir").touch()
    rest = f"127.0.0.1:{free_port()}"
    asked = ("tensor_add.mindir", "--default-servable", "other", "--rest", rest, "--grpc", "none")
    ended = serve_and_end(tmp_path, *asked)
    assert (ended.returncode, "is 'other'; started are tensor_add" in ended.stderr) == (2, True)
