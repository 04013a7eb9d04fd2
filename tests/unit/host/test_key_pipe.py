"""Keys reach a child through a pipe, and show in no text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.server import ServableStartConfig
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.host.key_pipe import open_key_pipe, read_key
from mindspore_serving.server.start.worker_plans import absolute, plans_of

KEY = b"0123456789ABCDEF"
CONFIG = ServableStartConfig(".", "add", 0, num_parallel_workers=2, dec_key=KEY)
READ_ALL = """
import os, sys
from mindspore_serving.server.host.key_pipe import read_key
print(read_key(int(sys.argv[1])).hex())
try:
    os.fstat(int(sys.argv[1]))
except OSError:
    print("closed")
"""


@pytest.mark.parametrize("length", [16, 24, 32])
def test_the_child_reads_the_key_and_closes_the_pipe(length: int) -> None:
    key = os.urandom(length)
    descriptor = open_key_pipe(key)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_ALL, str(descriptor)],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(descriptor)
    assert done.stdout == f"{key.hex()}\nclosed\n", done.stderr


def test_children_that_are_not_given_the_pipe_do_not_have_it() -> None:
    descriptor = open_key_pipe(KEY)
    try:
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_a_key_is_read_once() -> None:
    descriptor = open_key_pipe(KEY)
    assert read_key(descriptor) == KEY
    with pytest.raises(OSError, match="Bad file descriptor"):
        read_key(descriptor)


@pytest.mark.parametrize(
    "holder",
    [
        CONFIG,
        absolute(CONFIG),
        *plans_of(CONFIG),
        LoadRequest(Path("m"), True, (), 1, "cpu", 0, dec_key=KEY),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_text_of_an_object_shows_its_key(holder: Any) -> None:
    assert getattr(holder, "settings", holder).dec_key == KEY
    for text in (repr(holder), str(holder), f"{holder}", f"{[holder]}"):
        assert "0123456789" not in text
        assert KEY.hex() not in text
