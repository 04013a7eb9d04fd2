"""Logs of running servers: two in one folder, what rotates logs from outside, rotation by size, SIGHUP."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.client import Client
from tests.support.other_user import OTHER_USER, needs_root
from tests.support.serving import RunningScript, RunningServer, add_servable, running_script, serving
from tests.support.watch import leftovers, wait_until, wait_until_gone

CONFIG = """\
import os

from mindspore_serving.server import register

if os.environ.get("BROKEN"):
    raise RuntimeError("this servable is broken")


def say(x):
    print(f"stage of {x}")
    return x


def end(x):
    os._exit(int(x))


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(say, x, outputs_count=1)


@register.register_method(output_names=["y"])
def die(x):
    return register.add_stage(end, x, outputs_count=1)
"""
SERVABLE = '".", "st", device_ids=0'
MAX_BYTES = 20_000
ROTATION = {"logger_maxBytes": str(MAX_BYTES), "logger_backupCount": "2"}
STUB = {"SERVING_BACKEND": "stub"}


def log_of(folder: Path) -> Path:
    return folder / "serving_logs" / "log_st_device0_version1.log"


def ask(server: RunningServer, value: str, count: int = 1, method: str = "echo") -> object:
    with Client(server.grpc, "st", method) as client:
        return client.infer([{"x": value}] * count, timeout=30)


def said(folder: Path) -> list[str]:
    """What the worker's function has printed, as far as it is in the log."""
    return re.findall("stage of (.*)", log_of(folder).read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that logs to files, and rotates them early."""
    folder = tmp_path_factory.mktemp("logs")
    add_servable(folder, "st", CONFIG, ())
    (folder / "own_logs").mkdir()
    environment = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(folder / "own_logs"), **ROTATION}
    with serving(folder, [SERVABLE], environment=environment) as running:
        yield running


def test_a_second_server_in_the_folder_has_logs_of_its_own(server: RunningServer) -> None:
    folder, log = server.folder, log_of(server.folder)
    ask(server, "first")
    with serving(folder, [SERVABLE]) as second:
        ask(second, "second")
        ask(server, "third")
    other = log.with_name(f"log_st_device0_version1.{second.process.pid}.log")
    assert said(folder)[-2:] == ["first", "third"]
    assert "second" in other.read_text()
    assert f"Another server writes to {log}: what this one's process prints goes to {other}" in second.output


def test_a_second_server_that_cannot_start_leaves_the_log_alone(server: RunningServer) -> None:
    ask(server, "first")
    with running_script(server.folder / "start_server.py", environment={**STUB, "BROKEN": "1"}) as second:
        assert second.wait(60) == 1
    ask(server, "second")
    assert "this servable is broken" in second.output
    assert said(server.folder)[-2:] == ["first", "second"]
    assert "broken" not in log_of(server.folder).read_text()


def test_a_log_that_is_copied_and_emptied_goes_on_at_its_begin(server: RunningServer) -> None:
    ask(server, "first")
    os.truncate(log_of(server.folder), 0)
    ask(server, "second")
    assert log_of(server.folder).read_bytes() == b"stage of second\n"


def test_logs_that_were_moved_are_opened_again_at_sighup(server: RunningServer) -> None:
    ask(server, "first")
    own = server.folder / "own_logs" / f"mindspore_serving.log.{server.process.pid}"
    own.touch()
    for log in (log_of(server.folder), own):
        log.rename(log.with_name("moved"))
    ask(server, "second")
    [worker] = server.workers()
    server.signal(signal.SIGHUP)
    log = log_of(server.folder)
    wait_until(lambda: log.exists() and own.exists(), "both files are there again")
    for descriptor in (1, 2):
        wait_until(lambda n=descriptor: log.samefile(f"/proc/{worker}/fd/{n}"), "the worker writes there")
    ask(server, "third")
    assert said(server.folder) == ["third"]
    assert log.with_name("moved").read_text().endswith("stage of first\nstage of second\n")
    log.with_name("moved").unlink()


def test_a_restart_keeps_the_log_of_the_crash(server: RunningServer) -> None:
    ask(server, "before")
    [worker] = server.workers()
    ask(server, "7", method="die")
    wait_until_gone(worker)
    wait_until(lambda: ask(server, "after") == [{"y": "after"}], "the worker is back", 60)
    assert "before" in said(server.folder)
    assert said(server.folder)[-1] == "after"


def test_a_log_is_rotated_at_its_size(server: RunningServer) -> None:
    log = log_of(server.folder)
    older = [log.with_name(f"{log.name}.{number}") for number in (1, 2, 3)]
    for turn in range(4):
        os.truncate(log, 0)
        ask(server, "x" * 500 + str(turn), count=MAX_BYTES // 500)
        wait_until(lambda: log.stat().st_size == 0, "the log is rotated")
    assert [path.exists() for path in older] == [True, True, False]
    for turn, path in zip((3, 2), older, strict=False):
        assert path.read_text() == f"stage of {'x' * 500}{turn}\n" * (MAX_BYTES // 500)
        assert stat.S_IMODE(path.stat().st_mode) == 0o440


# ---- SIGHUP of a terminal


def test_sighup_ends_a_server_only_when_its_terminal_has_gone(tmp_path: Path) -> None:
    add_servable(tmp_path, "st", CONFIG, ())
    (tmp_path / "start.py").write_text(
        "from mindspore_serving import server\n"
        f"server.start_servables(server.ServableStartConfig({SERVABLE}))\nprint('is up', flush=True)\n"
    )
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "start.py"],
        cwd=tmp_path,
        env={**os.environ, **STUB, "PYTHONUNBUFFERED": "1", "GLOG_v": "1"},
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    running = RunningScript(process, tmp_path)
    try:
        running.wait_for_line("is up")
        running.signal(signal.SIGHUP)
        running.wait_for_line("SIGHUP: log files are opened again", 20)
        [worker] = running.workers()
        os.close(terminal)
        assert running.wait(20) == 0
        wait_until_gone(worker)
        assert leftovers(running) == []
    finally:
        process.kill()
        process.wait()


# ---- folders and files of others

REFUSED = """\
import os

from mindspore_serving import server

for case in {cases!r}:
    os.chdir({folder!r} + "/" + case)
    try:
        server.start_servables(server.ServableStartConfig(".", "st", device_ids=0))
        print(case + ":", "is up", flush=True)
        server.stop()
    except RuntimeError as error:
        print(case + ":", str(error).replace("\\n", " "), flush=True)
"""
LOG = "serving_logs/log_st_device0_version1.log"
USER = f"user {OTHER_USER}"
NO_FILE = "and should be a regular file: remove it"
FOREIGN = "and this process runs as user root (0)"
PLACES = {
    "logs of another user": ("serving_logs", f"belongs to {USER}, {FOREIGN}"),
    "link of another user": (
        "serving_logs",
        f"is a symbolic link of {USER}, and should be a directory: remove it",
    ),
    "log of another user": (LOG, f"belongs to {USER}, {FOREIGN}"),
    "fifo": (LOG, f"is a FIFO of user root (0), {NO_FILE}"),
    "link": (LOG, f"is a symbolic link of user root (0), {NO_FILE}"),
    "socket": (LOG, f"is a socket of user root (0), {NO_FILE}"),
    "own link": ("", "is up"),
}


def make_place(folder: Path, case: str) -> None:
    """Put what others could have put there into a working directory."""
    folder.mkdir()
    path = folder / PLACES[case][0]
    path.parent.mkdir(exist_ok=True)
    if case == "logs of another user":
        path.mkdir()
    elif case == "log of another user":
        path.touch()
    elif case == "fifo":
        os.mkfifo(path)
    elif case == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif case == "own link":
        (folder / "elsewhere").mkdir()
        (folder / "serving_logs").symlink_to("elsewhere")
    else:
        path.symlink_to("/tmp")
    if "another user" in case:
        os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)


@needs_root
def test_folders_and_files_of_others_are_refused_at_the_start(tmp_path: Path) -> None:
    add_servable(tmp_path, "st", CONFIG, ())
    for case in PLACES:
        make_place(tmp_path / case, case)
    script = tmp_path / "start.py"
    script.write_text(REFUSED.format(cases=list(PLACES), folder=str(tmp_path)))
    with running_script(script, environment=STUB) as running:
        assert running.wait(60) == 0
    for case, (path, text) in PLACES.items():
        [line] = [line for line in running.lines if line.startswith(f"{case}: ")]
        assert text in line
        assert str(tmp_path / case / path) in line or not path
    assert (tmp_path / "own link" / "elsewhere" / Path(LOG).name).is_file()
    assert [path.name for path in (tmp_path / "logs of another user" / "serving_logs").iterdir()] == []
