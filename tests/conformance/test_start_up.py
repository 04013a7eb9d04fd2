"""Start and stop of a server as a user's start script sees them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.conformance.row import row, stands_for
from tests.conformance.scripts import ATTEMPT
from tests.support.servables import ECHO
from tests.support.servables import PLAIN_ADD as ADD
from tests.support.serving import (
    RunningScript,
    RunningServer,
    add_servable,
    free_port,
    running_script,
    serving,
)
from tests.support.watch import leftovers, lives, wait_until, wait_until_gone

# A refused attempt has to leave nothing that keeps the script alive.
SCRIPT_HEAD = (
    ATTEMPT
    + """\
from mindspore_serving import server
from mindspore_serving.server import ServableStartConfig, SSLConfig, start_grpc_server, start_restful_server


def start(*configs):
    return lambda: server.start_servables([ServableStartConfig(*c[:2], **c[2]) for c in configs])

"""
)

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
    script = write_script(folder, SCRIPT_HEAD + body)
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


def config(name: str = "add", **values: object) -> str:
    """Source of one configuration; on device 0 unless told otherwise."""
    return repr((".", name, {"device_ids": 0, **values}))


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# ---- calls that are refused


@stands_for("5.1-get_servable_dir")
def test_registration_outside_of_a_servable(tmp_path: Path) -> None:
    body = 'from mindspore_serving.server import register\nattempt(lambda: register.declare_model("a", "MindIR"))'
    [text] = refusals(tmp_path, body)
    assert "Failed to obtain the directory of servable_config.py" in text


# ---- a start function that raises ends the running server


# What is refused while servables and both servers run; `{free}` is a free port.
REFUSED_CALLS = {
    "0-stop-on-exception-servables": (
        "lambda: server.start_servables(C)",
        "Raise failed: Serving Error: Master gRPC server is already running",
    ),
    "0-stop-on-exception-grpc": (
        "lambda: start_grpc_server('127.0.0.1:{free}')",
        "Serving Error: Serving gRPC server is already running",
    ),
    "0-stop-on-exception-rest": (
        "lambda: start_restful_server('127.0.0.1:{free}')",
        "Serving Error: RESTful server is already running",
    ),
    "0-stop-on-exception-parameter": (
        "lambda: start_grpc_server(5500)",
        "Parameter 'address' should be str, but actually <class 'int'>",
    ),
    "0-stop-on-exception-address": (
        "lambda: start_restful_server('nonsense')",
        "Serving Error: The format of the RESTful server address 'nonsense' is illegal",
    ),
    "0-stop-on-exception-configs": (
        "lambda: server.start_servables('add')",
        "Parameter 'servable_configs' should be ServableStartConfig, list or tuple of ServableStartConfig, but "
        "actually <class 'str'>",
    ),
}


@pytest.fixture(scope="module")
def refused_calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """For each call: how it went, and what it left: unix sockets, and whether both ports can be bound."""
    folder = tmp_path_factory.mktemp("refused_calls")
    add_servable(folder, "add", ADD)
    grpc, rest = free_port(), free_port()
    calls = [call.format(free=free_port()) for call, _ in REFUSED_CALLS.values()]
    body = f"""\
import socket

C = ServableStartConfig(".", "add", 0)


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0 and probe.bind(("127.0.0.1", port)) is None


for call in [{", ".join(calls)}]:
    server.start_servables(C)
    start_grpc_server("127.0.0.1:{grpc}")
    start_restful_server("127.0.0.1:{rest}")
    attempt(call)
    print("free", json.dumps([free({grpc}), free({rest})]), flush=True)
"""
    script = write_script(folder, SCRIPT_HEAD + body)
    with running_script(script, environment={"SERVING_BACKEND": "stub"}) as running:
        assert running.wait(60) == 0, running.output
        assert leftovers(running) == []
    went = [json.loads(line[8:]) for line in running.lines if line.startswith("attempt ")]
    ports = [json.loads(line[5:]) for line in running.lines if line.startswith("free ")]
    return {name: [*pair] for name, pair in zip(REFUSED_CALLS, zip(went, ports, strict=True), strict=True)}


@pytest.mark.parametrize("case", [row(name, name) for name in REFUSED_CALLS])
def test_a_refused_start_ends_the_running_server(refused_calls: dict[str, list[Any]], case: str) -> None:
    assert refused_calls[case] == [["RuntimeError", REFUSED_CALLS[case][1]], [True, True]]


@stands_for("3.1-start-after-refusal")
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
    script = write_script(tmp_path, SCRIPT_HEAD + body)
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


@stands_for("3.1-success-lines+5.5-register-line")
def test_progress_lines(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(tmp_path, ['".", "add", device_ids=(0, 3)'], environment={"GLOG_v": "1"}) as server:
        printed = [line for line in server.lines if line.startswith("Serving: ")]
        assert printed[0].startswith("Serving: Master server start success, listening on unix:")
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


@stands_for("5.1-import-in-workers-only")
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


@stands_for("5.1-SERVING_DEVICE_ID")
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


@stands_for("5.5-log-files")
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
        earlier, now, _ = log.read_text().rpartition("imported\n")
        assert now, log
        assert earlier == ("of an earlier run\n" if log.name == "log_echo_extra0_version1.log" else "")


@stands_for("5.5-process-names")
def test_workers_go_by_their_name(facts_server: tuple[RunningScript, str]) -> None:
    running, _ = facts_server
    workers = running.workers()
    assert len(workers) == 4
    for pid in workers:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert re.match(r"(\S*/)?start(_extra)?_worker\.py ", line), line
        for part in ("--servable_directory=", "--servable_name=", "--version_number="):
            assert part in line


@stands_for("5.1-two-servables")
def test_both_servables_answer(facts_server: tuple[RunningScript, str]) -> None:
    _, address = facts_server
    assert sum_of_ones(address) == 2.0
    with Client(address, "echo", "echo", 1) as client:
        assert client.infer({"x": "text"}) == [{"y": "text"}]


@stands_for("0-relative-paths")
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
    assert not (elsewhere / "my socket").exists()
    assert list(links.iterdir()) == [link]
    assert not (home / "serving_logs").exists()


@stands_for("5.5-long-socket-path")
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


# All forms in one: relative, by the servable's name, of a sub-package, and of the servable directory.
NEIGHBOURS = """\
from .first import first
from helped.second import second
import helped.package.third
from beside import fourth


def tell(x):
    return first + second + helped.package.third.third + fourth
"""


def add_neighbours(folder: Path) -> None:
    """The servable `helped`, which imports its neighbours, and `add`, whose neighbours register."""
    add_servable(folder, "helped", HELPED.format(imports=NEIGHBOURS), ())
    (folder / "helped" / "package").mkdir()
    (folder / "helped" / "first.py").write_text('first = "1"')
    (folder / "helped" / "second.py").write_text('from .first import first\nsecond = first + "2"')
    (folder / "helped" / "package" / "third.py").write_text(
        'from ..second import second\nthird = second + "3"'
    )
    (folder / "beside.py").write_text('fourth = "4"')
    add_servable(folder, "add", "from .models import model\nfrom .methods import add\n")
    source, _, method = ADD.partition("\n\n\n")
    (folder / "add" / "models.py").write_text(source)
    imports = "from mindspore_serving.server import register\nfrom add.models import model\n\n\n"
    (folder / "add" / "methods.py").write_text(imports + method)


# Body of a stage of the servable of that name.
NAMES = {
    "json": "import json\nshown = json.dumps([x])",
    "http": "import urllib.request, http.client\nshown = http.client.OK.phrase",
    "numpy": "import numpy as np\nshown = str(np.add(1, 1))",
    "wheel": "shown = 'built'",
    "my-servable": "shown = 'dashed'",
    "my servable": "shown = 'spaced'",
    "class": "shown = 'reserved'",
    "servable_config": "shown = 'same'",
    "加法": "shown = 'added'",
    "a.b": "shown = 'dotted'",
    "a\\b:c": "shown = 'marked'",
}


@pytest.fixture(scope="module")
def oddly_named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("names")
    for name, use in NAMES.items():
        body = "\n    ".join(use.splitlines())
        source = f"from .helper import ending\n\n\ndef tell(x):\n    {body}\n    return shown + ending"
        add_servable(folder, name, HELPED.format(imports=source), ())
        (folder / name / "helper.py").write_text('ending = "!"')
    add_neighbours(folder)
    configs = [f'".", {name!r}' for name in (*NAMES, "helped")]
    with serving(folder, [*configs, '".", "add", device_ids=0']) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        row("5.1-name-shadows-json", "json", '["x"]!'),
        row("5.1-name-shadows-http", "http", "OK!"),
        row("5.1-name-shadows-numpy", "numpy", "2!"),
        row("5.1-name-shadows-wheel", "wheel", "built!"),
        row("5.1-name-dashed", "my-servable", "dashed!"),
        row("5.1-name-blank", "my servable", "spaced!"),
        row("5.1-name-keyword", "class", "reserved!"),
        row("5.1-name-servable_config", "servable_config", "same!"),
        row("5.1-name-other-script", "加法", "added!"),
        row("5.1-name-dot", "a.b", "dotted!"),
        row("5.1-name-marks", "a\\b:c", "marked!"),
        row("5.1-neighbouring-modules", "helped", "1" + "12" + "123" + "4"),
    ],
)
def test_names_and_neighbours_of_servables(oddly_named: RunningServer, name: str, shown: str) -> None:
    with Client(oddly_named.grpc, name, "value") as client:
        assert client.infer({"x": "x"}) == [{"y": shown}]


@stands_for("5.1-helper-registers")
def test_a_neighbouring_module_may_register(oddly_named: RunningServer) -> None:
    assert sum_of_ones(oddly_named.grpc) == 2.0


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


@stands_for("5.1-several-versions")
def test_several_versions(tmp_path: Path) -> None:
    files = [f"{version}/tensor_add.mindir" for version in ("2", "3", "10", "011", "v12", "0")]
    add_servable(tmp_path, "add", VERSIONED, files)
    (tmp_path / "add" / "99").touch()
    configs = ['".", "add", 0', '".", "add", 2, version_number=3', '".", "add", 1, version_number=10']
    with serving(tmp_path, configs) as server:
        assert sorted(path.name for path in (tmp_path / "serving_logs").iterdir()) == [
            "log_add_device0_version10.log",
            "log_add_device1_version10.log",
            "log_add_device2_version3.log",
        ]
        for asked, answers in ((0, 10), (10, 10), (3, 3)):
            with Client(server.grpc, "add", "add", asked) as client:
                for reply in client.infer([{"x1": ONES, "x2": ONES}] * 20):
                    assert reply["ran"] == f"--version_number={answers}"
        for absent in (1, 2, 11, 99):
            with Client(server.grpc, "add", "add", absent) as client:
                error = f"Request servable(add) method(add)  version({absent}) , servable is not available"
                assert client.infer({"x1": ONES, "x2": ONES}) == {"error": error}


@stands_for("4.2-no-models-no-version")
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


@stands_for("5.5-models-on-cpu")
def test_models_without_device_on_a_cpu_backend(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(
        tmp_path, ['".", "add", num_parallel_workers=2'], environment={"SERVING_ENABLE_CPU_DEVICE": "1"}
    ) as server:
        assert len(server.workers()) == 2
        assert sum_of_ones(server.grpc) == 2.0


# ---- stop, and the end of the script


@stands_for("3.1-stop")
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
    print("down", name, devices, flush=True)
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
            running.wait_for_line(f"down {name} {devices}")
            assert not any(map(lives, pids))
        assert running.wait() == 0
        assert leftovers(running) == []


@pytest.mark.parametrize(
    "function", [row("12.1-15-grpc", "start_grpc_server"), row("12.1-15-rest", "start_restful_server")]
)
def test_a_script_without_servables_ends_by_itself(tmp_path: Path, function: str) -> None:
    port = free_port()
    assert attempts(tmp_path, f"attempt(lambda: {function}('127.0.0.1:{port}'))") == [None]
    assert port_is_free(port)


@stands_for("5.5-outlives-the-script")
def test_the_server_outlives_the_script(tmp_path: Path) -> None:
    add_servable(tmp_path, "add", ADD)
    with serving(tmp_path, ['".", "add", 0']) as server:
        status = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/wchan")
        wait_until(
            lambda: "futex" in status.read_text() or status.read_text() in ("0", ""), "main thread waits"
        )
        assert sum_of_ones(server.grpc) == 2.0
        assert server.process.poll() is None


@stands_for("5.5-forked-child")
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


@stands_for("4.2-start_servables")
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


@stands_for("3.1-port-reuse")
def test_the_port_of_a_server_is_not_shared(tmp_path: Path) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    with serving(tmp_path, ['".", "echo"']) as server:
        for address in (server.grpc, server.rest):
            with closing(socket.socket()) as second:
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                with pytest.raises(OSError, match="in use"):
                    second.bind(("127.0.0.1", int(address.rpartition(":")[2])))
