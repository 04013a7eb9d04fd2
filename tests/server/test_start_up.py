"""Start and stop of a server as a user's start script sees them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.server.certificates import Authority
from tests.serving import RunningScript, add_servable, free_port, running_script, serving
from tests.watch import leftovers, lives, wait_until, wait_until_gone

ADD = """\
from mindspore_serving.server import register

model = register.declare_model(model_file="tensor_add.mindir", model_format="MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)
"""

ECHO = """\
from mindspore_serving.server import register


@register.register_method(output_names=["y"])
def echo(x):
    return x
"""

# Each `attempt` prints one line: null, or why it was refused. A refused attempt has to leave nothing that keeps the
# script alive.
ATTEMPT = """\
import json

from mindspore_serving import server
from mindspore_serving.server import ServableStartConfig, SSLConfig, start_grpc_server, start_restful_server


def attempt(call):
    try:
        call()
    except Exception as error:
        kind = "RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__
        print("attempt", json.dumps([kind, str(error)]), flush=True)
    else:
        print("attempt", "null", flush=True)


def start(*configs):
    return lambda: server.start_servables([ServableStartConfig(*c[:2], **c[2]) for c in configs])

"""

ONES = np.ones((2, 2), np.float32)


def write_script(folder: Path, body: str, name: str = "start_server.py") -> Path:
    script = folder / name
    script.write_text(body)
    return script


def attempts(
    folder: Path, body: str, environment: Mapping[str, str] | None = None
) -> list[tuple[str, str] | None]:
    """Class and text of the error of each attempt of a script, None for success.

    The script must end by itself and leave nothing behind.
    """
    script = write_script(folder, ATTEMPT + body)
    with running_script(script, environment={"SERVING_BACKEND": "stub", **(environment or {})}) as running:
        assert running.wait() == 0, running.output
        assert leftovers(running) == []
    lines = [line.removeprefix("attempt ") for line in running.lines if line.startswith("attempt ")]
    return [None if line == "null" else tuple(json.loads(line)) for line in lines]


def refusals(folder: Path, body: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Texts of the errors of a script's attempts, each of which has to be a RuntimeError."""
    found = attempts(folder, body, environment)
    assert all(error and error[0] == "RuntimeError" for error in found), found
    return [error[1] for error in found if error]


def refusal(folder: Path, configs: str, environment: Mapping[str, str] | None = None) -> str:
    """Why the start of these configurations is refused: the only attempt of the script."""
    [text] = refusals(folder, f"attempt(start({configs}))\n", environment)
    return text


def config(name: str = "add", **values: object) -> str:
    """Source of one configuration; on device 0 unless told otherwise."""
    return repr((".", name, {"device_ids": 0, **values}))


def failed_start(name: str, reason: str) -> str:
    return f"Fail to start workers: {{servable name:{name}, device id:0, <{reason}>}}"


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# ---- a servable that cannot be started


def test_a_missing_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path, config()) == (
        f"Check servable config failed, directory '{tmp_path}/add' not exist, servable directory '{tmp_path}', "
        "servable name 'add'"
    )


def test_a_missing_servable_config(tmp_path: Path) -> None:
    (tmp_path / "add" / "1").mkdir(parents=True)
    assert refusal(tmp_path, config()) == (
        f"Check servable config failed, file '{tmp_path}/add/servable_config.py' not exist,  "
        f"servable directory '{tmp_path}', servable name 'add'"
    )


@pytest.mark.parametrize(
    "files", [[], ["01/tensor_add.mindir", "0/tensor_add.mindir", "v1/tensor_add.mindir"]]
)
def test_models_without_a_version_directory(tmp_path: Path, files: list[str]) -> None:
    add_servable(tmp_path, "add", ADD, files)
    reason = (
        "There is no valid version directory of models while there are models declared in servable_config.py, "
        f"servable directory: {tmp_path}, servable name: add"
    )
    assert refusal(tmp_path, config()) == failed_start("add", reason)


def test_a_version_that_is_not_there(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    reason = (
        "Raise failed: Start servable failed: There is no specified version directory of models, "
        f"specified version number: 2, servable directory: '{tmp_path}', servable name: 'add'"
    )
    assert refusal(tmp_path, config(version_number=2)) == failed_start("add", reason)


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ('"tensor_add.mindir"', "[tensor_add.mindir]"),
        ('["tensor_sub.mindir", "tensor_add.mindir"]', "[tensor_sub.mindir, tensor_add.mindir]"),
        ('"unknown_to_the_backend.mindir"', "[unknown_to_the_backend.mindir]"),
    ],
)
def test_a_model_that_cannot_be_loaded(tmp_path: Path, declared: str, shown: str) -> None:
    add_servable(
        tmp_path,
        "add",
        ADD.replace('"tensor_add.mindir"', declared),
        ["1/tensor_sub.mindir", "1/unknown_to_the_backend.mindir"],
    )
    text = refusal(tmp_path, config())
    assert text.startswith(
        "Fail to start workers: {servable name:add, device id:0, <Raise failed: Load model failed, "
        f"servable directory: '{tmp_path}', servable name: 'add', model file: '{shown}', "
        "version number 1,model context: "
    )
    assert re.search(", load error details: .+>}$", text)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('raise ValueError("no luck")', "no luck"),
        ("import not_installed_anywhere", "No module named 'not_installed_anywhere'"),
        ("from .neighbour import x", "No module named 'add.neighbour'"),
        (ECHO + "\nadd_trans_datatype(1)", "name 'add_trans_datatype' is not defined"),
        ("def broken(:", "invalid syntax (servable_config.py, line 1)"),
        ('import sys\nsys.exit("enough")', "enough"),
        ("import sys\nsys.exit(0)", "0"),
        (
            ADD + 'register.declare_model("a", "ONNX")',
            "model format can only be OM, MindIR or MindIR_Lite, case ignored",
        ),
        (ECHO.replace('"y"', '"y", "z"'), "Method return output size 1 not match registered 2"),
    ],
)
def test_a_servable_config_that_cannot_be_imported(tmp_path: Path, source: str, reason: str) -> None:
    add_servable(tmp_path, "add", source)
    text = refusal(tmp_path, config())
    assert text.startswith(
        f"Fail to start workers: {{servable name:add, device id:0, <import add.servable_config failed, {reason}"
    )
    assert text.endswith(">}")


@pytest.mark.parametrize("source", ["import sys\nsys.exit()", "raise RuntimeError"])
def test_a_servable_config_that_fails_without_a_word(tmp_path: Path, source: str) -> None:
    add_servable(tmp_path, "add", source)
    text = refusal(tmp_path, config())
    assert text.startswith(
        "Fail to start workers: {servable name:add, device id:0, <import add.servable_config failed, "
    )


def test_nothing_registered(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", "")
    assert refusal(tmp_path, config()) == failed_start(
        "add", "Raise failed: Servable 'add' has not been registered"
    )


def test_models_without_methods(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD.partition("@")[0])
    assert "There is no method registered for servable" in refusal(tmp_path, config())


def test_a_method_that_does_not_fit_its_model(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD.replace("x1, x2, outputs", "x1, outputs"))
    assert (
        "The inputs count 1 in register_method not equal to the count 2 defined in model, "
        "model info: tensor_add.mindir, subgraph: 0"
    ) in refusal(tmp_path, config())


def test_a_worker_that_dies_at_start(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", 'import os\nprint("last words")\nos._exit(5)')
    text = refusal(tmp_path, config())
    assert text.startswith("Fail to start workers because of death of one worker")
    assert "last words" in text


@pytest.mark.parametrize(
    ("device_type", "switch", "shown", "supported"),
    [
        ("GPU", "SERVING_NOTHING", "Gpu", "None or 'Ascend'"),
        ("cpu", "SERVING_NOTHING", "Cpu", "None or 'Ascend'"),
        ("gpu", "SERVING_ENABLE_CPU_DEVICE", "Gpu", "None, 'Ascend' or 'Cpu'"),
    ],
)
def test_a_device_type_that_is_not_there(
    tmp_path: Path, device_type: str, switch: str, shown: str, supported: str
) -> None:
    add_servable(tmp_path, "add", ADD)
    assert refusal(tmp_path, config(device_type=device_type), {switch: "1"}) == (
        f"The device type '{shown}' of servable name add is inconsistent with current running environment, "
        f"supported device type: {supported}"
    )


def test_models_without_device_where_there_is_no_cpu_backend(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    reason = (
        "Servable 'add' has models declared by declare_model, but parameter 'device_ids' of ServableStartConfig is "
        "not set in Serving startup script when the MindSpore or Lite inference package not support CPU"
    )
    text = refusal(tmp_path, config(device_ids=None))
    assert text.startswith("Fail to start workers: {")
    assert f"<{reason}>" in text


def test_one_failing_servable_ends_all(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    # The bad one waits until the workers of the good one are there.
    add_servable(
        tmp_path,
        "bad",
        "import pathlib, time\n"
        'log = pathlib.Path("serving_logs/log_add_device1_version1.log")\n'
        'while "Start servable success" not in log.read_text():\n    time.sleep(0.01)\n'
        'raise ValueError("no luck")',
        (),
    )
    text = refusal(tmp_path, f"{config(device_ids=(0, 1))}, {config('bad')}")
    assert text == failed_start("bad", "import bad.servable_config failed, no luck")


def test_configurations_that_contradict_each_other(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    add_servable(tmp_path / "other", "add", ADD)
    other = repr(("other", "add", {"device_ids": 0}))
    assert refusal(tmp_path, f"{config()}, {other}") == (
        "The servable directory of servable name add is different in multiple configurations, "
        f"servable directory: {tmp_path} and {tmp_path}/other"
    )


def test_registration_outside_of_a_servable(tmp_path: Path) -> None:
    body = 'from mindspore_serving.server import register\nattempt(lambda: register.declare_model("a", "MindIR"))'
    [text] = refusals(tmp_path, body)
    assert "Failed to obtain the directory of servable_config.py" in text


# ---- addresses, ports, certificates

ADDRESSES = {
    "invalid address": "The format of the {tag} address '{a}' is illegal",
    "127.0.0.1": "The format of the {tag} address '{a}' is illegal",
    ":5500": "Missing ip or port of the {tag} address '{a}'",
    "127.0.0.1:": "Missing ip or port of the {tag} address '{a}'",
    "127.0.0.1:port": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:5000000": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
    "127.0.0.0.1:5000": "{failed}",
    "127.0.256.1:5000": "{failed}",
    "127.0.0.1:5000:5000": "{failed}",
    "no.such.host.invalid:5000": "{failed}",
    "192.0.2.1:5000": "{failed}",
}
GRPC_FAILED = "Serving gRPC server start failed, create server failed, address {a}"
REST_FAILED = "RESTful server start failed, bind to the socket address {a} failed"


@pytest.mark.parametrize(
    ("function", "tag", "failed", "more"),
    [
        (
            "start_grpc_server",
            "Serving gRPC",
            GRPC_FAILED,
            {
                "unix:": "Empty grpc server unix domain socket address",
                "unix:no/such/folder/socket": GRPC_FAILED,
            },
        ),
        (
            "start_restful_server",
            "RESTful server",
            REST_FAILED,
            {
                "unix:": "RESTful server does not support binding to unix domain socket",
                "unix:socket": "RESTful server does not support binding to unix domain socket",
            },
        ),
    ],
    ids=["grpc", "rest"],
)
def test_addresses_that_cannot_be_used(
    tmp_path: Path, function: str, tag: str, failed: str, more: Mapping[str, str]
) -> None:
    texts = {**ADDRESSES, **more}
    body = f"for address in {list(texts)!r}:\n    attempt(lambda: {function}(address))\n"
    assert refusals(tmp_path, body) == [
        "Serving Error: " + text.format(tag=tag, a=address, failed=failed.format(a=address))
        for address, text in texts.items()
    ]


@pytest.mark.parametrize(
    ("function", "kind"), [("start_grpc_server", "type of"), ("start_restful_server", "class of")]
)
def test_parameters_of_the_servers(tmp_path: Path, function: str, kind: str) -> None:
    calls = {
        "5500": "Parameter 'address' should be str, but actually <class 'int'>",
        "''": "Parameter 'address' should not be empty str",
        "'127.0.0.1:5500', 0": "Parameter 'max_msg_mb_size' should be in range [1,512]",
        "'127.0.0.1:5500', 513": "Parameter 'max_msg_mb_size' should be in range [1,512]",
        "'127.0.0.1:5500', True": "Parameter 'max_msg_mb_size' should be int, but actually <class 'bool'>",
        "'127.0.0.1:5500', 1.5": "Parameter 'max_msg_mb_size' should be int, but actually <class 'float'>",
        "'127.0.0.1:5500', ssl_config=1": f"The type of ssl_config should be {kind} SSLConfig",
        "'127.0.0.1:5500', ssl_config=SSLConfig": f"The type of ssl_config should be {kind} SSLConfig",
    }
    body = "".join(f"attempt(lambda: {function}({arguments}))\n" for arguments in calls)
    assert refusals(tmp_path, body) == list(calls.values())


def test_parameters_of_ssl_config(tmp_path: Path) -> None:
    calls = {
        "None, 'key'": "Parameter 'certificate' should be str, but actually <class 'NoneType'>",
        "'', 'key'": "Parameter 'certificate' should not be empty str",
        "'certificate', 1": "Parameter 'private_key' should be str, but actually <class 'int'>",
        "'certificate', ''": "Parameter 'private_key' should not be empty str",
        "'certificate', 'key', None, 1": "Parameter 'verify_client' should be bool, but actually <class 'int'>",
        "'certificate', 'key', None, True": "Parameter 'custom_ca' should be str, but actually <class 'NoneType'>",
        "'certificate', 'key', '', True": "Parameter 'custom_ca' should not be empty str",
    }
    body = "".join(f"attempt(lambda: SSLConfig({arguments}))\n" for arguments in calls)
    assert refusals(tmp_path, body) == list(calls.values())
    assert attempts(tmp_path, "attempt(lambda: SSLConfig('certificate', 'key', custom_ca=5))") == [None]


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        found = refusals(
            tmp_path,
            f"attempt(lambda: start_grpc_server({address!r}))\nattempt(lambda: start_restful_server({address!r}))",
        )
    assert found == [
        "Serving Error: " + GRPC_FAILED.format(a=address),
        "Serving Error: " + REST_FAILED.format(a=address),
    ]


def test_one_port_for_both_servers(tmp_path: Path) -> None:
    a = f"127.0.0.1:{free_port()}"
    body = "".join(
        f"attempt(lambda: {function}({a!r}))\n"
        for function in (
            "start_grpc_server",
            "start_restful_server",  # refused, and ends the gRPC server
            "start_restful_server",
            "start_grpc_server",  # refused, and ends the REST server
            "start_grpc_server",
        )
    )
    assert attempts(tmp_path, body) == [
        None,
        ("RuntimeError", "Serving Error: " + REST_FAILED.format(a=a)),
        None,
        ("RuntimeError", "Serving Error: " + GRPC_FAILED.format(a=a)),
        None,
    ]


def test_certificates_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n")
    missing = str(tmp_path / "missing.pem")
    configs = {
        "mismatch": (first.certificate, second.private_key),
        "no certificate": (missing, first.private_key),
        "no key": (first.certificate, missing),
        "bad certificate": (str(garbage), first.private_key),
        "bad key": (first.certificate, str(garbage)),
        "no authority": (first.certificate, first.private_key, missing, True),
        "bad authority": (first.certificate, first.private_key, str(garbage), True),
    }
    a = f"127.0.0.1:{free_port()}"
    body = "".join(
        f"attempt(lambda: {function}({a!r}, ssl_config=SSLConfig(*{values!r})))\n"
        for function in ("start_grpc_server", "start_restful_server")
        for values in configs.values()
    )
    found = attempts(tmp_path, body)
    grpc = dict(zip(configs, found[: len(configs)], strict=True))
    rest = dict(zip(configs, found[len(configs) :], strict=True))
    for case in ("mismatch", "bad certificate", "bad key"):
        assert grpc[case] == ("RuntimeError", "Serving Error: " + GRPC_FAILED.format(a=a)), case
    for case in ("no certificate", "no key", "no authority"):
        error = grpc[case]
        assert error is not None
        assert error[0] == "FileNotFoundError", case
        assert missing in error[1], case
    chain, key, root = "certificate_chain", "private_key", "root certificate"
    for case, what, file in (
        ("mismatch", key, second.private_key),
        ("no certificate", chain, missing),
        ("no key", key, missing),
        ("bad certificate", chain, str(garbage)),
        ("bad key", key, str(garbage)),
        ("no authority", root, missing),
        ("bad authority", root, str(garbage)),
    ):
        error = rest[case]
        assert error is not None, case
        assert error[1].startswith(f"Serving Error: load {what} from {file} failed"), case
    assert port_is_free(int(a.rpartition(":")[2]))


# ---- a start function that raises ends the running server


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("start(C)", "Raise failed: Serving Error: Master gRPC server is already running"),
        (
            "lambda: start_grpc_server('127.0.0.1:{free}')",
            "Serving Error: Serving gRPC server is already running",
        ),
        (
            "lambda: start_restful_server('127.0.0.1:{free}')",
            "Serving Error: RESTful server is already running",
        ),
        ("lambda: start_grpc_server(5500)", "Parameter 'address' should be str, but actually <class 'int'>"),
        (
            "lambda: start_restful_server('nonsense')",
            "Serving Error: The format of the RESTful server address 'nonsense' is illegal",
        ),
        (
            "lambda: server.start_servables('add')",
            "Parameter 'servable_configs' should be ServableStartConfig, list or tuple of ServableStartConfig, "
            "but actually <class 'str'>",
        ),
    ],
)
def test_a_refused_start_ends_the_running_server(tmp_path: Path, call: str, text: str) -> None:
    add_servable(tmp_path, "add", ADD)
    grpc, rest = free_port(), free_port()
    body = (
        f"C = {config(device_ids=(0, 1))}\n"
        "attempt(start(C))\n"
        f"attempt(lambda: start_grpc_server('127.0.0.1:{grpc}'))\n"
        f"attempt(lambda: start_restful_server('127.0.0.1:{rest}'))\n"
        f"attempt({call.format(free=free_port())})\n"
        "import pathlib\n"
        "print('left', list(pathlib.Path('.').glob('unix_socket_files/*')), flush=True)\n"
    )
    script = write_script(tmp_path, ATTEMPT + body)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait() == 0
        assert leftovers(running) == []
        errors = [
            json.loads(line.removeprefix("attempt ")) for line in running.lines if line.startswith("attempt ")
        ]
        assert errors[:3] == [None, None, None]
        assert errors[3][1].endswith(text.partition("servable_configs")[2])
        assert "left []" in running.lines
    assert port_is_free(grpc)
    assert port_is_free(rest)


def test_a_server_can_be_started_again_after_a_refused_start(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    grpc = f"127.0.0.1:{free_port()}"
    body = f"""
C = {config()}
attempt(start({config("nobody")}))
attempt(start({config(version_number=7)}))
attempt(lambda: start_grpc_server("nonsense"))
attempt(start(C))
attempt(lambda: start_grpc_server({grpc!r}))
print("up", flush=True)
"""
    script = write_script(tmp_path, ATTEMPT + body)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("up")
        assert [line for line in running.lines if line.startswith("attempt")][3:] == ["attempt null"] * 2
        assert sum_of_ones(grpc) == 2.0


def sum_of_ones(address: str, version: int = 0) -> float:
    """What the servable add makes of 1 + 1."""
    with Client(address, "add", "add", version) as client:
        [reply] = client.infer({"x1": ONES, "x2": ONES})
        return float(reply["y"].max())


# ---- a server that starts


def test_progress_lines(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(tmp_path, ['".", "add", device_ids=(0, 3)'], environment={"GLOG_v": "1"}) as server:
        socket_file = f"unix:{tmp_path}/unix_socket_files/serving_master_{server.process.pid}"
        printed = [line for line in server.lines if line.startswith("Serving: ")]
        assert printed[0] == f"Serving: Master server start success, listening on {socket_file}"
        ready = [line for line in printed if "ready" in line]
        assert len(ready) == 2
        for number, line in enumerate(ready, 1):
            assert re.search(r"\badd\b.*version:? 1\b.*device ?[03]\b.*\d\.\d+ s\b", line), line
            assert f"{number} of 2" in line
        assert printed[-2:] == [
            f"Serving: Serving gRPC server start success, listening on {server.grpc}",
            f"Serving: Serving RESTful server start success, listening on {server.rest}",
        ]
        registered = [line for line in server.lines if "Register success: worker address: " in line]
        assert len(registered) == 2
        for line in registered:
            assert re.search(r", servable: \{name:add, version:1, method:\['?add'?\]\}$", line), line
        success = (
            f"Serving: Start servable success, servable directory: '{tmp_path}', servable name: 'add', "
            "version number: 1"
        )
        logs = sorted((tmp_path / "serving_logs").iterdir())
        assert [log.name for log in logs] == ["log_add_device0_version1.log", "log_add_device3_version1.log"]
        for log in logs:  # a worker says so after it has registered
            wait_until(lambda log=log: success in log.read_text().splitlines(), f"{log} tells of success")


FACTS = """\
import json, os, sys
with open(f"facts_{os.getpid()}.json", "w") as file:
    json.dump({"device": os.environ.get("SERVING_DEVICE_ID"), "name": __name__, "cwd": os.getcwd()}, file)
print("imported", flush=True)
"""


@pytest.fixture(scope="module")
def facts_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningScript, str]]:
    """A script that prints its modules; `add` on devices 0 and 2, and `echo` on two workers without device."""
    folder = tmp_path_factory.mktemp("facts")
    add_servable(folder, "add", FACTS + ADD, ["1/tensor_add.mindir", "12/tensor_add.mindir"])
    add_servable(folder, "echo", FACTS + ECHO, ())
    (folder / "serving_logs").mkdir()
    (folder / "serving_logs" / "log_echo_extra0_version1.log").write_text("of an earlier run\n")
    address = f"127.0.0.1:{free_port()}"
    script = write_script(
        folder,
        f"""\
import sys
from mindspore_serving import server

server.start_servables((
    server.ServableStartConfig(".", "add", device_ids=(0, 2)),
    server.ServableStartConfig(".", "echo", num_parallel_workers=2),
))
server.start_grpc_server({address!r})
print("modules", *sorted(sys.modules), flush=True)
""",
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("modules ")
        yield running, address


def test_the_main_process_imports_neither_servables_nor_mindspore(
    facts_server: tuple[RunningScript, str],
) -> None:
    running, _ = facts_server
    modules = running.wait_for_line("modules ").split()[1:]
    assert "mindspore_serving.server" in modules
    for name in ("mindspore", "mindspore_lite", "add", "echo", "add.servable_config", "echo.servable_config"):
        assert name not in modules
    importers = {int(path.stem.removeprefix("facts_")) for path in running.folder.glob("facts_*.json")}
    assert importers == set(running.workers())
    assert running.process.pid not in importers


def test_device_workers_know_their_device(facts_server: tuple[RunningScript, str]) -> None:
    running, _ = facts_server
    facts = [json.loads(path.read_text()) for path in running.folder.glob("facts_*.json")]
    found = sorted((fact["name"], str(fact["device"])) for fact in facts)
    assert found == [
        ("add.servable_config", "0"),
        ("add.servable_config", "2"),
        ("echo.servable_config", "None"),
        ("echo.servable_config", "None"),
    ]
    assert {fact["cwd"] for fact in facts} == {str(running.folder)}


def test_each_worker_has_a_log(facts_server: tuple[RunningScript, str]) -> None:
    running, _ = facts_server
    logs = sorted((running.folder / "serving_logs").iterdir())
    assert [log.name for log in logs] == [
        "log_add_device0_version12.log",
        "log_add_device2_version12.log",
        "log_echo_extra0_version1.log",
        "log_echo_extra1_version1.log",
    ]
    for log in logs:
        assert log.read_text().startswith("imported"), log


def test_workers_go_by_their_name(facts_server: tuple[RunningScript, str]) -> None:
    running, _ = facts_server
    workers = running.workers()
    assert len(workers) == 4
    for pid in workers:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert re.match(r"(\S*/)?start_worker\.py ", line), line
        for part in ("--servable_directory=", "--servable_name=", "--version_number=", "--device_id="):
            assert part in line


def test_both_servables_answer(facts_server: tuple[RunningScript, str]) -> None:
    _, address = facts_server
    assert sum_of_ones(address) == 2.0
    with Client(address, "echo", "echo", 1) as client:
        assert client.infer({"x": "text"}) == [{"y": "text"}]


def test_a_relative_directory_is_that_of_the_script(tmp_path: Path) -> None:
    home, elsewhere, links = tmp_path / "my scripts", tmp_path / "else where", tmp_path / "links"
    for folder in (home, elsewhere, links):
        folder.mkdir()
    add_servable(home / "my servables", "add", ADD)
    script = write_script(
        home,
        f"""\
import os
os.chdir({str(elsewhere)!r})
from mindspore_serving import server
server.start_servables(server.ServableStartConfig("./my servables/../my servables", "add", 0))
server.start_grpc_server("unix:my socket")
print("up", flush=True)
""",
    )
    link = links / "start.py"
    link.symlink_to(script)
    with running_script(link, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("up")
        assert sum_of_ones(f"unix:{elsewhere}/my socket") == 2.0
        [pid] = running.workers()
        # What a server makes goes where it runs.
        assert (
            f"servable directory: '{home}/my servables'"
            in (elsewhere / "serving_logs" / "log_add_device0_version1.log").read_text()
        )
    wait_until_gone(pid)
    assert list(elsewhere.glob("unix_socket_files/*")) == []
    assert not (elsewhere / "my socket").exists()
    assert list(links.iterdir()) == [link]
    assert not (home / "serving_logs").exists()


def test_a_very_long_working_directory(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    add_servable(folder, "add", ADD)
    with serving(folder, ['".", "add", device_ids=0']) as server:
        assert sum_of_ones(server.grpc) == 2.0
    assert leftovers(server) == []


HELPED = """\
from mindspore_serving.server import register
{imports}


@register.register_method(output_names=["y"])
def value(x):
    return register.add_stage(tell, x, outputs_count=1)
"""


def served_value(folder: Path, name: str) -> str:
    with (
        serving(folder, [f'".", {name!r}']) as server,
        Client(server.grpc, name, "value") as client,
    ):
        replies = client.infer({"x": "x"})
        assert isinstance(replies, list), replies
        value: str = replies[0]["y"]
        return value


def test_neighbouring_modules(tmp_path: Path) -> None:
    # All forms in one: relative, by the servable's name, of a sub-package, and of the servable directory.
    imports = """\
from .first import first
from helped.second import second
import helped.package.third
from beside import fourth


def tell(x):
    return first + second + helped.package.third.third + fourth
"""
    add_servable(tmp_path, "helped", HELPED.format(imports=imports), ())
    (tmp_path / "helped" / "package").mkdir()
    (tmp_path / "helped" / "first.py").write_text('first = "1"')
    (tmp_path / "helped" / "second.py").write_text('from .first import first\nsecond = first + "2"')
    (tmp_path / "helped" / "package" / "third.py").write_text(
        'from ..second import second\nthird = second + "3"'
    )
    (tmp_path / "beside.py").write_text('fourth = "4"')
    assert served_value(tmp_path, "helped") == "1" + "12" + "123" + "4"


def test_a_neighbouring_module_may_register(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", "from .models import model\nfrom .methods import add\n")
    source, _, method = ADD.partition("\n\n\n")
    (tmp_path / "add" / "models.py").write_text(source)
    imports = "from mindspore_serving.server import register\nfrom add.models import model\n\n\n"
    (tmp_path / "add" / "methods.py").write_text(imports + method)
    with serving(tmp_path, ['".", "add", device_ids=0']) as server:
        assert sum_of_ones(server.grpc) == 2.0


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("json", "import json\nshown = json.dumps([x])"),
        ("http", "import urllib.request, http.client\nshown = http.client.OK.phrase"),
        ("numpy", "import numpy as np\nshown = str(np.add(1, 1))"),
        ("wheel", "shown = 'built'"),
        ("my-servable", "shown = 'dashed'"),
        ("my servable", "shown = 'spaced'"),
        ("class", "shown = 'reserved'"),
        ("servable_config", "shown = 'same'"),
    ],
)
def test_a_servable_may_have_any_name(tmp_path: Path, name: str, use: str) -> None:
    body = "\n    ".join(use.splitlines())
    source = f"from .helper import ending\n\n\ndef tell(x):\n    {body}\n    return shown + ending"
    add_servable(tmp_path, name, HELPED.format(imports=source), ())
    (tmp_path / name / "helper.py").write_text('ending = "!"')
    expected = {"json": '["x"]', "http": "OK", "numpy": "2"}.get(name) or use.partition("'")[2].rstrip("'")
    assert served_value(tmp_path, name) == expected + "!"


VERSIONED = """\
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)


def tell(x):
    import setproctitle
    return [part for part in setproctitle.getproctitle().split() if part.startswith("--version_number=")][0]


@register.register_method(output_names=["y", "ran"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1), register.add_stage(tell, x1, outputs_count=1)
"""


def test_several_versions(tmp_path: Path) -> None:
    files = [f"{version}/tensor_add.mindir" for version in ("2", "3", "10", "011", "v12", "0")]
    add_servable(tmp_path, "add", VERSIONED, files)
    (tmp_path / "add" / "99").touch()
    configs = ['".", "add", 0', '".", "add", 1, version_number=3', '".", "add", 1, version_number=10']
    with serving(tmp_path, configs) as server:
        assert sorted(path.name for path in (tmp_path / "serving_logs").iterdir()) == [
            "log_add_device0_version10.log",
            "log_add_device1_version10.log",
            "log_add_device1_version3.log",
        ]
        for asked, answers in ((0, 10), (10, 10), (3, 3)):
            with Client(server.grpc, "add", "add", asked) as client:
                for reply in client.infer([{"x1": ONES, "x2": ONES}] * 20):
                    assert reply["ran"] == f"--version_number={answers}"
        for absent in (1, 2, 11, 99):
            with Client(server.grpc, "add", "add", absent) as client:
                error = f"Request servable(add) method(add)  version({absent}) , servable is not available"
                assert client.infer({"x1": ONES, "x2": ONES}) == {"error": error}


def test_a_servable_without_models_needs_no_version(tmp_path: Path) -> None:
    add_servable(tmp_path, "plain", ECHO, ())
    add_servable(tmp_path, "devices", ECHO, ())
    add_servable(tmp_path, "fifth", ECHO, ())
    configs = ['".", "plain"', '".", "devices", device_ids=(0, 1)', '".", "fifth", version_number=5']
    with serving(tmp_path, configs) as server:
        assert sorted(path.name for path in (tmp_path / "serving_logs").iterdir()) == [
            "log_devices_device0_version1.log",
            "log_devices_device1_version1.log",
            "log_fifth_extra0_version5.log",
            "log_plain_extra0_version1.log",
        ]
        for name, version in (("plain", 0), ("plain", 1), ("devices", 1), ("fifth", 0), ("fifth", 5)):
            with Client(server.grpc, name, "echo", version) as client:
                assert client.infer({"x": "text"}) == [{"y": "text"}], (name, version)


def test_models_without_device_on_a_cpu_backend(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(
        tmp_path, ['".", "add", num_parallel_workers=2'], environment={"SERVING_ENABLE_CPU_DEVICE": "1"}
    ) as server:
        assert len(server.workers()) == 2
        assert sum_of_ones(server.grpc) == 2.0


# ---- stop, and the end of the script


def test_stop_and_start_again_in_one_process(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    add_servable(tmp_path, "echo", ECHO, ())
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    script = write_script(
        tmp_path,
        f"""\
import os, pathlib, time
from mindspore_serving import server

server.stop()  # nothing runs yet
for name, devices in (("echo", None), ("add", 0), ("add", (0, 1))):
    server.start_restful_server({rest!r})
    server.start_servables(server.ServableStartConfig(".", name, devices))
    server.start_grpc_server({grpc!r})
    print("up", name, devices, flush=True)
    go_on = pathlib.Path(f"go_on_{{name}}_{{devices}}")
    while not go_on.exists():
        time.sleep(0.01)
    server.stop()
    server.stop()
    print("down", name, devices, list(pathlib.Path(".").glob("unix_socket_files/*")), flush=True)
""",
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        for name, devices, workers in (("echo", None, 1), ("add", 0, 1), ("add", (0, 1), 2)):
            running.wait_for_line(f"up {name} {devices}")
            pids = running.workers()
            assert len(pids) == workers
            if name == "add":
                assert sum_of_ones(grpc) == 2.0
            (tmp_path / f"go_on_{name}_{devices}").touch()
            assert running.wait_for_line(f"down {name} {devices}").endswith("[]")
            assert not any(map(lives, pids))
        assert running.wait() == 0
        assert leftovers(running) == []


@pytest.mark.parametrize("function", ["start_grpc_server", "start_restful_server"])
def test_a_script_without_servables_ends_by_itself(tmp_path: Path, function: str) -> None:
    port = free_port()
    assert attempts(tmp_path, f"attempt(lambda: {function}('127.0.0.1:{port}'))") == [None]
    assert port_is_free(port)


def test_the_server_outlives_the_script(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(tmp_path, ['".", "add", 0']) as server:
        status = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/wchan")
        wait_until(
            lambda: "futex" in status.read_text() or status.read_text() in ("0", ""), "main thread waits"
        )
        assert sum_of_ones(server.grpc) == 2.0
        assert server.process.poll() is None


def test_a_child_that_the_script_forks_does_not_end_the_server(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    address = f"127.0.0.1:{free_port()}"
    script = write_script(
        tmp_path,
        f"""\
import multiprocessing, os, sys
from mindspore_serving import server

server.start_servables(server.ServableStartConfig(".", "add", 0))
server.start_grpc_server({address!r})
child = multiprocessing.get_context("fork").Process(target=sys.exit)
child.start()
child.join()
if os.fork() == 0:
    server.stop()
    sys.exit(0)
os.wait()
print("forked", flush=True)
""",
    )
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        running.wait_for_line("forked")
        assert sum_of_ones(address) == 2.0
        assert len(running.workers()) == 1


def test_a_start_with_one_configuration_and_lite(tmp_path: Path) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    body = f"""
attempt(lambda: server.start_servables(ServableStartConfig({str(tmp_path)!r}, "echo"), enable_lite=False))
server.stop()
attempt(lambda: server.start_servables(servable_configs=(ServableStartConfig(".", "echo"),)))
server.stop()
attempt(lambda: server.start_servables([ServableStartConfig(".", "echo")], enable_lite=1))
"""
    first, second, third = attempts(tmp_path, body)
    assert (first, second) == (None, None)
    assert third is not None
    assert third[1] == "Parameter 'enable_lite' should be bool, but actually <class 'int'>"


def test_the_port_of_a_server_is_not_shared(tmp_path: Path) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    with serving(tmp_path, ['".", "echo"']) as server:
        for address in (server.grpc, server.rest):
            with closing(socket.socket()) as second:
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    second.bind(("127.0.0.1", int(address.rpartition(":")[2])))
