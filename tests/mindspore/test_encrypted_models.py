"""Models that MindSpore has encrypted: loaded with their key, refused with any other, and the key shown nowhere."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from mindspore_serving.server.backend.encrypted_model import decrypt, mode_of_file
from mindspore_serving.server.backend.mindspore.mindir_metadata import read_signature
from mindspore_serving.tensor import Array
from tests.conformance.scripts import outcomes
from tests.support.encryption import encrypted
from tests.support.http_requests import post
from tests.support.serve_process import READY, serve_process
from tests.support.serving import (
    RunningServer,
    add_servable,
    free_port,
    running_script,
    serving,
)
from tests.support.traces import descendants, forms_of, pipes_of, traces, traces_in, traces_in_pipes
from tests.support.watch import kill, wait_until

KEY = bytes.fromhex("00ff10deadbeef7f80c3a9270a0d5c224d6f64656c206b657920666f72207573")
MODES = ["AES-GCM", "AES-CBC"]
LARGE_ROWS = 4_250_000

ADD = """
import numpy as np

from mindspore_serving.server import register

model = register.declare_model(model_file="add.mindir", model_format="MindIR", with_batch_dim=False)


def double(x):
    return x * np.float32(2)


@register.register_method(output_names=["z"])
def add(x, y):
    return register.add_stage(model, x, y, outputs_count=1)


@register.register_method(output_names=["z"])
def add_twice(x, y):
    z = register.add_stage(model, x, y, outputs_count=1)
    return register.add_stage(double, z, outputs_count=1)
"""

DYNAMIC = """
from mindspore_serving.server import register

model = register.declare_model(model_file="add.mindir", model_format="MindIR")


@register.register_method(output_names=["z"])
def add(x, y):
    return register.add_stage(model, x, y, outputs_count=1)
"""

SUBGRAPHS = """
from mindspore_serving.server import register

model = register.declare_model(["add.mindir", "other.mindir"], "MindIR", with_batch_dim=False)


def both(x, y):
    return model.call(model.call(x, y, subgraph=0), y, subgraph=1)


@register.register_method(output_names=["z"])
def add(x, y):
    return register.add_stage(both, x, y, outputs_count=1)
"""

# It starts a process that takes over whatever may be inherited.
SECRET = """
import subprocess

from mindspore_serving.server import register

child = subprocess.Popen(["sleep", "600"], close_fds=False)
model = register.declare_model(model_file="secret.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def shift(x):
    y = register.add_stage(model, x, outputs_count=1)
    return register.add_stage(lambda y: y, y, outputs_count=1)
"""

KEY_HOLDER = """
import subprocess
import sys

secret = sys.stdin.readline().rstrip()
subprocess.run([sys.executable, "-c", "input()", {argument}], env={environment}, stdin=sys.stdin)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with the models of export_encrypted_models.py."""
    folder = tmp_path_factory.mktemp("encrypted")
    script = Path(__file__).with_name("export_encrypted_models.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), KEY.hex()], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


def put(model: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(model, target)


def keyed(length: int, mode: str = "AES-GCM") -> str:
    """Arguments of a start configuration, as source."""
    return f"dec_key={KEY[:length]!r}, dec_mode={mode!r}"


# --- The format ---


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [16, 24, 32])
def test_files_of_mindspore_are_decrypted(exported: Path, mode: str, length: int) -> None:
    path = exported / f"{mode}_{length}.mindir"
    assert mode_of_file(path) == mode
    assert decrypt(path.read_bytes(), KEY[:length]).startswith((exported / "plain.mindir").read_bytes()[:16])
    assert read_signature(path, KEY[:length]).inputs == read_signature(exported / "plain.mindir").inputs


@pytest.mark.parametrize("mode", MODES)
def test_a_file_of_several_blocks(exported: Path, mode: str) -> None:
    content = (exported / f"{mode}_large.mindir").read_bytes()
    assert content.count(content[:4]) >= 2
    plain = decrypt(content, KEY[:16])
    weights = np.arange(LARGE_ROWS * 4, dtype=np.float32).tobytes()
    assert plain.find(weights) > 0


# --- Servers ---


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Servables in both modes, with keys of all lengths, beside a plain one."""
    folder = tmp_path_factory.mktemp("served")
    for name, source in (("add", ADD), ("dynamic", DYNAMIC), ("both", SUBGRAPHS), ("plain", ADD)):
        add_servable(folder, name, source, files=())
    for model, target in (
        ("AES-GCM_16", "add/1/add"),
        ("AES-CBC_24", "add/2/add"),
        ("AES-GCM_32", "add/3/add"),
        ("AES-CBC_dynamic", "dynamic/1/add"),
        ("AES-GCM_32", "both/1/add"),
        ("AES-CBC_32", "both/1/other"),
        ("plain", "plain/1/add"),
    ):
        put(exported / f"{model}.mindir", folder / f"{target}.mindir")
    configs = [
        f'".", "add", device_ids=0, version_number=1, {keyed(16, "AES-CBC")}',
        f'".", "add", 0, 2, None, {KEY[:24]!r}, "AES-CBC"',
        f'".", "add", device_ids=0, version_number=3, num_parallel_workers=2, {keyed(32)}',
        f'".", "dynamic", num_parallel_workers=2, {keyed(16, "AES-CBC")}',
        f'".", "both", device_ids=0, {keyed(32)}',
        '".", "plain", device_ids=0',
    ]
    with serving(folder, configs, backend="mindspore") as running:
        yield running


X = np.array([[1, 2], [3, 4]], np.float32)


@pytest.mark.parametrize(
    ("servable", "version", "method", "factor"),
    [
        pytest.param("add", 1, "add", 2, id="gcm, said to be cbc"),
        pytest.param("add", 2, "add", 2, id="cbc, in the order of 1.3"),
        pytest.param("add", 3, "add", 2, id="gcm"),
        pytest.param("add", 3, "add_twice", 4, id="gcm, with extra workers"),
        pytest.param("both", 1, "add", 3, id="two files of two modes"),
        pytest.param("plain", 1, "add", 2, id="plain"),
    ],
)
def test_replies(server: RunningServer, servable: str, version: int, method: str, factor: int) -> None:
    with Client(server.grpc, servable, method, version) as client:
        [reply] = client.infer({"x": X, "y": X})
    np.testing.assert_array_equal(reply["z"], X * factor)
    body = {"instances": [{"x": X.tolist(), "y": X.tolist()}]}
    rest = post(server.rest, f"/model/{servable}/version/{version}:{method}", body)
    assert json.loads(rest.body) == {"instances": [{"z": (X * factor).tolist()}]}


def test_a_dynamic_batch_in_workers_without_devices(server: RunningServer) -> None:
    instances = [{"x": X[0] * i, "y": X[1]} for i in range(70)]
    with Client(server.grpc, "dynamic", "add") as client:
        reply = client.infer(instances)
    for i, instance in enumerate(reply):
        np.testing.assert_array_equal(instance["z"], X[0] * i + X[1])
    logs = [server.folder / "serving_logs" / f"log_dynamic_extra{i}_version1.log" for i in (0, 1)]
    assert all("Start servable success" in log.read_text() for log in logs)


def test_another_mode_is_warned_of(server: RunningServer) -> None:
    log = (server.folder / "serving_logs" / "log_add_device0_version1.log").read_text()
    assert (
        "add.mindir' is encrypted with AES-GCM, but dec_mode is 'AES-CBC'; it is loaded with AES-GCM" in log
    )
    assert server.worker_logs().count("is encrypted with") == 2  # and one of the two files of `both`


def test_the_main_process_does_not_load_what_decrypts(server: RunningServer) -> None:
    def loads(pid: int) -> bool:
        return "/cryptography/" in Path(f"/proc/{pid}/maps").read_text()

    assert not loads(server.process.pid)
    assert any(loads(pid) for pid in server.workers())


def test_serve_takes_the_key_from_the_environment(exported: Path, tmp_path: Path) -> None:
    key = secrets.token_hex(16)
    plain = (exported / "plain.mindir").read_bytes()
    (tmp_path / "add.mindir").write_bytes(encrypted(plain, key.encode(), "AES-GCM"))
    (tmp_path / "server.yaml").write_text(
        "models: [{path: add.mindir, dec_key_env: KEY_OF_MODELS, with_batch_dim: false}]\n"
    )
    environment = {"SERVING_BACKEND": "mindspore", "KEY_OF_MODELS": key}
    with serve_process(tmp_path, "server.yaml", environment=environment) as running:
        running.wait_for_line(READY)
        body = {"instances": [{"x": X.tolist(), "y": X.tolist()}]}
        reply = json.loads(post(running.rest, "/model/add:predict", body).body)
        assert list(reply["instances"][0].values()) == [(X * 2).tolist()]
        [worker] = running.workers()
        assert key.encode() not in Path(f"/proc/{worker}/environ").read_bytes()
        assert key not in running.output + running.worker_logs()


def test_init_and_check_take_the_key_from_a_file(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY[:16])
    put(exported / "AES-CBC_16.mindir", tmp_path / "add.mindir")
    for verb in ("init add.mindir", "check add_serving/add --seconds 0"):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "mindspore_serving",
                *verb.split(),
                "--dec-key-file",
                "key",
                "--dec-mode",
                "AES-CBC",
            ],
            cwd=tmp_path,
            env={**os.environ, "SERVING_BACKEND": "mindspore"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "dec_mode=" in (tmp_path / "add_serving" / "serving_server.py").read_text()


# --- Refusals ---


WRONG = "the file is encrypted with {}, and dec_key does not decrypt it to a MindIR model: "
OTHER_KEY = KEY[::-1]
REFUSALS: dict[str, tuple[str, bytes | None, str, str]] = {
    "wrong_key": ("AES-GCM_16", OTHER_KEY[:16], "AES-GCM", WRONG.format("AES-GCM")),
    "wrong_key_cbc": ("AES-CBC_32", OTHER_KEY, "AES-CBC", WRONG.format("AES-CBC")),
    "wrong_length": ("AES-GCM_16", KEY[:24], "AES-GCM", WRONG.format("AES-GCM")),
    "wrong_key_and_mode": ("AES-CBC_16", OTHER_KEY[:16], "AES-GCM", WRONG.format("AES-CBC")),
    "damaged": ("damaged", KEY[:16], "AES-GCM", WRONG.format("AES-GCM")),
    "truncated": ("truncated", KEY[:16], "AES-GCM", "the encrypted file is damaged or incomplete, "),
    "plain": ("plain", KEY[:16], "AES-GCM", "the file is not encrypted, but dec_key was given"),
    "no_key": ("AES-CBC_16", None, "AES-CBC", "the file is encrypted with AES-CBC, but no dec_key was given"),
    "sm4": ("SM4-CBC", KEY[:16], "AES-CBC", "the file is encrypted with SM4-CBC, which is not supported"),
}
"""Name of a servable: its model, key and mode, and why it is refused."""


@pytest.fixture(scope="module")
def refused(
    exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, tuple[str, str] | None]]:
    """Folder of the servables, and what came of each start; one script makes them all."""
    folder = tmp_path_factory.mktemp("refused")
    whole = (exported / "AES-GCM_16.mindir").read_bytes()
    (exported / "truncated.mindir").write_bytes(whole[:-9])
    (exported / "damaged.mindir").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    calls = {}
    for name, (model, key, mode, _) in REFUSALS.items():
        add_servable(folder, name, ADD, files=())
        put(exported / f"{model}.mindir", folder / name / "1" / "add.mindir")
        config = f"server.ServableStartConfig('.', {name!r}, 0, dec_key={key!r}, dec_mode={mode!r})"
        calls[name] = f"server.start_servables({config})"
    environment = {"SERVING_BACKEND": "mindspore", "GLOG_v": "0"}
    return folder, outcomes(folder, "from mindspore_serving import server", calls, environment=environment)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(refused: tuple[Path, dict[str, tuple[str, str] | None]], name: str) -> None:
    folder, found = refused
    _, key, _, reason = REFUSALS[name]
    assert found[name] is not None
    kind, text = found[name]
    assert kind == "RuntimeError"
    begin, _, end = text.partition(", load error details: ")
    assert begin.startswith(
        f"Fail to start workers: {{servable name:{name}, device id:0, <Raise failed: Load model failed, servable "
        f"directory: '{folder}', servable name: '{name}', model file: '[add.mindir]', version number 1,model context: "
    )
    assert end.startswith(f"Model file '{folder / name / '1' / 'add.mindir'}': {reason}")
    log = (folder / "serving_logs" / f"log_{name}_device0_version1.log").read_text()
    assert reason in log
    if key is not None:
        assert traces_in(key, log + text) == []


# --- The key shows nowhere ---


@contextmanager
def watched(secret: bytes, *folders: Path) -> Iterator[list[str]]:
    """Look for traces of a secret again and again, in a thread; they are in the list at the end."""
    found: list[str] = []
    looks = 0
    stop = threading.Event()

    def look() -> None:
        nonlocal looks
        while not stop.is_set():
            found.extend(traces(secret, *folders))
            looks += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
    assert looks > 3


@pytest.mark.parametrize("mode", MODES)
def test_the_key_shows_nowhere_while_a_server_starts_runs_and_ends(
    exported: Path, tmp_path: Path, mode: str
) -> None:
    key = secrets.token_hex(16).encode()  # text, which any way of writing a text would show
    outside, folder, scratch = (tmp_path / name for name in ("outside", "folder", "scratch"))
    for made in (outside, folder, scratch):
        made.mkdir()
    (outside / "key").write_bytes(key)
    (outside / "key").chmod(0o600)
    plain = (exported / "secret.mindir").read_bytes()
    add_servable(folder, "secret", SECRET, files=())
    (folder / "secret" / "1").mkdir()
    (folder / "secret" / "1" / "secret.mindir").write_bytes(encrypted(plain, key, mode))
    weights = np.random.default_rng(1).random((64, 4), np.float32)
    assert weights.tobytes() in plain
    places = (folder, scratch)
    environment = {
        "GLOG_v": "0",
        "MS_SUBMODULE_LOG_v": "{SERVING:0}",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
    }
    key_argument = f'dec_key=open({str(outside / "key")!r}, "rb").read()'
    config = f'".", "secret", device_ids=(0, 1), num_parallel_workers=3, {key_argument}, dec_mode={mode!r}'
    with (
        watched(key, *places) as seen,
        serving(folder, [config], environment=environment, backend="mindspore") as running,
    ):
        ask_until_all_have_served(running, weights[-1:])
        before, pipes = running.workers(), pipes_of(running.process.pid)
        kill(*before)
        wait_until_restarted(running, before)
        ask_until_all_have_served(running, weights[-1:])
        processes = [running.process.pid, *descendants(running.process.pid)]
        started_by_servables = [pid for pid in processes if b"sleep" in command_line(pid)]
        assert len(started_by_servables) == len(before) == 3
        assert [pipes_of(pid) for pid in started_by_servables] == [[], [], []]
        assert pipes_of(running.process.pid) == pipes
        assert traces_in_pipes(key, processes) == []
        assert not any(weights.tobytes() in path.read_bytes() for path in files_below(*places))
    assert seen == []
    assert traces_in(key, running.output) == []
    assert "[DEBUG]" in running.worker_logs()


def ask_until_all_have_served(running: RunningServer, expected: Array) -> None:
    """Ask, and check the replies, until each worker that runs has been asked."""
    pids = running.workers()

    def ask() -> bool:
        with Client(running.grpc, "secret", "shift") as client:
            reply = client.infer([{"x": np.zeros((1, 4), np.float32)}] * 40)
        assert isinstance(reply, list), reply
        assert all(np.array_equal(instance["y"], expected) for instance in reply)
        lines = [
            line for line in running.worker_logs().splitlines() if "WorkerRequestHandle Time Cost" in line
        ]
        return all(any(f"({pid}:" in line for line in lines) for pid in pids)

    wait_until(ask, "all workers have been asked", 60)


def wait_until_restarted(running: RunningServer, before: list[int]) -> None:
    def ready() -> bool:
        return running.worker_logs().count("Start servable success") == 2 * len(before)

    wait_until(ready, "workers are back", 60)
    assert not set(running.workers()) & set(before)


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", forms_of(b""))
def test_what_would_show_is_found_in_files(tmp_path: Path, form: str) -> None:
    key = secrets.token_hex(16).encode()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"\xff before" + forms_of(key)[form] + b"after")
    assert any("below/file" in trace for trace in traces(key, tmp_path))
    assert traces(secrets.token_hex(16).encode(), tmp_path) == []
    assert form in traces_in(key, f"before{forms_of(key)[form].decode()}after")


def test_what_would_show_is_found_in_names_of_files(tmp_path: Path) -> None:
    key = secrets.token_hex(16)
    (tmp_path / f"key_{key}").touch()
    assert any("key_" in trace for trace in traces(key.encode(), tmp_path))


@pytest.mark.parametrize(
    ("argument", "environment", "place"),
    [("secret", "{}", "cmdline"), ("'-'", "{'KEY': secret}", "environ")],
)
def test_what_would_show_is_found_in_processes(argument: str, environment: str, place: str) -> None:
    key = secrets.token_hex(16)
    source = KEY_HOLDER.format(argument=argument, environment=environment)
    process = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    try:
        print(key, file=process.stdin, flush=True)
        wait_until(lambda: any(f"/{place}: raw" in trace for trace in traces(key.encode())), "it is found")
    finally:
        process.stdin.close()
        process.wait(20)


def test_what_would_show_is_found_in_pipes() -> None:
    """In a process of its own: the search empties the pipes that it looks into."""
    key = secrets.token_bytes(32)
    reader, writer = os.pipe()
    os.write(writer, key)
    holder = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(reader, writer)
    )
    os.close(reader)
    os.close(writer)
    try:
        assert traces_in_pipes(key, [holder.pid])
        assert traces_in_pipes(key, [holder.pid]) == []
    finally:
        holder.kill()
        holder.communicate()


# --- The names of release 1.2 ---


@pytest.mark.parametrize(
    ("call", "front_end"),
    [
        ("start_servable_in_master('.', 'add', {key})", "master.start_grpc_server('127.0.0.1', {grpc})"),
        (
            "start_servable('.', 'add', master_ip='127.0.0.1', master_port={master}, worker_ip='127.0.0.1', "
            "worker_port={worker}, {key})",
            "",
        ),
    ],
    ids=["lightweight", "cluster"],
)
def test_start_functions_of_1_2(exported: Path, tmp_path: Path, call: str, front_end: str) -> None:
    add_servable(tmp_path, "add", ADD, files=())
    put(exported / "AES-CBC_16.mindir", tmp_path / "add" / "1" / "add.mindir")
    ports = {"grpc": free_port(), "master": free_port(), "worker": free_port(), "key": keyed(16, "AES-CBC")}
    start = tmp_path / "start.py"
    start.write_text(
        f"from mindspore_serving import master, worker\n{front_end.format(**ports)}\nworker.{call.format(**ports)}\n"
    )
    other = tmp_path / "master.py"
    other.write_text(
        "from mindspore_serving import master\n"
        "master.start_grpc_server('127.0.0.1', {grpc})\nmaster.start_master_server('127.0.0.1', {master})\n".format(
            **ports
        )
    )
    with running_script(start if front_end else other) as first:
        if front_end:
            first.wait_for_line("Start servable success")
            ask_add(ports["grpc"])
            return
        first.wait_for_line("Master server start success")
        with running_script(start) as second:
            second.wait_for_line("Start servable success")
            ask_add(ports["grpc"])


def ask_add(port: object) -> None:
    with Client(f"127.0.0.1:{port}", "add", "add") as client:
        [reply] = client.infer({"x": X, "y": X})
    np.testing.assert_array_equal(reply["z"], X * 2)
