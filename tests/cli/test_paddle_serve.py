"""`python -m mindspore_serving.serve`: the lines of Paddle Serving's documents, its words, and a chain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from mindspore_serving.proto.foreign import paddle_general_model_pb2 as pb2
from mindspore_serving.serve.__main__ import main
from tests.support.http_requests import send
from tests.support.paddle_models import HOUSE, PRICE, uci_housing
from tests.support.paddle_serve import MODULE, NAMES, READY, copy_model, paddle_server
from tests.support.serving import RunningScript, free_port

__all__ = ["uci_housing"]
SERVE = "python3 -m mindspore_serving.serve --model uci_housing_model --thread 10 --port 9393"
CURL = """curl -XPOST http://0.0.0.0:9393/GeneralModelService/inference -d ' {"tensor":[{"float_data":[0.0137,-0.1136,0.2553,-0.0692,0.0582,-0.0727,-0.1583,-0.0584,0.6283,0.4919,0.1856,0.0795,-0.0332],"elem_type":1,"name":"x","alias_name":"x","shape":[1,13]}],"fetch_var_names":["price"],"log_id":0}'"""  # noqa: E501
REPLY = (
    '{"outputs":[{"tensor":[{"float_data":[18.901152],"elem_type":1,"shape":[1,1],"name":"fc_0.tmp_1",'
    '"alias_name":"price"}],"engine_name":"general_infer_0"}]}'
)
BODY = {"tensor": [{"float_data": HOUSE, "elem_type": 1, "alias_name": "x", "shape": [1, 13]}]}
RUN_WITHIN_S = 100

pytestmark = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import paddle"], capture_output=True, check=False).returncode != 0,
    reason="needs paddlepaddle",
)


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_WITHIN_S,
        check=False,
        env={**os.environ, **environment},
    )


@dataclass(frozen=True)
class Shell:
    """Runs the program in this process, where words are quick. A server is a process of its own, see `run`.

    Attributes:
        capture: Of pytest.
        patch: Of pytest.
    """

    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def type(self, folder: Path, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the program, called in a folder."""
        self.patch.chdir(folder)
        self.patch.setattr("sys.argv", [MODULE, *arguments])
        self.capture.readouterr()
        try:
            code = main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = self.capture.readouterr()
        return code, printed.out, printed.err


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Where words are typed."""
    return Shell(capsys, monkeypatch)


def price_of(address: str) -> float:
    reply = send(address, "POST", "/GeneralModelService/inference", json.dumps(BODY))
    assert reply.status == 200, reply.body
    [price] = json.loads(reply.body)["outputs"][0]["tensor"][0]["float_data"]
    return float(price)


def test_the_lines_as_they_stand(tmp_path: Path, uci_housing: Path) -> None:
    """Both lines of the document, in a shell, but for the name of the module, and for the port where it is taken."""
    copy_model(uci_housing, tmp_path)
    port = str(free_port())
    python = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {SERVE.replace('9393', port)}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": python, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    running = RunningScript(process, tmp_path)
    try:
        running.wait_for_line(READY)
        assert "--thread has no meaning here: requests wait in a queue" in running.output
        command = CURL.replace("9393", port).replace("curl", "curl -s")
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=RUN_WITHIN_S, check=True
        )
        assert done.stdout == REPLY
        stopped = run(tmp_path, "stop", "--port", port)
        assert (stopped.returncode, f"port {port}" in stopped.stdout) == (0, True)
        assert running.wait() == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, uci_housing: Path) -> Path:
    """A folder with two models that can be chained: the second one takes what the first one gives."""
    home = tmp_path_factory.mktemp("serve")
    copy_model(uci_housing, home)
    return home


def test_words_and_one_port(folder: Path, shell: Shell) -> None:
    with paddle_server(folder, ["uci_housing_model"], "--precision", "fp32", "--use_mkl", "--ir_optim") as (
        running,
        address,
    ):
        port = address.rpartition(":")[2]
        assert price_of(address) == pytest.approx(PRICE, rel=1e-6)
        with grpc.insecure_channel(address) as channel:
            ask = channel.unary_unary(
                "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference",
                request_serializer=pb2.Request.SerializeToString,
                response_deserializer=pb2.Response.FromString,
            )
            tensor = pb2.Tensor(float_data=HOUSE, elem_type=1, name="x", shape=[1, 13])
            response = ask(pb2.Request(tensor=[tensor]), timeout=RUN_WITHIN_S)
            assert list(response.outputs[0].tensor[0].float_data) == pytest.approx([PRICE], rel=1e-6)
        code, out, _ = shell.type(folder, "check", "--port", port)
        assert (code, out.splitlines()[-1]) == (0, f"Server on port {port}: ready")
        [record] = json.loads((folder / "ProcessInfo.json").read_text())
        assert (record["pid"], record["port"]) == (running.process.pid, int(port))
        code, _, err = shell.type(folder, "stop", "--port", str(free_port()))
        assert (code, "No server on port" in err) == (1, True)
        assert running.process.poll() is None
        second = run(folder, "--model", "uci_housing_model", "--port", port)
        assert (second.returncode, "Address already in use" in second.stderr) == (1, True)
        assert shell.type(folder, "kill")[0] == 0
        assert running.wait() == -signal.SIGKILL
    code, _, err = shell.type(folder, "stop")
    assert (code, "No server that was started from" in err) == (1, True)
    assert shell.type(folder, "check", "--port", port)[0] == 1


def test_a_record_of_others_kills_nobody(folder: Path, shell: Shell, tmp_path: Path) -> None:
    """A file may name any process: one that is not a server, or another one by now, is left alone."""
    shell.patch.setenv("SERVING_HOME", str(tmp_path))
    for source in (f"import time; '{MODULE}'; time.sleep(600)", "import time; time.sleep(600)"):
        with subprocess.Popen([sys.executable, "-c", source]) as stranger:
            record = {"pid": stranger.pid, "port": 1, "model": [], "start_time": 0}
            (tmp_path / "ProcessInfo.json").write_text(json.dumps([record]))
            assert shell.type(folder, "kill")[0] == 1
            assert stranger.poll() is None
            stranger.kill()
    (tmp_path / "ProcessInfo.json").write_text("[1]")
    code, _, err = shell.type(folder, "stop")
    assert (code, "is not what mindspore_serving.serve writes" in err) == (1, True)


def test_a_chain(tmp_path: Path, uci_housing: Path) -> None:
    """The second model scales what the first one gives; it says so itself, since no model of this size fits."""
    copy_model(uci_housing, tmp_path)
    scale = tmp_path / "scale"
    scale.mkdir()
    (scale / "servable_config.py").write_text(
        "from mindspore_serving.server import register\n\n\n"
        "def times_two(price):\n    return price * 2\n\n\n"
        "@register.register_method(output_names=['twice'])\n"
        "def predict(price):\n    return register.add_stage(times_two, price, outputs_count=1)\n"
    )
    (scale / NAMES).write_text(
        'feed_var { name: "in" alias_name: "price" feed_type: 1 shape: 1 }\n'
        'fetch_var { name: "out" alias_name: "twice" fetch_type: 1 shape: 1 }\n'
    )
    with paddle_server(tmp_path, ["uci_housing_model", "scale"]) as (_, address):
        reply = json.loads(send(address, "POST", "/GeneralModelService/inference", json.dumps(BODY)).body)
        [tensor] = reply["outputs"][0]["tensor"]
        assert (tensor["alias_name"], tensor["shape"]) == ("twice", [1, 1])
        assert tensor["float_data"] == pytest.approx([2 * PRICE], rel=1e-6)
        body = {"key": ["x"], "value": [str(HOUSE)]}
        alone = json.loads(send(address, "POST", "/uci_housing_model/prediction", json.dumps(body)).body)
        assert json.loads(alone["value"][0]) == [[pytest.approx(PRICE, rel=1e-6)]]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "--model is missing"),
        (("--model", "nowhere"), 1, "--model nowhere does not exist, expected the folder of a model"),
        (("--model", "ProcessInfo.txt"), 1, "--model ProcessInfo.txt is a file"),
        (("--model", "empty"), 1, "--model empty has no model in it"),
        (("--model", "uci_housing_model", "--unknown"), 2, "unrecognized arguments: --unknown"),
        (("--model", "uci_housing_model", "uci_housing_model"), 1, "do not fit together"),
        (
            ("--model", "uci_housing_model", "twin"),
            1,
            "'uci_housing_model' and 'twin' do not fit together: the inputs of 'twin' are x (x), and the outputs of",
        ),
    ],
)
def test_what_cannot_be_started(folder: Path, shell: Shell, arguments: Any, code: int, text: str) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "ProcessInfo.txt").touch()
    shutil.copytree(folder / "uci_housing_model", folder / "twin", dirs_exist_ok=True)
    found, _, err = shell.type(folder, *arguments, *(("--port", str(free_port())) if arguments else ()))
    assert (found, text in err) == (code, True), err
    assert "Traceback" not in err
