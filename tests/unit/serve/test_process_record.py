"""The record of servers: which processes are taken for servers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.serve.process_record import StartedServer, recorded, runs_server, started_servers


def test_only_servers_of_this_program_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ProcessInfo.json"
    assert started_servers(path) == []
    own = psutil.Process().create_time()
    path.write_text(
        json.dumps(
            [
                {"pid": os.getpid(), "port": 1, "model": ["m"], "start_time": own},  # it is a test
                {"pid": 2**22 + 1, "port": 1, "model": ["m"], "start_time": own},
            ]
        )
    )
    assert started_servers(path) == []
    assert StartedServer(os.getpid(), 1, (), own).wait_until_gone(0)


def test_a_record_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "ProcessInfo.json"
    with recorded(path, 9393, ["a", "b"]):
        [one] = json.loads(path.read_text())
        assert one == {
            "pid": os.getpid(),
            "port": 9393,
            "model": ["a", "b"],
            "start_time": psutil.Process().create_time(),
        }
        assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "1",
        "[1]",
        "{}x",
        '[{"pid": 1, "port": 1, "model": [], "start_time": 0}]',
        '[{"pid": "2"}]',
        "[" * 100_000,
        f'[{{"pid": 2, "port": 1, "model": [], "start_time": 1{"0" * 400}}}]',
    ],
)
def test_a_file_of_something_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ProcessInfo.json"
    path.write_text(text)
    with pytest.raises(StartUpError, match=r"is not what mindspore_serving\.serve writes"):
        started_servers(path)
    with pytest.raises(StartUpError, match="is not what"), recorded(path, 1, []):
        pass
    assert path.read_text() == text


def test_a_record_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ProcessInfo.json"
    os.mkfifo(path)
    with pytest.raises(StartUpError, match="a FIFO"):
        started_servers(path)
    with pytest.raises(StartUpError, match="a FIFO"), recorded(path, 1, []):
        pass


@pytest.mark.parametrize(
    ("command", "server"),
    [
        ("python -m mindspore_serving.serve --model m", True),
        ("python3 -u -X dev -W ignore -m mindspore_serving.serve", True),
        ("python -m mindspore_serving.serve_other", False),
        ("python -m pytest mindspore_serving.serve", False),
        ("python -c pass -m mindspore_serving.serve", False),
        ("python script.py -m mindspore_serving.serve", False),
        ("python -X dev script.py -m mindspore_serving.serve", False),
        ("grep -r mindspore_serving.serve", False),
        ("mindspore_serving.serve", False),
        ("python -m", False),
        ("", False),
    ],
)
def test_which_programs_are_servers(command: str, server: bool) -> None:
    assert runs_server(command.split()) is server


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ProcessInfo.json").symlink_to(tmp_path / "other")
    with (
        pytest.raises(StartUpError, match="cannot be written"),
        recorded(tmp_path / "ProcessInfo.json", 1, []),
    ):
        pass
    assert not (tmp_path / "other").exists()
