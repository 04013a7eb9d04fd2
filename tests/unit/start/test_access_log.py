"""How the access log of a server is started, by a call or by the environment, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server import start_access_log
from mindspore_serving.server.host.settings import log_to_stdout
from mindspore_serving.server.start.access_log import ServerAccessLog
from mindspore_serving.server.transport.observers import Observers


class Setting:
    """A server without an access log."""

    def __init__(self) -> None:
        self.observers = Observers()
        self.log = ServerAccessLog(self.observers)


def test_an_access_log_is_told_of_calls_until_it_is_stopped(tmp_path: Path) -> None:
    setting = Setting()
    setting.log.start("json", str(tmp_path / "log"), probes=False)
    assert len(setting.observers.all) == 1
    asyncio.run(setting.log.stop())
    asyncio.run(setting.log.stop())
    assert setting.observers.all == ()
    setting.log.start("text", str(tmp_path / "log"), probes=False)  # once more
    asyncio.run(setting.log.stop())


def test_there_is_one_access_log(tmp_path: Path) -> None:
    setting = Setting()
    setting.log.start("json", str(tmp_path / "log"), probes=False)
    with pytest.raises(StartUpError, match=r"the access log is started already: .*/log"):
        setting.log.start("json", str(tmp_path / "other"), probes=False)
    assert not (tmp_path / "other").exists()
    asyncio.run(setting.log.stop())


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(
        StartUpError, match=r"the access log '.*/no/file' cannot be opened, it should be a file that"
    ):
        Setting().log.start("text", str(tmp_path / "no" / "file"), probes=False)


@pytest.mark.parametrize(
    "environment", [{}, {"SERVING_ACCESS_LOG": ""}, {"SERVING_ACCESS_LOG_FILE": "/no/such"}]
)
def test_the_environment_may_ask_for_none(environment: Mapping[str, str]) -> None:
    setting = Setting()
    setting.log.start_from(environment)
    assert setting.observers.all == ()


def test_the_environment_may_ask_for_one(tmp_path: Path) -> None:
    setting = Setting()
    path = tmp_path / "log"
    environment = {"SERVING_ACCESS_LOG": "json", "SERVING_ACCESS_LOG_FILE": str(path)}
    setting.log.start_from(environment)
    setting.log.start_from(environment)  # the next front end
    assert len(setting.observers.all) == 1
    assert path.exists()
    asyncio.run(setting.log.stop())
    setting.log.start_from({"SERVING_ACCESS_LOG": "text"})
    assert "stdout" in repr(setting.log)
    asyncio.run(setting.log.stop())


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(
        InvalidParameter, match="variable SERVING_ACCESS_LOG should be 'text' or 'json', but got '1'"
    ):
        Setting().log.start_from({"SERVING_ACCESS_LOG": "1"})
    with pytest.raises(InvalidParameter, match="Parameter 'form' should be 'text' or 'json', but got 'xml'"):
        start_access_log("xml")
    with pytest.raises(InvalidParameter, match="Parameter 'form' should be 'text' or 'json', but got None"):
        start_access_log(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter, match="'file'"):
        start_access_log("text", 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameter, match="'probes'"):
        start_access_log("text", "file", probes="yes")  # type: ignore[arg-type]


def test_logs_on_standard_output() -> None:
    assert not log_to_stdout({})
    assert log_to_stdout({"SERVING_LOG_TO_STDOUT": "1"})
    with pytest.raises(
        InvalidParameter, match="variable SERVING_LOG_TO_STDOUT should be 0 or 1, but got 'yes'"
    ):
        log_to_stdout({"SERVING_LOG_TO_STDOUT": "yes"})
