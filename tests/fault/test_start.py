"""What keeps a server from starting, or its workers from writing, and what is left behind of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.http_requests import post
from tests.support.serving import RunningScript, RunningServer, add_servable, free_port, running_script
from tests.support.watch import at_a_terminal, leftovers, press_ctrl_c, wait_until

UP = "front ends listen"
STUB = {"SERVING_BACKEND": "stub"}

PRINTS = """\
import sys

from mindspore_serving.server import register


def loud(x):
    print("printed", "x" * 5000)
    sys.stderr.write("y" * 5000)
    sys.stdout.buffer.write(b"z")
    return x


@register.register_method(output_names=["y"])
def echo(x):
    return register.add_stage(loud, x, outputs_count=1)
"""

START = """\
{before}
from mindspore_serving import server

server.start_servables(server.ServableStartConfig({folder!r}, "echo", 0))
server.start_grpc_server({grpc!r})
server.start_restful_server({rest!r})
print("front ends listen", flush=True)
"""

# Runs what follows as the superuser of a user namespace of its own, with mounts of its own.
OWN_MOUNTS = """\
import ctypes
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
user, group = os.getuid(), os.getgid()


def check(status):
    if status:
        print("not permitted:", os.strerror(ctypes.get_errno()), flush=True)
        sys.exit(0)


def mount(kind, place, flags=0, options=""):
    check(libc.mount(kind.encode(), place.encode(), kind.encode(), flags, options.encode()))


NEW_USER, NEW_MOUNTS, PRIVATE, READ_ONLY, BIND, AGAIN = 0x10000000, 0x20000, 0x44000, 1, 0x1000, 0x20
check(libc.unshare(NEW_USER | NEW_MOUNTS))
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
check(libc.mount(b"none", b"/", None, PRIVATE, None))
"""


@contextmanager
def started(
    folder: Path, before: str = "", *, environment: dict[str, str] | None = None
) -> Iterator[RunningServer]:
    """Run a start script that first does something else; the test is skipped if the system does not let it."""
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    add_servable(folder, "echo", PRINTS, ())
    script = folder / "start.py"
    script.write_text(START.format(before=before, folder=str(folder), grpc=grpc, rest=rest))
    with running_script(script, environment={**STUB, **(environment or {})}) as running:
        yield RunningServer(running.process, folder, running.lines, grpc=grpc, rest=rest)


def error_of(running: RunningScript) -> str:
    """The last line of a script that cannot start, after a look at what it has left."""
    status = running.wait()
    if "not permitted:" in running.output:
        pytest.skip(f"namespaces are {running.output}")
    assert status == 1, running.output
    assert leftovers(running) == []
    [error] = [line for line in running.lines if line.startswith("mindspore_serving.errors.")]
    return error


def assert_up(server: RunningServer) -> None:
    wait_until(lambda: server._read(1) is False or UP in server.lines, "it listens", 60)
    if "not permitted:" in server.output:
        pytest.skip(f"namespaces are {server.output}")
    server.wait_for_line(UP)


# ---- servable_config.py


def test_an_import_that_does_not_end(tmp_path: Path) -> None:
    add_servable(tmp_path, "endless", "print('begun')\nwhile True:\n    pass\n", ())
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "endless", 0))\n'
    )
    with running_script(script, environment={**STUB, "SERVING_START_TIMEOUT_S": "2.5"}) as running:
        error = error_of(running)
        assert "Fail to start workers: servable endless version 1 device0 not ready after 2.5 s" in error
        assert "SERVING_START_TIMEOUT_S" in error
        log = tmp_path / "serving_logs" / "log_endless_device0_version1.log"
        assert f"last lines of {log}:\nbegun" in running.output


NEIGHBOUR = """\
from mindspore_serving.server import register


def stage(x):
    return register.add_stage(3, x, outputs_count=1)
"""
REGISTERS = """\
from mindspore_serving.server import register

from .neighbour import stage


@register.register_method(output_names=["y"])
def predict(x):
    return stage(x)
"""


def test_what_is_told_of_an_error_leads_to_the_users_own_code(tmp_path: Path) -> None:
    add_servable(tmp_path, "wrong", REGISTERS, ())
    (tmp_path / "wrong" / "neighbour.py").write_text(NEIGHBOUR)
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "wrong", 0))\n'
    )
    with running_script(script, environment=STUB) as running:
        error = error_of(running)
    log = tmp_path / "serving_logs" / "log_wrong_device0_version1.log"
    assert f"(method 'predict', at {tmp_path}/wrong/neighbour.py:5)>}}, more in {log}" in error
    # At the console: the line of the script, and where the function that it has called raises.
    frames = [line.strip() for line in running.lines if line.startswith("  File")]
    assert [frame.partition(", in ")[2] for frame in frames] == ["<module>", "guarded"]
    assert frames[0].startswith(f'File "{script}", line 2')
    frames = [line.strip() for line in log.read_text().splitlines() if line.startswith("  File")]
    home = f'File "{tmp_path}/wrong/'
    assert [frame.removeprefix(home) for frame in frames] == [
        'servable_config.py", line 6, in <module>',
        'servable_config.py", line 8, in predict',
        'neighbour.py", line 5, in stage',
    ]


def test_ctrl_c_ends_an_import_that_does_not_end(tmp_path: Path) -> None:
    add_servable(tmp_path, "endless", "open('begun', 'w').close()\nwhile True:\n    pass\n", ())
    script = tmp_path / "start.py"
    script.write_text(
        "from mindspore_serving import server\n"
        'server.start_servables(server.ServableStartConfig(".", "endless", 0))\n'
    )
    with at_a_terminal(script, {}) as running:
        wait_until((tmp_path / "begun").exists, "the import has begun")
        press_ctrl_c(running)
        running.wait(10)
        assert "Fail to start workers because of signal SIGINT or SIGTERM" in running.output
        assert leftovers(running) == []


@pytest.mark.parametrize("value", ["0", "soon"])
def test_a_limit_that_is_none(tmp_path: Path, value: str) -> None:
    with started(tmp_path, environment={"SERVING_START_TIMEOUT_S": value}) as running:
        expected = f"SERVING_START_TIMEOUT_S should be a number of seconds, at least 1, but got '{value}'"
        assert expected in error_of(running)


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        pass
    (tmp_path / "echo" / "servable_config.py").write_text("import os\n\ndef broken(:\n")
    with running_script(tmp_path / "start.py", environment=STUB) as running:
        assert "import echo.servable_config failed, invalid syntax (servable_config.py, line 3)" in error_of(
            running
        )


# ---- where the server works


def test_a_working_directory_that_is_read_only(tmp_path: Path) -> None:
    folder = str(tmp_path)
    before = OWN_MOUNTS + (
        f"check(libc.mount({folder!r}.encode(), {folder!r}.encode(), None, BIND, None))\n"
        f"check(libc.mount(None, {folder!r}.encode(), None, BIND | AGAIN | READ_ONLY, None))\n"
        f"os.chdir({folder!r})\n"
    )
    with started(tmp_path, before) as running:
        error = error_of(running)
        assert f"Read-only file system: '{tmp_path}/serving_logs'" in error
        assert "The working directory, where logs are, must be writable" in error


def test_a_working_directory_in_which_no_file_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    before = OWN_MOUNTS + (
        f"mount('tmpfs', {str(tmp_path / 'small')!r}, 0, 'size=64k,nr_inodes=2')\n"
        f"os.chdir({str(tmp_path / 'small')!r})\n"
        "open('last', 'w').close()\n"
    )
    with started(tmp_path, before) as running:
        assert f"No space left on device: '{tmp_path}/small/serving_logs'" in error_of(running)


def test_a_working_directory_that_is_full(tmp_path: Path) -> None:
    """The names of logs need no space; what is printed is lost."""
    (tmp_path / "small").mkdir()
    before = OWN_MOUNTS + (
        f"mount('tmpfs', {str(tmp_path / 'small')!r}, 0, 'size=64k')\n"
        f"os.chdir({str(tmp_path / 'small')!r})\n"
        "try:\n    file = open('full', 'wb', buffering=0)\n"
        "    while True:\n        file.write(bytes(4096))\nexcept OSError:\n    pass\n"
    )
    with started(tmp_path, before, environment={"GLOG_v": "0"}) as server:
        assert_up(server)
        assert_echoes(server)


def test_a_disk_that_is_full_while_the_server_runs(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    before = OWN_MOUNTS + (
        f"mount('tmpfs', {str(tmp_path / 'small')!r}, 0, 'size=64k')\nos.chdir({str(tmp_path / 'small')!r})\n"
    )
    with started(tmp_path, before, environment={"GLOG_v": "0"}) as server:
        assert_up(server)
        [worker] = server.workers()
        for _ in range(6):  # each prints more than 20 kB
            assert_echoes(server)
        assert server.workers() == [worker]


def assert_echoes(server: RunningServer, value: object = 3) -> None:
    for _ in range(2):
        reply = post(server.rest, "/model/echo:echo", {"instances": [{"x": value}]})
        assert json.loads(reply.text) == {"instances": [{"y": value}]}


# ---- shared memory


def echo_large(server: RunningServer) -> None:
    """Send more than a small /dev/shm holds."""
    x = np.arange(10_000_000, dtype=np.int64)
    with Client(server.grpc, "echo", "echo") as client:
        [row] = client.infer({"x": x}, timeout=60)
    assert np.array_equal(row["y"], x)


def test_a_small_dev_shm_does_not_matter(tmp_path: Path) -> None:
    before = OWN_MOUNTS + "mount('tmpfs', '/dev/shm', 0, 'size=64m')\n"
    with started(tmp_path, before) as server:
        assert_up(server)
        echo_large(server)
        assert "No shared memory" not in server.output


def test_without_shared_memory_large_tensors_pass_through_the_socket(tmp_path: Path) -> None:
    """A limit of the size of files holds for anonymous files, too; and for logs."""
    limit = 1 << 20
    before = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    with started(tmp_path, before) as server:
        assert_up(server)
        assert "No shared memory" in server.output
        echo_large(server)
        for _ in range(3):  # each prints more than 10 kB
            post(server.rest, "/model/echo:echo", {"instances": [{"x": 1}] * 100})
        log = tmp_path / "serving_logs" / "log_echo_device0_version1.log"
        assert log.stat().st_size == limit
        assert_echoes(server)
