"""Files that are read again when they have changed, with a clock of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mindspore_serving.server.access.reloaded_files import LOOK_EVERY_S, ReloadedFiles


class Pair:
    """Two files that have to hold the same text, and how often they were read."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = folder / "one", folder / "two"
        self.one.write_text("a")
        self.two.write_text("a")
        self.reads = 0
        self.now = 100.0
        self.files = ReloadedFiles("pair", (self.one, self.two), self.read, lambda: self.now)

    def read(self) -> str:
        self.reads += 1
        text = self.one.read_text()
        if text != self.two.read_text():
            raise ValueError("they differ")
        return text

    def look_later(self) -> str | None:
        self.now += LOOK_EVERY_S
        return self.files.look()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_what_has_not_changed_is_not_read(pair: Pair) -> None:
    assert [pair.look_later() for _ in range(3)] == [None, None, None]
    assert pair.reads == 0


def test_a_change_is_seen_once_and_not_before_the_next_look(pair: Pair) -> None:
    assert pair.look_later() is None
    for file in (pair.one, pair.two):
        file.write_text("bb")
    assert pair.files.look() is None
    assert pair.look_later() == "bb"
    assert pair.look_later() is None
    assert pair.reads == 1


def test_a_half_written_pair_is_complained_of_once(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.one.write_text("bb")
    assert [pair.look_later() for _ in range(3)] == [None, None, None]
    complaints = capsys.readouterr().err
    assert (
        complaints.count("pair: the new content cannot be used, the old one stays in use: they differ") == 1
    )
    pair.two.write_text("bb")
    assert pair.look_later() == "bb"


def test_a_missing_file_is_waited_for(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    pair.two.unlink()
    assert [pair.look_later(), pair.look_later()] == [None, None]
    assert capsys.readouterr().err.count("No such file") == 1
    pair.two.write_text("a")
    assert pair.look_later() == "a"


def test_a_file_of_the_same_size_and_time_that_takes_its_place_is_seen(pair: Pair, tmp_path: Path) -> None:
    for file in (pair.one, pair.two):
        new = tmp_path / "new"
        new.write_text("b")
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        os.utime(new, ns=times)
        new.replace(file)
    assert pair.look_later() == "b"
