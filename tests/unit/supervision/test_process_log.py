"""Logs of child processes: who owns one, and where it goes on after it was moved or has become large."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mindspore_serving.server.supervision.process_log import ProcessLog, ProcessLogs
from tests.support.fresh_process import told_by_fresh_process

NAME = "log_add_device0_version1.log"


class Writer:
    """Writes to a log as a child process does."""

    def __init__(self, opened: ProcessLog) -> None:
        self.descriptor = opened.output()

    def write(self, text: str) -> None:
        os.write(self.descriptor, text.encode())


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], ProcessLog]]:
    """Makes an owner of the same log each time."""
    made = []

    def new() -> ProcessLog:
        made.append(ProcessLog(lambda: tmp_path / "logs", NAME))
        return made[-1]

    yield new
    for opened in made:
        opened.close()


def contents(opened: ProcessLog) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(opened.path.parent.iterdir())}


def test_a_log_goes_on_and_tells_the_lines_of_the_last_start(make: Callable[[], ProcessLog]) -> None:
    opened = make()
    Writer(opened).write("one\ntwo\n")
    assert opened.last_lines(30) == ["one", "two"]
    second = Writer(opened)
    assert opened.last_lines(30) == []
    second.write("three\nfour\nfive\n")
    assert opened.last_lines(2) == ["four", "five"]
    assert opened.end(1000) == b"one\ntwo\nthree\nfour\nfive\n"  # of the start before, too
    assert opened.end(7) == b"r\nfive\n"
    opened.close()
    again = make()
    assert again.path == opened.path
    Writer(again).write("six\n")
    assert contents(again) == {NAME: "one\ntwo\nthree\nfour\nfive\nsix\n"}


def test_a_second_owner_has_another_name(
    make: Callable[[], ProcessLog], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = make(), make(), make()
    own = f"log_add_device0_version1.{os.getpid()}"
    assert [opened.path.name for opened in (first, second, third)] == [NAME, f"{own}.log", f"{own}_2.log"]
    error = capsys.readouterr().err
    assert (
        f"Another server writes to {first.path}: what this one's process prints goes to {second.path}"
        in error
    )
    first.close()
    assert make().path == first.path


def test_the_lock_ends_with_its_owner_and_not_with_its_children(make: Callable[[], ProcessLog]) -> None:
    first = make()
    Writer(first)  # stays open, as in a child that outlives its owner
    first.close()
    assert make().path == first.path


def test_a_forked_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    first, again = told_by_fresh_process(logs_of_two_owners, str(tmp_path)).split()
    assert first == again


def logs_of_two_owners(folder: str) -> str:
    """The paths of a log and of the next owner's, while a forked child of the first one lives."""
    logs = ProcessLogs(lambda: Path(folder), (1000, 1), lambda: None)
    path = logs.open(NAME).path
    wait, end = os.pipe()
    ready, forked = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(forked, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)  # until then the child may not have let go
    for descriptor in (ready, forked):
        os.close(descriptor)
    logs.close()
    again = ProcessLog(lambda: Path(folder), NAME)
    os.close(end)
    os.close(wait)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    again.close()
    return f"{path} {again.path}"


def test_what_empties_a_log_leaves_no_hole(make: Callable[[], ProcessLog]) -> None:
    opened = make()
    writer = Writer(opened)
    writer.write("one\n")
    os.truncate(opened.path, 0)
    writer.write("two\n")
    assert contents(opened) == {NAME: "two\n"}


def test_a_log_that_was_moved_away_is_opened_again_when_that_is_asked_for(
    make: Callable[[], ProcessLog],
) -> None:
    opened = make()
    early = Writer(opened)
    before = opened.identity
    assert not opened.follow()
    opened.path.rename(opened.path.with_name("moved"))
    early.write("one\n")
    assert opened.follow()
    assert opened.identity != before
    early.write("two\n")
    Writer(opened).write("three\n")
    assert contents(opened) == {NAME: "three\n", "moved": "one\ntwo\n"}


def test_a_log_whose_folder_has_gone_is_made_again_or_goes_on(make: Callable[[], ProcessLog]) -> None:
    opened = make()
    folder = opened.path.parent
    folder.rename(folder.with_name("moved"))
    assert opened.follow()
    Writer(opened).write("one\n")
    assert contents(opened) == {NAME: "one\n"}
    folder.rename(folder.with_name("moved, too"))
    folder.touch()
    with pytest.raises(OSError, match="should be a directory"):
        opened.follow()
    Writer(opened).write("two\n")
    assert opened.last_lines(30) == ["two"]
    assert (folder.with_name("moved, too") / NAME).read_text() == "one\ntwo\n"


def test_a_log_is_rotated_at_its_size(make: Callable[[], ProcessLog]) -> None:
    opened = make()
    writer = Writer(opened)
    for number in range(5):
        opened.rotate(10, 2)
        assert opened.last_lines(30) == ([] if number == 0 or number % 2 == 0 else [f"line {number - 1}"])
        writer.write(f"line {number}\n")
    opened.rotate(10, 2)
    assert contents(opened) == {
        NAME: "line 4\n",
        f"{NAME}.1": "line 2\nline 3\n",
        f"{NAME}.2": "line 0\nline 1\n",
    }
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(opened.path.parent.iterdir())[1:]] == [
        0o440
    ] * 2
    writer.write("line 5\n")
    opened.rotate(10, 2)
    assert contents(opened) == {NAME: "", f"{NAME}.1": "line 4\nline 5\n", f"{NAME}.2": "line 2\nline 3\n"}


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "moved away"])
def test_a_log_without_a_name_is_emptied_and_one_with_another_name_is_not(
    make: Callable[[], ProcessLog], deleted: bool
) -> None:
    opened = make()
    writer = Writer(opened)
    writer.write("0123456789")
    if deleted:
        opened.path.unlink()
    else:
        opened.path.rename(opened.path.with_name("moved"))
    opened.rotate(10, 2)
    assert opened.last_lines(1) == ([] if deleted else ["0123456789"])
    assert contents(opened) == ({} if deleted else {"moved": "0123456789"})


def test_a_log_that_cannot_be_rotated_goes_on(make: Callable[[], ProcessLog]) -> None:
    opened = make()
    writer = Writer(opened)
    (opened.path.parent / f"{NAME}.1").mkdir()
    for _ in range(2):
        writer.write("0123456789")
        with pytest.raises(OSError, match=r"\.log\.1"):
            opened.rotate(10, 1)
        opened.rotate(10, 1)  # it is tried again once the log has grown by as much
    assert opened.path.read_text() == "0123456789" * 2


def test_logs_are_followed_when_that_is_asked_for(tmp_path: Path) -> None:
    moved = threading.Event()
    logs = ProcessLogs(lambda: tmp_path, (10, 2), moved.set)
    try:
        opened = logs.open(NAME)
        assert logs.open(NAME) is opened
        opened.path.rename(tmp_path / "moved")
        logs.follow()
        assert moved.wait(20)
        assert opened.path.is_file()
    finally:
        logs.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "serving logs"]
