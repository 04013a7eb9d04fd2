"""Section 2: `mindspore_serving.master` and `.worker` (release 1.2), in one process and as a cluster."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.row import row, stands_for
from tests.conformance.scripts import outcomes
from tests.support.http_requests import post
from tests.support.serving import REPOSITORY, RunningScript, add_servable, free_port, running_script
from tests.support.watch import kill, wait_until, wait_until_gone

SQUARE = np.array([[1, 2], [3, 4]], np.float32)
GOOD = {"x1": SQUARE, "x2": SQUARE}
IMPORTS = "from mindspore_serving import master, worker\n"
MASTER_WAITS = "Serving master: wait for Ctrl+C to exit ------------------------------------"
WORKER_WAITS = "Serving worker: wait for Ctrl+C to exit ------------------------------------"
STUB = {"SERVING_BACKEND": "stub"}

ADD = """\
import numpy as np

from mindspore_serving.worker import register

register.declare_servable(servable_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


def cast(x1, x2):
    if (x1 < 0).any():
        raise ValueError("negative input")
    return x1.astype(np.float32), x2.astype(np.float32)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    y = register.call_servable(x1, x2)
    return y


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.call_preprocess(cast, x1, x2)
    y = register.call_servable(x1, x2)
    return y
"""

# --- Names and signatures ---

SIGNATURES = {
    "master.start_grpc_server": "(ip='0.0.0.0', grpc_port=5500, max_msg_mb_size=100)",
    "master.start_restful_server": "(ip='0.0.0.0', restful_port=5900, max_msg_mb_size=100)",
    "master.start_master_server": "(ip='127.0.0.1', master_port=6100)",
    "master.stop": "()",
    "master.context.set_max_enqueued_requests": "(max_enqueued_requests)",
    "worker.start_servable_in_master": "(servable_directory, servable_name, version_number=0, device_type=None, "
    "device_id=0)",
    "worker.start_servable": "(servable_directory, servable_name, version_number=0, device_type=None, device_id=0, "
    "master_ip='0.0.0.0', master_port=6100, worker_ip='0.0.0.0', worker_port=6200)",
    "worker.stop": "()",
}


def resolve(name: str) -> Any:
    first, *rest = name.split(".")
    found: Any = importlib.import_module(f"mindspore_serving.{first}")
    for part in rest:
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", [row(f"2.1-{name}", name) for name in SIGNATURES])
def test_signatures(name: str) -> None:
    signature = inspect.signature(resolve(name))
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    shown = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    if name.endswith("set_max_enqueued_requests"):
        assert len(plain) == 1
    else:
        assert shown == SIGNATURES[name]


@pytest.mark.parametrize(
    "name",
    [
        row(f"2.1-worker.register.{name}", name)
        for name in (
            "declare_servable",
            "AclOptions",
            "GpuOptions",
            "register_method",
            "call_preprocess",
            "call_preprocess_pipeline",
            "call_servable",
            "call_postprocess",
            "call_postprocess_pipeline",
        )
    ],
)
def test_names_of_register(name: str) -> None:
    assert callable(resolve(f"worker.register.{name}"))


# --- Parameters ---

PORT = "Parameter '{}' should be in range [1,65535]"
STR = "Parameter '{}' should be str, but actually <class 'int'>"
REFUSED = {
    "2.1-start_grpc_server-ip": ("master.start_grpc_server(1)", STR.format("ip")),
    "2.1-start_grpc_server-ip-empty": (
        "master.start_grpc_server('')",
        "Parameter 'ip' should not be empty str",
    ),
    "2.1-start_grpc_server-grpc_port": (
        "master.start_grpc_server(grpc_port=0)",
        PORT.format("grpc_port"),
    ),
    "2.1-start_grpc_server-max_msg_mb_size": (
        "master.start_grpc_server(max_msg_mb_size=513)",
        "Parameter 'max_msg_mb_size' should be in range [1,512]",
    ),
    "2.1-start_restful_server-ip": ("master.start_restful_server(1)", STR.format("ip")),
    "2.1-start_restful_server-restful_port": (
        "master.start_restful_server(restful_port=65536)",
        PORT.format("restful_port"),
    ),
    "2.1-start_restful_server-max_msg_mb_size": (
        "master.start_restful_server(max_msg_mb_size=0)",
        "Parameter 'max_msg_mb_size' should be in range [1,512]",
    ),
    "2.1-start_master_server-ip": ("master.start_master_server(1)", STR.format("ip")),
    "2.1-start_master_server-master_port": (
        "master.start_master_server(master_port=0)",
        PORT.format("master_port"),
    ),
    "2.1-set_max_enqueued_requests-range": (
        "master.context.set_max_enqueued_requests(0)",
        "Parameter 'max_enqueued_requests' should be >= 1",
    ),
    "2.1-set_max_enqueued_requests-type": (
        "master.context.set_max_enqueued_requests('1')",
        "Parameter 'max_enqueued_requests' should be int, but actually <class 'str'>",
    ),
}
for function in ("start_servable", "start_servable_in_master"):
    for parameter, arguments, text in (
        ("servable_directory", "1, 'add'", STR.format("servable_directory")),
        ("servable_name", "'.', 1", STR.format("servable_name")),
        ("version_number", "'.', 'add', version_number=-1", "Parameter 'version_number' should be >= 0"),
        ("device_id", "'.', 'add', device_id=-1", "Parameter 'device_id' should be >= 0"),
        (
            "device_id-type",
            "'.', 'add', device_id='0'",
            "Parameter 'device_id' should be int, but actually <class 'str'>",
        ),
    ):
        REFUSED[f"2.1-{function}-{parameter}"] = (f"worker.{function}({arguments})", text)
for parameter, value, text in (
    ("master_ip", "1", STR.format("master_ip")),
    ("worker_ip", "1", STR.format("worker_ip")),
    ("master_port", "0", PORT.format("master_port")),
    ("worker_port", "65536", PORT.format("worker_port")),
):
    REFUSED[f"2.1-start_servable-{parameter}"] = (
        f"worker.start_servable('.', 'add', {parameter}={value})",
        text,
    )
DEVICE_TYPES = {
    f"2.1-{function}-device_type": f"worker.{function}('.', 'add', device_type='InvalidDeviceType')"
    for function in ("start_servable", "start_servable_in_master")
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str] | None]:
    folder = tmp_path_factory.mktemp("parameters_a")
    add_servable(folder, "add", ADD)
    calls = {name: source for name, (source, _) in REFUSED.items()} | DEVICE_TYPES
    return outcomes(folder, IMPORTS, calls)


@pytest.mark.parametrize("case", [row(name, name) for name in REFUSED])
def test_parameters(refusals: dict[str, tuple[str, str] | None], case: str) -> None:
    assert refusals[case] == ("RuntimeError", REFUSED[case][1])


@pytest.mark.parametrize("case", [row(name, name) for name in DEVICE_TYPES])
def test_device_type(refusals: dict[str, tuple[str, str] | None], case: str) -> None:
    error = refusals[case]
    assert error is not None
    assert error[1].startswith("Unsupported device type 'InvalidDeviceType', only support 'Ascend', 'GPU'")
    assert error[1].endswith("and None, case ignored")


# --- Start errors ---

START_ERRORS = {
    "2.1-error-directory": (
        "nobody",
        "'.', 'nobody'",
        "Load servable config failed, directory '{d}/nobody' not exist, servable directory '{d}', servable name "
        "'nobody'",
    ),
    "2.1-error-file": (
        "empty",
        "'.', 'empty'",
        "Load servable config failed, file '{d}/empty/servable_config.py' not exist, servable directory '{d}', "
        "servable name 'empty'",
    ),
    "2.1-error-version": (
        "add",
        "'.', 'add', version_number=2",
        "Start servable failed, there is no servable of the specified version number, specified version number: 2, "
        "servable directory: '{d}', servable name: 'add'. version number is a positive integer(started from 1) and 0 "
        "represents the maximum version number.",
    ),
    "2.1-error-model": (
        "broken",
        "'.', 'broken'",
        "Load model failed, servable directory: '{d}', servable name: 'broken', ",
    ),
}


@pytest.fixture(scope="module")
def start_errors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[str, str] | None]]:
    folder = tmp_path_factory.mktemp("start_errors_a")
    add_servable(folder, "add", ADD)
    (folder / "empty").mkdir()
    add_servable(folder, "broken", ADD, ["1/other.mindir"])
    calls = {
        name: f"worker.start_servable_in_master({arguments})"
        for name, (_, arguments, _) in START_ERRORS.items()
    }
    return folder, outcomes(folder, IMPORTS, calls)


@pytest.mark.parametrize("case", [row(name, name) for name in START_ERRORS])
def test_start_errors(start_errors: tuple[Path, dict[str, tuple[str, str] | None]], case: str) -> None:
    folder, found = start_errors
    error = found[case]
    assert error is not None
    text = START_ERRORS[case][2].format(d=folder)
    if case == "2.1-error-model":
        assert text in error[1]
    else:
        assert error == ("RuntimeError", text)


# --- What is not as it was in 1.2: the page for its users says so ---

PAGE = (REPOSITORY / "docs" / "coming-from-1.2.md").read_text()
REGISTER = "import numpy as np\nfrom mindspore_serving.worker import register\n"
DECLARED = (
    f"{REGISTER}\nregister.declare_servable(servable_file='tensor_add.mindir', model_format='MindIR', "
    "with_batch_dim=False)\n"
)
METHOD = "\n\n@register.register_method(output_names=['y'])\ndef add(x1, x2):\n    y = {}\n    return y\n"
CALL = METHOD.format("register.call_servable(x1, x2)")
EXCEPTIONS = {
    "2.1-config-module-not-found": ("import no_such_module\n", "No module named 'no_such_module'"),
    "2.1-config-value-error": ("raise ValueError('not today')\n", "not today"),
}
"""Source of a servable_config.py, and what the error at the start says."""
TEXTS = {
    "2.1-text-function-arity": (
        DECLARED
        + "def f(x1):\n    return x1\n"
        + METHOD.format("register.call_preprocess(f, x1, x2)\n    y = register.call_servable(y, x2)"),
        "function {name} input args count 1 not match the count 2 registered in method",
    ),
    "2.1-text-model-arity": (
        DECLARED + METHOD.format("register.call_servable(x1)"),
        "The inputs count 1 in register_method not equal to the count 2 defined in model",
    ),
    "2.1-text-no-model": (
        REGISTER + CALL,
        "There is no model declared, you can use declare_model to declare models.",
    ),
    "2.1-text-placeholder": (
        DECLARED + METHOD.format("register.call_servable(x1, np.ones(2))"),
        "Each value of parameter *args is a placeholder for data and must come from the method inputs or the "
        "outputs of add_stage",
    ),
    "2.1-text-AclOptions-unsupported": (
        f"{REGISTER}register.AclOptions(f='x')\n",
        "Set ascend device info failed, unsupported parameter {name}",
    ),
    "2.1-text-AclOptions-value": (
        f"{REGISTER}register.AclOptions(output_type='x')\n",
        "Ascend device info '{name}' can only be ...",
    ),
    "2.1-text-model_format": (
        f"{REGISTER}register.declare_servable('tensor_add.mindir', 'Caffe')\n",
        "model format can only be OM, MindIR, MindIR_Lite, ONNX or Paddle, case ignored",
    ),
}
"""Source of a servable_config.py, and the text as the page has it."""
NAMES = {"2.1-text-function-arity": "f", "2.1-text-AclOptions-unsupported": "f"}


@pytest.fixture(scope="module")
def config_errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str] | None]:
    folder = tmp_path_factory.mktemp("config_errors_a")
    calls = {}
    for i, (case, (source, _)) in enumerate((EXCEPTIONS | TEXTS).items()):
        add_servable(folder, f"add{i}", source)
        calls[case] = f"worker.start_servable_in_master('.', 'add{i}')"
    return outcomes(folder, IMPORTS, calls)


@pytest.mark.parametrize("case", [row(name, name) for name in EXCEPTIONS])
def test_an_exception_of_servable_config_is_a_runtime_error(
    config_errors: dict[str, tuple[str, str] | None], case: str
) -> None:
    error = config_errors[case]
    assert error is not None
    assert error[0] == "RuntimeError"
    assert error[1].startswith("Fail to start workers: ")
    assert EXCEPTIONS[case][1] in error[1]
    assert "it is a `RuntimeError` always: `Fail to start workers: ...`" in PAGE


@pytest.mark.parametrize("case", [row(name, name) for name in TEXTS])
def test_texts_that_changed(config_errors: dict[str, tuple[str, str] | None], case: str) -> None:
    text = TEXTS[case][1]
    assert f"| `{text}` |\n" in PAGE
    error = config_errors[case]
    assert error is not None
    assert text.format(name=NAMES.get(case, "output_type")).removesuffix("...") in error[1]


@dataclass
class Ports:
    """Addresses of one test.

    Attributes:
        grpc: Port of the gRPC server.
        rest: Port of the REST server.
        master: Port for workers.
        worker: Port of a worker.
    """

    grpc: int
    rest: int
    master: int
    worker: int


@pytest.fixture
def ports() -> Ports:
    return Ports(*(free_port() for _ in range(4)))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        row(
            "2.1-error-master-port-taken",
            "master.start_master_server('127.0.0.1', {port})",
            "Serving Error: Master server start failed, create server failed, address 127.0.0.1:{port}",
        ),
        row(
            "2.1-error-rest-port-taken",
            "master.start_restful_server('127.0.0.1', {port})",
            "Serving Error: RESTful server start failed, bind to the socket address 127.0.0.1:{port} failed",
        ),
        row(
            "2.1-error-grpc-port-taken",
            "master.start_grpc_server('127.0.0.1', {port})",
            "Serving Error: Serving gRPC server start failed, create server failed, address 127.0.0.1:{port}",
        ),
        row(
            "2.1-error-worker-port-taken",
            "worker.start_servable('.', 'add', worker_ip='127.0.0.1', worker_port={port}, master_ip='127.0.0.1', "
            "master_port={free})",
            "Serving Error: Worker gRPC server start failed, create server failed, address 127.0.0.1:{port}",
        ),
    ],
)
def test_a_port_that_is_taken(tmp_path: Path, taken: int, ports: Ports, call: str, text: str) -> None:
    add_servable(tmp_path, "add", ADD)
    found = outcomes(tmp_path, IMPORTS, {"call": call.format(port=taken, free=ports.master)})
    kind, told = found["call"]
    assert kind == "RuntimeError"
    assert text.format(port=taken) in told


@stands_for("2.1-error-master-server-twice")
def test_the_master_server_twice(tmp_path: Path, ports: Ports) -> None:
    calls = {
        "first": f"master.start_master_server('127.0.0.1', {ports.master})",
        "second": f"master.start_master_server('127.0.0.1', {ports.worker})",
    }
    found = outcomes(tmp_path, IMPORTS, calls, last="master.stop()\n")
    assert found == {
        "first": None,
        "second": ("RuntimeError", "Serving Error: Master server is already running"),
    }


@stands_for("2.1-error-second-servable")
def test_a_second_servable_in_one_process(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    calls = dict.fromkeys(("first", "second"), "worker.start_servable_in_master('.', 'add')")
    found = outcomes(tmp_path, IMPORTS, calls, last="worker.stop()\nmaster.stop()\n")
    text = "A servable has been started, only one servable can run in a process currently."
    assert found == {"first": None, "second": ("RuntimeError", text)}


# --- Everything in one process ---

LIGHTWEIGHT = """\
{imports}
import os
{first}
{second}
print("up", flush=True)
"""
START_MASTER = (
    "master.start_grpc_server('127.0.0.1', {grpc})\nmaster.start_restful_server('127.0.0.1', {rest})\n"
)
START_SERVABLE = (
    "worker.start_servable_in_master('.', 'add', version_number=0, device_type={device!r}, device_id=0)\n"
)


def script(folder: Path, body: str, name: str = "start.py") -> Path:
    path = folder / name
    path.write_text(body)
    return path


@pytest.fixture(scope="module", params=["master first", "servable first"])
def lightweight(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningScript, Ports]]:
    folder = tmp_path_factory.mktemp("lightweight")
    add_servable(folder, "add", ADD, ["1/tensor_add.mindir", "2/tensor_add.mindir"])
    ports = Ports(*(free_port() for _ in range(4)))
    device = None if request.param == "master first" else "Davinci"
    parts = [START_MASTER.format(grpc=ports.grpc, rest=ports.rest), START_SERVABLE.format(device=device)]
    if request.param == "servable first":
        parts.reverse()
    body = LIGHTWEIGHT.format(imports=IMPORTS, first=parts[0], second=parts[1])
    with running_script(script(folder, body), environment=STUB) as running:
        running.wait_for_line("up")
        yield running, ports


def doubled(replies: Any) -> bool:
    assert isinstance(replies, list), replies
    return all(bool((reply["y"] == SQUARE * 2).all()) for reply in replies)


@stands_for("2.1-start_servable_in_master-client")
def test_client_by_ip_and_port(lightweight: tuple[RunningScript, Ports]) -> None:
    _, ports = lightweight
    for host in ("127.0.0.1", "localhost"):
        with Client(host, ports.grpc, "add", "add_common") as client:
            assert (client.ip, client.port, client.address) == (host, ports.grpc, f"{host}:{ports.grpc}")
            assert doubled(client.infer([GOOD] * 3))
    with Client("127.0.0.1", ports.grpc, "add", "add_cast", 2) as client:
        ints = SQUARE.astype(np.int32)
        assert doubled(client.infer({"x1": ints, "x2": ints}))
        replies = client.infer(
            [{"x1": -ints, "x2": ints}, {"x1": ints, "x2": ints}, {"x1": ints, "x2": ints}]
        )
        assert replies[0] == {
            "error": "Call Preprocess Failed, method: 'add_cast', stage index(begin with 1): 1, error msg: "
            "negative input"
        }
        assert doubled(replies[1:])


@stands_for("2.1-start_servable_in_master-rest")
def test_rest(lightweight: tuple[RunningScript, Ports]) -> None:
    _, ports = lightweight
    body = {"instances": [{"x1": SQUARE.tolist(), "x2": SQUARE.tolist()}]}
    reply = post(f"127.0.0.1:{ports.rest}", "/model/add/version/2:add_common", body)
    assert (reply.status, reply.text) == (200, '{"instances":[{"y":[[2.0,4.0],[6.0,8.0]]}]}')


@stands_for("2.1-all-fail-alike")
def test_instances_that_all_fail_alike(lightweight: tuple[RunningScript, Ports]) -> None:
    _, ports = lightweight
    bad = {"x1": -SQUARE, "x2": SQUARE}
    text = (
        "Call Preprocess Failed, method: 'add_cast', stage index(begin with 1): 1, error msg: negative input"
    )
    with Client("127.0.0.1", ports.grpc, "add", "add_cast") as client:
        assert client.infer([bad] * 3) == {"error": text}
        assert client.infer([bad, {"x1": SQUARE, "x2": SQUARE}])[0] == {"error": text}
    instances = [{name: value.tolist() for name, value in bad.items()}] * 3
    reply = post(f"127.0.0.1:{ports.rest}", "/model/add:add_cast", {"instances": instances})
    assert json.loads(reply.text) == {"error_msg": text}
    assert '`Client.infer` returns a dict `{"error": ...}` and no list, REST one `error_msg`' in PAGE
    assert "`Call Preprocess Failed, method: ...`" in PAGE


@stands_for("2.1-start_servable_in_master-lines")
def test_lines(lightweight: tuple[RunningScript, Ports]) -> None:
    running, ports = lightweight
    running.wait_for_line(MASTER_WAITS, 5)
    running.wait_for_line(WORKER_WAITS, 5)
    assert running.lines.count(MASTER_WAITS) == 1
    assert running.lines.count(WORKER_WAITS) == 1
    for line in (
        f"Serving: Serving gRPC server start success, listening on 127.0.0.1:{ports.grpc}",
        f"Serving: Serving RESTful server start success, listening on 127.0.0.1:{ports.rest}",
    ):
        assert line in running.lines


@stands_for("0-deprecated-generation-a")
def test_older_names_are_deprecated(lightweight: tuple[RunningScript, Ports]) -> None:
    running, _ = lightweight
    for name in ("start_grpc_server", "start_restful_server", "start_servable_in_master"):
        pattern = (
            rf"\[WARNING\] SERVING\(.*\] '{name}' is deprecated from version \S+ and will be removed in a future "
            r"version, use '\S+' instead\."
        )
        assert any(re.fullmatch(pattern, line) for line in running.lines), name


@pytest.mark.parametrize("function", [row("12.1-15-a-grpc", "grpc"), row("12.1-15-a-rest", "restful")])
def test_a_master_without_servables_stays(tmp_path: Path, function: str) -> None:
    """Unlike the servers of the later API, those of 1.2 keep the process alive; SIGTERM ends it."""
    body = f"{IMPORTS}master.start_{function}_server('127.0.0.1', {free_port()})\nprint('end', flush=True)\n"
    with running_script(script(tmp_path, body), environment=STUB) as running:
        running.wait_for_line("end")
        running.wait_for_line(MASTER_WAITS, 5)
        with Path(f"/proc/{running.process.pid}/stat").open() as stat:
            assert stat.read().rpartition(")")[2].split()[0] != "Z"
        running.signal(signal.SIGTERM)
        running.wait()
        assert running.process.poll() is not None


@stands_for("2.1-stop")
def test_stop(tmp_path: Path, ports: Ports) -> None:
    add_servable(tmp_path, "add", ADD)
    body = (
        IMPORTS
        + START_MASTER.format(grpc=ports.grpc, rest=ports.rest)
        + START_SERVABLE.format(device=None)
        + "worker.stop()\nmaster.stop()\nmaster.stop()\nprint('stopped', flush=True)\n"
    )
    with running_script(script(tmp_path, body), environment=STUB) as running:
        running.wait_for_line("stopped")
        assert running.wait() == 0, running.output
        assert running.workers() == []


# --- Cluster ---

MASTER = (
    IMPORTS
    + START_MASTER
    + "master.start_master_server('127.0.0.1', {master})\nprint('master is up', flush=True)\n"
)
WORKER = (
    IMPORTS
    + "worker.start_servable('.', 'add', version_number={version}, device_id=0, master_ip='127.0.0.1', "
    "master_port={master}, worker_ip='127.0.0.1', worker_port={worker})\nprint('worker is up', flush=True)\n"
)


class Cluster:
    """A master and its workers, each a script of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.ports = Ports(*(free_port() for _ in range(4)))
        self.folder = folder
        self._stack = stack
        add_servable(folder, "add", ADD, ["1/tensor_add.mindir", "2/tensor_add.mindir"])

    def start_master(self) -> RunningScript:
        body = MASTER.format(grpc=self.ports.grpc, rest=self.ports.rest, master=self.ports.master)
        running = self.run(script(self.folder, body, "master.py"))
        running.wait_for_line("master is up")
        return running

    def start_worker(self, version: int = 0) -> tuple[RunningScript, int]:
        """A worker, not waited for, and its port."""
        port = free_port()
        body = WORKER.format(master=self.ports.master, worker=port, version=version)
        return self.run(script(self.folder, body, f"worker_{port}.py")), port

    def infer(self, version: int = 0, method: str = "add_common") -> Any:
        with Client("127.0.0.1", self.ports.grpc, "add", method, version) as client:
            return client.infer(GOOD)

    def run(self, path: Path) -> RunningScript:
        environment = {**STUB, "GLOG_v": "1"}
        return self._stack.enter_context(running_script(path, environment=environment))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


UNAVAILABLE = {"error": "Request servable(add) method(add_common) , servable is not available"}


@stands_for("2.2-versions+2.2-start-line+2.1-start_servable+11.2-add_mul_process")
def test_cluster_with_two_versions(cluster: Cluster) -> None:
    master = cluster.start_master()
    assert (
        f"Serving: Master server start success, listening on 127.0.0.1:{cluster.ports.master}" in master.lines
    )
    assert cluster.infer() == UNAVAILABLE
    first, _ = cluster.start_worker(1)
    first.wait_for_line("worker is up")
    assert doubled(cluster.infer())
    second, port = cluster.start_worker(0)
    second.wait_for_line("worker is up")
    for running, asked, real in ((first, 1, 1), (second, 0, 2)):
        line = running.wait_for_line("Serving: Start servable success", 5)
        assert re.fullmatch(
            re.escape(
                f"Serving: Start servable success, servable directory: '{cluster.folder}', servable name: 'add', "
                f"specified version number: {asked}, started version numbers: "
            )
            + rf"\[?{real}\]?",
            line,
        ), line
        running.wait_for_line(WORKER_WAITS, 5)
    for version in (0, 1, 2):
        assert doubled(cluster.infer(version))
    assert cluster.infer(3) == {
        "error": "Request servable(add) method(add_common)  version(3) , servable is not available"
    }
    # The version of a request without one is the highest: when its worker leaves, the other one answers.
    second.signal(signal.SIGTERM)
    second.wait()
    master.wait_for_line(f"Worker Exit, worker address: 127.0.0.1:{port}", 5)
    wait_until(lambda: cluster.infer(2) != [], "version 2 is gone")
    assert doubled(cluster.infer())
    assert master.process.poll() is None


@stands_for("2.2-worker-before-master")
def test_a_worker_may_be_started_before_the_master(cluster: Cluster) -> None:
    worker, _ = cluster.start_worker()
    with socket.socket() as nobody:
        nobody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        nobody.bind(("127.0.0.1", cluster.ports.master))
        nobody.listen()
        nobody.settimeout(20)
        nobody.accept()[0].close()  # the worker tries already
    cluster.start_master()
    worker.wait_for_line("worker is up")
    assert doubled(cluster.infer())


@stands_for("2.2-stop-registration")
def test_a_worker_that_is_ended_before_it_has_a_master(cluster: Cluster) -> None:
    with socket.socket() as nobody:  # listens where the master should, and never says a word
        nobody.bind(("127.0.0.1", cluster.ports.master))
        nobody.listen()
        nobody.settimeout(20)
        worker, _ = cluster.start_worker()
        connection, _ = nobody.accept()
        with connection:
            worker.signal(signal.SIGTERM)
            worker.wait()
    assert worker.process.poll() is not None
    assert "Worker exit, stop registration" in worker.output


@pytest.mark.parametrize(
    "number", [row("2.2-worker-sigterm", signal.SIGTERM), row("2.2-worker-sigint", signal.SIGINT)]
)
def test_a_worker_that_leaves(cluster: Cluster, number: signal.Signals) -> None:
    master = cluster.start_master()
    worker, port = cluster.start_worker()
    worker.wait_for_line("worker is up")
    assert doubled(cluster.infer())
    worker.signal(number)
    worker.wait()
    master.wait_for_line(f"Worker Exit, worker address: 127.0.0.1:{port}", 5)
    assert cluster.infer() == UNAVAILABLE
    assert master.process.poll() is None


@stands_for("2.2-worker-killed+2.2-lost-worker")
def test_a_worker_that_is_killed(cluster: Cluster) -> None:
    """A departure: the original keeps it until the master ends."""
    master = cluster.start_master()
    workers = [cluster.start_worker() for _ in range(2)]
    for worker, _ in workers:
        worker.wait_for_line("worker is up")
    assert doubled(cluster.infer())
    first, _ = workers[0]
    kill(first.process.pid)
    first.wait()
    for _ in range(20):
        assert doubled(cluster.infer())
    second, _ = workers[1]
    kill(second.process.pid)
    second.wait()
    wait_until(lambda: cluster.infer() == UNAVAILABLE, "the worker is removed")
    assert master.process.poll() is None


@pytest.mark.parametrize(
    "number", [row("2.2-master-sigterm", signal.SIGTERM), row("2.2-master-sigint", signal.SIGINT)]
)
def test_workers_end_with_the_master(cluster: Cluster, number: signal.Signals) -> None:
    master = cluster.start_master()
    workers = [cluster.start_worker(version)[0] for version in (1, 2)]
    for worker in workers:
        worker.wait_for_line("worker is up")
    children = [pid for worker in workers for pid in worker.workers()]
    master.signal(number)
    master.wait()
    assert master.process.poll() is not None
    for worker in workers:
        worker.wait(5)
        assert worker.process.poll() is not None
    wait_until_gone(*children)


# --- The master and a worker of its cluster in one process ---

ONE_PROCESS = """\
import numpy as np

from mindspore_serving import master, worker
from mindspore_serving.client import Client

PORTS = {{"master_port": {ports.master}, "worker_port": {ports.worker}}}


def start_master():
    master.start_master_server(master_port={ports.master})
    master.start_grpc_server("127.0.0.1", {ports.grpc})
    master.start_restful_server("127.0.0.1", {ports.rest})


def start_worker(**more):
    worker.start_servable(".", "add", **{{**PORTS, **more}})


def infer():
    x = np.ones((2, 2), np.float32)
    with Client("127.0.0.1", {ports.grpc}, "add", "add_common") as client:
        replies = client.infer([{{"x1": x, "x2": x}}] * 3)
    assert isinstance(replies, list) and all((reply["y"] == 2).all() for reply in replies), replies


"""


@stands_for("2.2-one-process+2.2-one-process-again+2.2-one-process-other-master+2.2-one-process-port-taken")
def test_master_and_worker_in_one_process(tmp_path: Path, ports: Ports) -> None:
    add_servable(tmp_path, "add", ADD)
    calls = {
        "master": "start_master()",
        "worker": "start_worker()",
        "infer": "infer()",
        "second": "start_worker()",  # which stops everything
        "master again": "start_master()",
        "worker again": "start_worker(master_ip='localhost')",
        "infer again": "infer()",
        "stop worker": "worker.stop()",
        "nobody": "infer()",
        "another worker": "start_worker(device_type='None')",
        "infer through the other": "infer()",
        "stop": "master.stop()",
        "master 3": "start_master()",
        "other port": "start_worker(master_port=PORTS['worker_port'])",
        "master 4": "start_master()",
        "other machine": "start_worker(master_ip='192.0.2.1')",
        "master 5": "start_master()",
        "taken": "start_worker(worker_port=PORTS['master_port'])",
        "master 6": "start_master()",
        "unknown": "start_worker(host_ip='127.0.0.1')",
    }
    found = outcomes(tmp_path, ONE_PROCESS.format(ports=ports), calls, last="worker.stop()\nmaster.stop()\n")
    refused = {name: error[1] for name, error in found.items() if error is not None}
    other = (
        f"This process is the master of a cluster at 127.0.0.1:{ports.master}: a worker in it cannot join another "
        "master, {}; start it in a script of its own"
    )
    assert refused.pop("taken").startswith(
        f"Serving Error: Worker gRPC server start failed, create server failed, address 0.0.0.0:{ports.master}"
    )
    assert refused.pop("unknown").endswith("got an unexpected keyword argument 'host_ip'")
    assert refused == {
        "second": "A servable has been started, only one servable can run in a process currently.",
        "nobody": str(UNAVAILABLE),
        "other port": other.format(f"0.0.0.0:{ports.worker}"),
        "other machine": other.format(f"192.0.2.1:{ports.master}"),
    }


@stands_for("2.2-one-process-worker-ends")
def test_a_worker_that_ends_in_the_process_of_its_master(cluster: Cluster) -> None:
    source = (
        ONE_PROCESS.format(ports=cluster.ports) + "start_master()\nstart_worker()\nprint('up', flush=True)\n"
    )
    both = cluster.run(script(cluster.folder, source, "both.py"))
    both.wait_for_line("up")
    assert doubled(cluster.infer())
    [process] = both.workers()
    kill(process)  # it has served, and is started again
    wait_until(lambda: both.workers() not in ([], [process]), "another process", 20)
    wait_until(lambda: isinstance(cluster.infer(), list), "it serves", 20)
    body = {"instances": [{"x1": [[1.0, 2.0], [3.0, 4.0]], "x2": [[1.0, 1.0], [1.0, 1.0]]}]}
    assert post(f"127.0.0.1:{cluster.ports.rest}", "/model/add:add_common", body).status == 200
    [process] = both.workers()
    os.kill(process, signal.SIGTERM)
    both.wait_for_line("The worker of this process has ended, the master serves on")
    assert cluster.infer() == UNAVAILABLE
    other, _ = cluster.start_worker()
    other.wait_for_line("worker is up")
    assert doubled(cluster.infer())
    both.signal(signal.SIGTERM)
    assert both.wait() == 0
    other.wait()
