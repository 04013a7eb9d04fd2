"""Sections 5.5 and 11.3: the log, its lines, and the variables that govern it."""

from __future__ import annotations

import re
import signal
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from mindspore_serving.client import Client
from tests.conformance.row import row, stands_for
from tests.support.serving import add_servable, running_script, serving

LINE = re.compile(
    r"\[(?P<level>DEBUG|INFO|WARNING|ERROR)\] SERVING\((?P<pid>\d+):(?P<tid>\d+),(?P<process>[^)]+)\):"
    r"\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} \[(?P<file>[^\]]+):(?P<line>\d+)\] (?P<message>.*)"
)
SCRIPT = """\
from mindspore_serving import log

for name in ("debug", "info", "warning", "error"):
    try:
        getattr(log, name)("says %s", name)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        break
else:
    print("level", log.get_level(), flush=True)
    print("config", sorted(log.get_log_config().items()), flush=True)
"""
VARIABLES = (
    "GLOG_v",
    "GLOG_logtostderr",
    "GLOG_log_dir",
    "GLOG_stderrthreshold",
    "MS_SUBMODULE_LOG_v",
    "logger_maxBytes",
    "logger_backupCount",
)


def run(folder: Path, environment: Mapping[str, str], script: str = SCRIPT) -> list[str]:
    """Lines of a script, stdout and stderr together."""
    path = folder / "log_script.py"
    path.write_text(script)
    with running_script(path, environment={**dict.fromkeys(VARIABLES, ""), **environment}) as running:
        assert running.wait() == 0
        return running.lines


def levels(lines: list[str]) -> list[str]:
    return [match["level"] for line in lines if (match := LINE.fullmatch(line))]


ALL = ["DEBUG", "INFO", "WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("variables", "level", "shown"),
    [
        row("5.5-GLOG_v-0", {"GLOG_v": "0"}, "0", ALL),
        row("5.5-GLOG_v-1", {"GLOG_v": "1"}, "1", ALL[1:]),
        row("5.5-GLOG_v-2", {"GLOG_v": "2"}, "2", ALL[2:]),
        row("5.5-GLOG_v-3", {"GLOG_v": "3"}, "3", ALL[3:]),
        row("5.5-GLOG_v-default", {}, "2", ALL[2:]),
        row("5.5-GLOG_logtostderr-1", {"GLOG_logtostderr": "1", "GLOG_log_dir": "/nowhere"}, "2", ALL[2:]),
    ],
)
def test_levels(tmp_path: Path, variables: dict[str, str], level: str, shown: list[str]) -> None:
    lines = run(tmp_path, variables)
    assert levels(lines) == shown
    assert f"level {level}" in lines


@stands_for("5.5-log-line+11.3-test_serving_log")
def test_line(tmp_path: Path) -> None:
    [line] = [line for line in run(tmp_path, {"GLOG_v": "3"}) if "says" in line]
    match = LINE.fullmatch(line)
    assert match
    assert (match["level"], match["process"], match["message"]) == ("ERROR", "MainProcess", "says error")
    assert match["file"].endswith("log_script.py")
    assert match["line"] == "5"


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        row(
            "5.5-GLOG_logtostderr-value",
            {"GLOG_logtostderr": "2"},
            "ValueError: Incorrect value, The value of GLOG_logtostderr must be 0 or 1, ",
        ),
        row(
            "5.5-GLOG_log_dir-empty",
            {"GLOG_logtostderr": "0"},
            "ValueError: When GLOG_logtostderr is set to 0, The directory of saving log must be set, GLOG_log_dir "
            "cannot be empty.",
        ),
        row(
            "5.5-GLOG_log_dir-missing",
            {"GLOG_logtostderr": "0", "GLOG_log_dir": "/no/such/folder"},
            "ValueError: The file path does not exist. GLOG_log_dir:/no/such/folder",
        ),
    ],
)
def test_wrong_variables(tmp_path: Path, variables: dict[str, str], text: str) -> None:
    lines = run(tmp_path, variables)
    assert len(lines) == 1
    assert lines[0].startswith(text)
    if not text.endswith(" "):
        assert lines[0] == text


@pytest.mark.parametrize(
    "name", [row(f"5.5-{name}", name) for name in ("logger_maxBytes", "logger_backupCount")]
)
def test_numbers(tmp_path: Path, name: str) -> None:
    """They matter only where the log goes to a file."""
    variables = {name: "1k", "GLOG_logtostderr": "0", "GLOG_log_dir": str(tmp_path)}
    [line] = run(tmp_path, variables)
    assert line.startswith("ValueError: ")
    assert f"{name} must be positive integer. " in line


@stands_for("5.5-GLOG_logtostderr-0+5.5-GLOG_stderrthreshold-default")
def test_log_file(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = run(tmp_path, {"GLOG_v": "0", "GLOG_logtostderr": "0", "GLOG_log_dir": str(logs)})
    [file] = logs.iterdir()
    assert re.fullmatch(r"mindspore_serving\.log\.\d+", file.name)
    assert levels(file.read_text().splitlines()) == ALL
    assert levels(lines) == ALL[2:]  # what is copied to stderr


@pytest.mark.parametrize(
    ("threshold", "copied"),
    [row("5.5-GLOG_stderrthreshold-0", "0", ALL), row("5.5-GLOG_stderrthreshold-3", "3", ALL[3:])],
)
def test_copy_on_stderr(tmp_path: Path, threshold: str, copied: list[str]) -> None:
    variables = {
        "GLOG_v": "0",
        "GLOG_logtostderr": "0",
        "GLOG_log_dir": str(tmp_path),
        "GLOG_stderrthreshold": threshold,
    }
    assert levels(run(tmp_path, variables)) == copied


@stands_for("5.5-log-rotation")
def test_rotation(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    variables = {
        "GLOG_logtostderr": "0",
        "GLOG_log_dir": str(logs),
        "logger_maxBytes": "1000",
        "logger_backupCount": "2",
    }
    script = "from mindspore_serving import log\nfor i in range(100):\n    log.warning('line %s', i)\n"
    run(tmp_path, variables, script)
    files = sorted(logs.iterdir())
    assert [re.sub(r"\d{2,}", "pid", file.name) for file in files] == [
        "mindspore_serving.log.pid",
        "mindspore_serving.log.pid.1",
        "mindspore_serving.log.pid.2",
    ]
    for backup in files[1:]:
        assert backup.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) == 0
        assert backup.stat().st_size <= 1000


@pytest.mark.parametrize(
    ("variables", "config"),
    [
        row("5.5-get_log_config", {}, {"GLOG_v": "2", "GLOG_logtostderr": "1"}),
        row("5.5-get_log_config-level", {"GLOG_v": "1"}, {"GLOG_v": "1", "GLOG_logtostderr": "1"}),
    ],
)
def test_get_log_config(tmp_path: Path, variables: dict[str, str], config: dict[str, str]) -> None:
    assert f"config {sorted(config.items())}" in run(tmp_path, variables)


ECHO = """\
from mindspore_serving import log
from mindspore_serving.server import register


def say(x):
    log.info("a stage says %s", x)
    log.debug("a stage whispers %s", x)
    return x


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(say, x, outputs_count=1)
"""


@pytest.mark.parametrize(
    ("variables", "info"),
    [
        row("5.5-GLOG_v-server", {"GLOG_v": "1"}, True),
        row("5.5-MS_SUBMODULE_LOG_v", {"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{SERVING:1}"}, True),
        row("5.5-MS_SUBMODULE_LOG_v-other", {"GLOG_v": "2", "MS_SUBMODULE_LOG_v": "{MD:0}"}, False),
    ],
)
def test_log_of_a_server(tmp_path: Path, variables: dict[str, str], info: bool) -> None:
    add_servable(tmp_path, "echo", ECHO, ())
    environment = {**dict.fromkeys(VARIABLES, ""), **variables}
    with serving(tmp_path, ['".", "echo", device_ids=0'], environment=environment) as running:
        with Client(running.grpc, "echo", "echo") as client:
            assert client.infer({"x": "abc"}) == [{"y": "abc"}]
        running.signal(signal.SIGTERM)
        running.wait()
    assert any("Register success: worker address: " in line for line in running.lines) is info
    lines = (tmp_path / "serving_logs" / "log_echo_device0_version1.log").read_text().splitlines()
    assert (
        any(re.search(r"\] Method echo WorkerRequestHandle Time Cost # [\d.]+ ms$", line) for line in lines)
        is info
    )
    assert any(line.endswith("] a stage says abc") for line in lines) is info
    assert not any("whispers" in line for line in lines)
    for line in [*running.lines, *lines]:
        assert LINE.fullmatch(line) or not line.startswith("["), line


@stands_for("5.5-log-files-truncated")
def test_logs_go_on(tmp_path: Path) -> None:
    """A departure: a start empties no log."""
    add_servable(tmp_path, "echo", ECHO, ())
    log = tmp_path / "serving_logs" / "log_echo_device0_version1.log"
    log.parent.mkdir()
    log.write_text("of an earlier run\n")
    with serving(tmp_path, ['".", "echo", device_ids=0']):
        pass
    first, *others = log.read_text().splitlines()
    assert first == "of an earlier run"
    assert "Serving: Start servable success" in others[0]
    assert list(log.parent.iterdir()) == [log]
