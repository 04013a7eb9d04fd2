"""How the end of a worker is told."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mindspore_serving.server.supervision.worker_end import ended_by, oom_kills

KILLED = "was ended by signal 9 (SIGKILL)"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with exit code 0"),
        (7, "ended with exit code 7"),
        (-signal.SIGSEGV, "was ended by signal 11 (SIGSEGV)"),
        (-signal.SIGABRT, "was ended by signal 6 (SIGABRT)"),
        (-40, "was ended by signal 40"),
    ],
)
@pytest.mark.parametrize("counts", [(None, None), (0, 1)])
def test_an_exit_code_or_a_signal(status: int, text: str, counts: tuple[int | None, int | None]) -> None:
    assert ended_by(status, *counts) == text


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (3, 3, KILLED),
        (
            3,
            5,
            f"{KILLED}; the system has run out of memory and killed 2 processes of this control group since it was "
            "started",
        ),
        (None, 5, f"{KILLED}; the system may have run out of memory"),
        (3, None, f"{KILLED}; the system may have run out of memory"),
        (None, None, f"{KILLED}; the system may have run out of memory"),
    ],
)
def test_a_kill_that_the_system_may_have_done(before: int | None, now: int | None, text: str) -> None:
    assert ended_by(-signal.SIGKILL, before, now) == text


def control_group(folder: Path, text: str) -> Path:
    path = folder / "cgroup"
    path.write_text(text)
    return path


def events(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.events").write_text(text)


def test_kills_in_the_control_group_of_this_process(tmp_path: Path) -> None:
    events(
        tmp_path / "mounted" / "a.slice" / "b", "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 0\n"
    )
    events(tmp_path / "mounted", "oom_kill 17\n")
    group = control_group(tmp_path, "1:name=systemd:/x\n0::/a.slice/b\n")
    assert oom_kills(group, tmp_path / "mounted") == 3


@pytest.mark.parametrize("text", ["0::/\n", "0::/not/mounted\n", "0::/../elsewhere\n", "4:memory:/a\n"])
def test_kills_where_only_the_own_control_group_is_mounted(tmp_path: Path, text: str) -> None:
    events(tmp_path / "mounted", "oom 1\noom_kill 17\n")
    assert oom_kills(control_group(tmp_path, text), tmp_path / "mounted") == 17


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill many\n", "low 0\n", "three words here\n"])
def test_kills_that_the_system_does_not_tell(tmp_path: Path, text: str) -> None:
    events(tmp_path / "mounted", text)
    group = control_group(tmp_path, "0::/a\n")
    assert oom_kills(group, tmp_path / "mounted") is None
    assert oom_kills(group, tmp_path / "missing") is None
    assert oom_kills(tmp_path / "missing", tmp_path / "missing") is None


def test_kills_on_this_machine() -> None:
    kills = oom_kills()
    assert kills is None or kills >= 0
