"""The access log as an observer of calls."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.telemetry.access_log.observer import AccessLog
from mindspore_serving.server.transport.observers import EndedCall
from tests.support.watch import wait_until
from tests.unit.telemetry.access_log.test_lines import ended

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def lines_of(path: Path, *calls: EndedCall, probes: bool = False) -> list[str]:
    """What is written of calls."""
    log = AccessLog("json", str(path), probes, lambda: 1e9)
    for call in calls:
        log.ended(call)
    asyncio.run(log.stop())
    asyncio.run(log.stop())
    return [json.loads(line)["target"] for line in path.read_text().splitlines()]


def test_each_call_has_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert lines_of(path, ended(target="one"), ended(target="two")) == ["one", "two"]
    assert lines_of(path, ended(target="three")) == ["one", "two", "three"]  # a file is appended to


def test_probes(tmp_path: Path) -> None:
    calls = ended(target="one"), ended(target="health", probe=True)
    assert lines_of(tmp_path / "1", *calls) == ["one"]
    assert lines_of(tmp_path / "2", *calls, probes=True) == ["one", "health"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-00-more", TRACE),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", ""),
        (TRACE, ""),
        (f"00-{TRACE}-00f067aa0ba902b7-01\n", ""),
        ("", ""),
    ],
)
def test_the_trace_that_a_client_names(tmp_path: Path, given: str, found: str) -> None:
    log = AccessLog("text", str(tmp_path / "log"), False)
    call = ClientCall(0.0)
    log.begins(call, {"traceparent": given})
    assert call.trace_id == found
    call.trace_id = "of our own"
    log.begins(call, {"traceparent": given})
    assert call.trace_id == "of our own"
    log.begins(ClientCall(0.0), {})
    asyncio.run(log.stop())


def test_a_file_is_opened_again_also_without_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog("text", str(path), False)
    path.rename(tmp_path / "log.1")
    log.reopen()
    wait_until(path.exists, 20)
    asyncio.run(log.stop())


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("json", "stdout", False)
    log.reopen()
    log.ended(ended(target="one"))
    asyncio.run(log.stop())
    assert json.loads(capfd.readouterr().out)["target"] == "one"


def test_a_full_disk_is_told_once(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog("text", "stdout", False)
    os.dup2(full, log._stdout)
    os.close(full)
    log.ended(ended())
    wait_until(lambda: log._writer._failed, 20)
    log.ended(ended())
    asyncio.run(log.stop())
    assert (
        capfd.readouterr().err.count("Lines of the access log stdout are lost, it cannot be written: ") == 1
    )
