"""The working directory of the main process, after others have been at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mindspore_serving.server.supervision.working_directory import WorkingDirectory


def test_it_is_followed_and_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    monkeypatch.chdir(first)
    directory = WorkingDirectory()
    os.chdir(tmp_path)
    assert directory.path() == first
    first.rename(second)
    first.mkdir()
    assert directory.path() == second
    second.rmdir()
    assert directory.path() is None
    assert "removed" in repr(directory)
    directory.close()
