"""The log: what the environment chooses, and what the lines look like."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.log import LineFormatter, LogSettings, RotatingFile

ROOT = Path(__file__).resolve().parents[2]
LOG_VARIABLES = ("GLOG_v", "GLOG_logtostderr", "GLOG_log_dir", "GLOG_stderrthreshold", "MS_SUBMODULE_LOG_v")
LINE = re.compile(
    r"\[(?P<level>[A-Z]+)\] SERVING\((?P<pid>\d+):(?P<tid>\d+),(?P<process>[^)]+)\):"
    r"(?P<time>\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3}) \[(?P<file>.+):(?P<line>\d+)\] (?P<message>.*)"
)
ALL_LEVELS = """
    from mindspore_serving import log
    for number, write in enumerate((log.debug, log.info, log.warning, log.error)):
        write("line %s of %s", number, "all")
    print(log.get_level(), log.get_log_config())
"""


def run_script(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, where the log is not set up yet."""
    environment = {name: value for name, value in os.environ.items() if name not in LOG_VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines_of(text: str) -> list[re.Match[str]]:
    """The log lines in a text; every line must be one."""
    matches = [LINE.fullmatch(line) for line in text.splitlines()]
    assert None not in matches, text
    return [match for match in matches if match]


def record(pathname: str = "/elsewhere/serve.py", created: float = 0.0, **facts: Any) -> logging.LogRecord:
    """A record as a logger makes it."""
    made = logging.LogRecord("any", logging.WARNING, pathname, 7, "x %s", ("y",), None)
    made.created = created
    vars(made).update(facts)
    return made


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, LogSettings(2, None, 52428800, 30, 2)),
        ({"GLOG_v": ""}, LogSettings(level=2)),
        *[({"GLOG_v": str(n)}, LogSettings(level=n)) for n in range(4)],
        ({"GLOG_logtostderr": "1", "GLOG_log_dir": "/not/used"}, LogSettings()),
        ({"GLOG_logtostderr": "0", "GLOG_log_dir": "/"}, LogSettings(directory="/")),
        ({"logger_maxBytes": "10", "logger_backupCount": "3"}, LogSettings(max_bytes=10, backup_count=3)),
        ({"GLOG_stderrthreshold": "3"}, LogSettings(stderr_level=3)),
        ({"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{SERVING:0}"}, LogSettings(level=0)),
        ({"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{MD:0,SERVING:1}"}, LogSettings(level=1)),
        ({"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{MD:0}"}, LogSettings(level=3)),
        ({"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{SERVING:7}"}, LogSettings(level=3)),
    ],
)
def test_settings_from_environment(variables: dict[str, str], expected: LogSettings) -> None:
    assert LogSettings.from_environment(variables) == expected


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"GLOG_v": "4"}, "GLOG_v must be 0 (DEBUG), 1 (INFO), 2 (WARNING) or 3 (ERROR), but got 4"),
        ({"GLOG_v": "info"}, "but got info"),
        ({"GLOG_stderrthreshold": "-1"}, "The value of GLOG_stderrthreshold must be"),
        ({"GLOG_logtostderr": "2"}, "Incorrect value, The value of GLOG_logtostderr must be 0 or 1, "),
        (
            {"GLOG_logtostderr": "0"},
            "When GLOG_logtostderr is set to 0, The directory of saving log must be set, GLOG_log_dir cannot be empty.",
        ),
        (
            {"GLOG_logtostderr": "0", "GLOG_log_dir": "/no/such"},
            "The file path does not exist. GLOG_log_dir:/no/such",
        ),
        ({"logger_maxBytes": "1k"}, "logger_maxBytes must be positive integer. "),
        ({"logger_backupCount": "-1"}, "logger_backupCount must be positive integer. "),
        ({"logger_backupCount": "0"}, "logger_backupCount must be positive integer. "),
    ],
)
def test_settings_refuse(variables: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError) as refused:
        LogSettings.from_environment(variables)
    assert text in str(refused.value)


def test_settings_as_environment(tmp_path: Path) -> None:
    assert LogSettings().as_environment() == {"GLOG_v": "2", "GLOG_logtostderr": "1"}
    variables = {
        "GLOG_v": "0",
        "GLOG_logtostderr": "0",
        "GLOG_log_dir": str(tmp_path),
        "logger_maxBytes": "1000",
        "logger_backupCount": "2",
        "GLOG_stderrthreshold": "1",
    }
    assert LogSettings.from_environment(variables).as_environment() == variables


def test_line_format() -> None:
    moment = record(created=1709211900.123456, process=11, thread=22, processName="MainProcess")
    line = LINE.fullmatch(LineFormatter().format(moment))
    assert line
    assert (line["level"], line["pid"], line["tid"], line["process"]) == (
        "WARNING",
        "11",
        "22",
        "MainProcess",
    )
    assert line["time"].endswith(":00.123.456")
    assert (line["file"], line["line"], line["message"]) == ("/elsewhere/serve.py", "7", "x y")


def test_files_of_the_package_are_shown_relative_to_its_parent() -> None:
    line = LineFormatter().format(record(str(ROOT / "mindspore_serving" / "server" / "a.py")))
    assert " [mindspore_serving/server/a.py:7] " in line


def test_rotation_keeps_read_only_backups(tmp_path: Path) -> None:
    handler = RotatingFile(tmp_path / "log", maxBytes=20, backupCount=2)
    for number in range(4):
        handler.emit(record(msg=f"{number} fifteen letters", args=()))
    handler.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert [(tmp_path / name).read_text()[0] for name in ("log", "log.1", "log.2")] == ["3", "2", "1"]
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("log.1", "log.2")]
    assert modes == [stat.S_IRUSR, stat.S_IRUSR]


@pytest.mark.parametrize("level", range(4))
def test_level_filters_lines_on_stderr(level: int) -> None:
    done = run_script(ALL_LEVELS, GLOG_v=str(level))
    lines = lines_of(done.stderr)
    assert [line["level"] for line in lines] == ["DEBUG", "INFO", "WARNING", "ERROR"][level:]
    assert [line["message"] for line in lines] == [f"line {number} of all" for number in range(level, 4)]
    assert done.stdout == f"{level} {{'GLOG_v': '{level}', 'GLOG_logtostderr': '1'}}\n"


def test_line_names_the_caller() -> None:
    done = run_script("from mindspore_serving import log\n\nlog.error('here')", GLOG_v="2")
    (line,) = lines_of(done.stderr)
    assert (line["file"], line["line"]) == ("<string>", "3")


def test_log_file_and_copy_on_stderr(tmp_path: Path) -> None:
    script = ALL_LEVELS + "\n    import os; print(os.getpid())"
    variables = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(tmp_path), "GLOG_v": "1"}
    done = run_script(script, GLOG_stderrthreshold="3", **variables)
    pid = done.stdout.split()[-1]
    in_file = lines_of((tmp_path / f"mindspore_serving.log.{pid}").read_text())
    assert [line["level"] for line in in_file] == ["INFO", "WARNING", "ERROR"]
    assert [line["level"] for line in lines_of(done.stderr)] == ["ERROR"]


def test_wrong_environment_raises_at_first_use_not_at_import() -> None:
    done = run_script(
        """
        from mindspore_serving import log
        for use in (lambda: log.debug("x"), log.get_level, log.get_log_config):
            try:
                use()
            except ValueError as error:
                print(error)
        """,
        GLOG_logtostderr="7",
    )
    assert done.stdout.count("The value of GLOG_logtostderr must be 0 or 1, ") == 3


def test_placeholders_are_filled_only_for_lines_that_are_written() -> None:
    done = run_script(
        """
        from mindspore_serving import log
        class Costly:
            def __str__(self):
                print("formatted")
                return "value"
        log.info("%s", Costly())
        log.warning("%s", Costly())
        """,
        GLOG_v="2",
    )
    assert done.stdout == "formatted\n"
    assert [line["message"] for line in lines_of(done.stderr)] == ["value"]


def test_traceback_follows_the_line() -> None:
    done = run_script(
        """
        from mindspore_serving import log
        try:
            1 / 0
        except ZeroDivisionError:
            log.error("failed", exc_info=True)
        """
    )
    first, *rest = done.stderr.splitlines()
    assert lines_of(first)[0]["message"] == "failed"
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ZeroDivisionError: division by zero"


def test_first_use_by_many_threads_writes_each_line_once() -> None:
    done = run_script(
        """
        import threading
        from mindspore_serving import log
        gate = threading.Barrier(8)
        def write(number):
            gate.wait()
            log.warning("thread %s", number)
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    assert sorted(line["message"] for line in lines_of(done.stderr)) == [f"thread {n}" for n in range(8)]


def test_forked_process_writes_its_own_file(tmp_path: Path) -> None:
    done = run_script(
        """
        import os
        from mindspore_serving import log
        log.error("of parent")
        child = os.fork()
        if child == 0:
            log.error("of child")
            os._exit(0)
        os.waitpid(child, 0)
        print(os.getpid(), child)
        """,
        GLOG_logtostderr="0",
        GLOG_log_dir=str(tmp_path),
    )
    for pid, message in zip(done.stdout.split(), ("of parent", "of child"), strict=True):
        lines = lines_of((tmp_path / f"mindspore_serving.log.{pid}").read_text())
        assert [line["message"] for line in lines] == [message]
