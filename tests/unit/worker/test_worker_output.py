"""What a worker prints while its log cannot be written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.server.worker.output import OutputFile


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_all_is_written_where_there_is_room(log: int) -> None:
    output = OutputFile(log)
    assert output.write(b"one") == 3
    assert output.write(memoryview(b"two")) == 3
    output.close()
    assert os.pread(log, 100, 0) == b"onetwo"


def test_what_is_lost_is_told_once_there_is_room_again(log: int) -> None:
    output = OutputFile(log)
    full = os.open("/dev/full", os.O_WRONLY)
    real = os.dup(log)
    os.dup2(full, log)
    assert output.write(b"12345") == 5
    assert output.write(b"67") == 2
    os.dup2(real, log)
    output.write(b"more\n")
    output.write(b"and more\n")
    assert os.pread(log, 100, 0) == b"(7 bytes of output could not be written here)\nmore\nand more\n"
    os.close(full)
    os.close(real)


def test_a_disk_that_becomes_full_takes_what_it_can(log: int) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        assert OutputFile(log).write(b"123456") == 6
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.pread(log, 100, 0) == b"1234"


PRINTS = """\
import sys
from mindspore_serving.server.worker.output import keep_printing_harmless
keep_printing_harmless()
print("out", "\\u00e9", flush=True)
sys.stderr.write("err")
sys.stdout.buffer.write(b"bytes")
assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
sys.exit(7)
"""


@pytest.mark.parametrize("where", ["/dev/full", ""])
def test_printing_fails_nobody(tmp_path: Path, where: str) -> None:
    path = Path(where or tmp_path / "log")
    with path.open("wb") as file:
        process = subprocess.run(
            [sys.executable, "-c", PRINTS],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )
    assert process.returncode == 7
    if not where:
        assert path.read_text(encoding="utf-8") == "out \u00e9\nerrbytes"


MOVES = """\
import os, sys
from mindspore_serving.server.host.own_descriptor import identity
from mindspore_serving.server.worker.output import move_output
earlier = identity(2)
os.close(1)
move_output(sys.argv[1], earlier)
os.write(2, b"err")
"""


def test_output_goes_to_another_log_also_where_a_descriptor_was_closed(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    with (tmp_path / "old").open("wb") as file:
        command = [sys.executable, "-c", MOVES, str(tmp_path / "new")]
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=True)
    assert [(tmp_path / name).read_text() for name in ("old", "new")] == ["", "err"]
