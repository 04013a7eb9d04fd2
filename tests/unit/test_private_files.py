"""Modes of files, folders and sockets, whatever the umask is."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.log import RotatingFile
from mindspore_serving.private_files import LOG, PRIVATE, make_private_folder, opener, private_sockets
from mindspore_serving.server.child_environment import child_environment


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    previous = os.umask(0)
    yield
    os.umask(previous)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [PRIVATE, LOG])
def test_a_file_is_made_with_its_mode(tmp_path: Path, mode: int) -> None:
    with open(tmp_path / "file", "w", opener=opener(mode)) as file:
        file.write("text")
    assert mode_of(tmp_path / "file") == mode


def test_a_folder_is_made_private_or_becomes_it(tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path / "old"):
        if folder.name == "old":
            folder.mkdir(0o755)
        make_private_folder(folder)
        assert mode_of(folder) == 0o700


def test_a_socket_is_bound_for_this_user(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        with private_sockets():
            one.bind(str(tmp_path / "socket"))
        assert mode_of(tmp_path / "socket") == 0o600
    (tmp_path / "file").touch()
    assert mode_of(tmp_path / "file") == 0o666


def test_a_log_file_is_not_for_all(tmp_path: Path) -> None:
    handler = RotatingFile(tmp_path / "log", encoding="utf-8")
    handler.close()
    assert mode_of(tmp_path / "log") == 0o640


def test_the_token_goes_to_processes_that_need_it() -> None:
    own = {"SERVING_CLUSTER_TOKEN": "secret", "A": "b"}
    assert child_environment(environment=own) == {"A": "b", "PYTHONUNBUFFERED": "1"}
    assert child_environment(needs_token=True, environment=own) == {**own, "PYTHONUNBUFFERED": "1"}
