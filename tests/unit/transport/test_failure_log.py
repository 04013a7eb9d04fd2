"""Lines of the log about failed requests: what they say, and that nobody can fill the log with them."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import Failure, InvalidInput, QueueFull, StageError, StatusCode
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.transport.failure_log import MOST_AT_ONCE, FailureLog

BAD = [FailedRows(InvalidInput("bad").failure(), 1)]
BROKEN = [FailedRows(StageError("broken").failure(), 1)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.partition("] ")[2] or line for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_everything(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    trace = 'Traceback (most recent call last):\n  File "/a/b.py", line 1'
    first = FailedRows(Failure(StatusCode.SYSTEM_ERROR, "no /a/b", trace=trace), 2)
    others = [FailedRows(InvalidInput(f"bad {i}").failure(), 1) for i in range(5)]
    FailureLog(clock).write("id", "1.2.3.4", "POST /x", [first, *others, first], 10)
    [first_line, *rest] = lines_of(capsys)
    assert first_line.endswith(
        "Request id from 1.2.3.4 failed with status 500, POST /x, 9 of 10 instances: no /a/b"
    )
    assert rest == [
        "    Traceback (most recent call last):",
        '      File "/a/b.py", line 1',
        "  and bad 0",
        "  and bad 1",
        "  and 3 more reasons",
    ]


def test_a_client_without_address(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    FailureLog(clock).write("id", "", "x", BAD, 0)
    assert lines_of(capsys)[0].endswith("Request id from ? failed with status 400, x: bad")


def test_levels(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    log = FailureLog(clock)
    for failure in (InvalidInput("a").failure(), QueueFull("a").failure(), StageError("a").failure()):
        log.write("id", "peer", "x", [FailedRows(failure, 1)], 0)
    assert [line.partition("]")[0] for line in capsys.readouterr().err.splitlines()] == [
        "[WARNING",
        "[WARNING",
        "[ERROR",
    ]


def test_a_flood_is_left_out_and_counted(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    log = FailureLog(clock)
    for i in range(MOST_AT_ONCE + 30):
        log.write(str(i), "peer", "x", BAD, 0)
    assert len(lines_of(capsys)) == MOST_AT_ONCE
    log.write("a", "peer", "x", BROKEN, 0)
    [line] = lines_of(capsys)
    assert line.endswith("Request a from peer failed with status 500, x: broken")
    clock.now += 1
    log.write("b", "peer", "x", BAD, 0)
    log.write("c", "peer", "x", BAD, 0)
    [line] = lines_of(capsys)
    assert line.endswith(
        "Request b from peer failed with status 400, x (30 failed requests before it were not logged): bad"
    )
    clock.now += 1000
    for i in range(MOST_AT_ONCE + 30):
        log.write(str(i), "peer", "x", BAD, 0)
    assert len(lines_of(capsys)) == MOST_AT_ONCE


def test_nobody_writes_lines_of_his_own(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(StatusCode.FAILED, "a\n[ERROR] forged\x1b[2J\u2028\udc80", trace="b\r[ERROR] too\x00")
    FailureLog(clock).write("id", "peer", "x\n[ERROR] forged", [FailedRows(failure, 1)], 0)
    [line, trace, more] = capsys.readouterr().err.split("\n")[:-1]
    assert line.endswith(r"x\n[ERROR] forged: a\n[ERROR] forged\x1b[2J\u2028\udc80")
    assert (trace, more) == ("    b", r"    [ERROR] too\x00")


def test_long_texts_are_cut(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    FailureLog(clock).write(
        "id", "peer", "t" * 10_000, [FailedRows(InvalidInput("x" * 10**6).failure(), 1)], 0
    )
    [line] = capsys.readouterr().err.splitlines()
    assert len(line) < 10_000
    assert line.endswith("(992000 more characters)")
