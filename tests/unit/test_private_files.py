"""Modes of files, folders and sockets, whatever the umask is."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.log import RotatingFile
from mindspore_serving.private_files import (
    LOG,
    LOG_FOLDER,
    PRIVATE,
    FileNotPrivate,
    make_private_folder,
    open_own_file,
    opener,
    own_folder,
    private_sockets,
)
from mindspore_serving.server.host.child_environment import child_environment
from tests.support.other_user import OTHER_USER, as_other_user, needs_root


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


def opened(folder: Path, name: str = "log") -> None:
    """Open a log in a folder, as servers do."""
    with own_folder(folder, LOG_FOLDER) as descriptor:
        os.close(open_own_file(str(folder / name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, LOG, descriptor))


def test_a_folder_is_made_and_others_cannot_write_to_it(tmp_path: Path) -> None:
    for mode, expected in ((None, 0o750), (0o755, 0o755), (0o777, 0o755), (0o1777, 0o1777)):
        folder = tmp_path / str(mode)
        if mode is not None:
            folder.mkdir()
            folder.chmod(mode)
        opened(folder)
        assert mode_of(folder) == expected
        assert mode_of(folder / "log") == 0o640


def test_a_link_of_this_user_leads_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to("elsewhere")
    opened(tmp_path / "folder")
    assert (tmp_path / "elsewhere" / "log").is_file()


NO_FILES = {
    "a symbolic link": lambda path: path.symlink_to("elsewhere"),
    "a directory": lambda path: path.mkdir(),
    "a FIFO": os.mkfifo,
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_opened_as_one(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    NO_FILES[kind](folder / "log")
    text = rf"/folder/log' is {kind} of user .*should be a regular file"
    with pytest.raises(FileNotPrivate, match=text):
        opened(folder)
    with pytest.raises(FileNotPrivate, match=text):
        opener(LOG)(str(folder / "log"), os.O_WRONLY | os.O_CREAT)
    assert not (folder / "elsewhere").exists()


def test_what_is_no_folder_is_not_used_as_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(FileNotPrivate, match=r"/file' is a regular file of user .*should be a directory"):
        opened(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        opened(tmp_path / "link")


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A folder of another user, in one that all users reach."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        with as_other_user():
            (place / "folder").mkdir()
        yield place / "folder"


@needs_root
def test_folders_and_files_of_other_users_are_refused(foreign: Path) -> None:
    text = rf"/folder' belongs to user {OTHER_USER}, and this process runs as user root \(0\): .*chown 0 '.*/folder'"
    for make in (opened, make_private_folder):
        with pytest.raises(FileNotPrivate, match=text):
            make(foreign)
    assert list(foreign.iterdir()) == []
    with as_other_user():
        (foreign.parent / "link").symlink_to(foreign.parent)
    with pytest.raises(
        FileNotPrivate, match=f"/link' is a symbolic link of user {OTHER_USER}, and should be a"
    ):
        opened(foreign.parent / "link")
    os.chown(foreign, 0, 0)
    with as_other_user():
        (foreign / "log").touch()
    with pytest.raises(FileNotPrivate, match=f"/folder/log' belongs to user {OTHER_USER}, and this"):
        opened(foreign)


@needs_root
def test_a_folder_of_root_is_used_where_others_can_replace_nothing(foreign: Path) -> None:
    os.chown(foreign, 0, 0)
    foreign.chmod(0o777)
    with as_other_user(), pytest.raises(FileNotPrivate, match=r"other users could replace .*\(mode 0777\)"):
        opened(foreign)
    foreign.chmod(0o1777)
    with as_other_user():
        opened(foreign)
    assert (foreign / "log").stat().st_uid == OTHER_USER
    (foreign / "other name").hardlink_to(foreign / "log")
    with as_other_user(), pytest.raises(FileNotPrivate, match="is one of several names of a file"):
        opened(foreign)
