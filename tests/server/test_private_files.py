"""What a running server makes on the disk, and who may read it, where the user's umask takes nothing away."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.client import Client
from tests.server.test_keys import ECHO
from tests.support.serving import add_servable, serving


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    previous = os.umask(0)
    yield
    os.umask(previous)


def modes_below(folder: Path, before: set[Path]) -> dict[str, str]:
    """Kind and mode of what is new, with `N` for numbers in names."""
    new = [path for path in folder.rglob("*") if path not in before and "__pycache__" not in path.parts]
    return {
        re.sub(r"\d+", "N", str(path.relative_to(folder))): stat.filemode(path.stat().st_mode) for path in new
    }


def test_what_a_server_makes_is_not_for_all(tmp_path: Path) -> None:
    add_servable(tmp_path, "one", ECHO, ())
    (tmp_path / "start_server.py").touch()
    (tmp_path / "logs").mkdir()
    before = set(tmp_path.rglob("*"))
    environment = {"GLOG_logtostderr": "0", "GLOG_log_dir": str(tmp_path / "logs"), "GLOG_v": "1"}
    with serving(tmp_path, ['".", "one", device_ids=0'], grpc="unix:grpc", environment=environment) as server:
        with Client(f"unix:{tmp_path / 'grpc'}", "one", "echo") as client:
            assert client.infer({"x": "a"}, timeout=20) == [{"y": "a"}]
        made = modes_below(tmp_path, before)
    assert made == {
        "grpc": "srw-------",
        "logs/mindspore_serving.log.N": "-rw-r-----",
        "serving_logs": "drwxr-x---",
        "serving_logs/log_one_deviceN_versionN.log": "-rw-r-----",
    }
    assert server.process.returncode is not None
