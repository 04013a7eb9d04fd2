"""Who is told of calls: in order, and whatever an observer does, nobody else is harmed."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindspore_serving import log
from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows
from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.transport.observers import EndedCall, Observers, instances_of

ENDED = cast("EndedCall", object())
FAILURE = Failure(StatusCode.FAILED, "no", 500)


class Recorder:
    """Notes what it is told."""

    def __init__(self, told: list[str], name: str, fails: bool = False) -> None:
        self.told = told
        self.name = name
        self.fails = fails

    def begins(self, call: ClientCall, headers: Mapping[str, str]) -> None:
        self.told.append(f"{self.name} begins {headers['a']}")
        if self.fails:
            raise ValueError("an observer's fault")

    def ended(self, call: EndedCall) -> None:
        self.told.append(f"{self.name} ended")
        if self.fails:
            raise ValueError("an observer's fault")


def test_all_are_told_in_order() -> None:
    told: list[str] = []
    observers = Observers()
    first, second = Recorder(told, "first"), Recorder(told, "second")
    observers.add(first)
    observers.add(second)
    observers.begin(ClientCall(0.0), {"a": "b"})
    observers.end(ENDED)
    assert told == ["first begins b", "second begins b", "first ended", "second ended"]
    observers.remove(first)
    observers.remove(first)
    assert observers.all == (second,)


def test_one_that_fails_harms_nobody_and_is_logged_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "error", lambda text, *args, **_: lines.append(text % args))
    now = 100.0
    told: list[str] = []
    observers = Observers(lambda: now)
    observers.add(Recorder(told, "first", fails=True))
    observers.add(Recorder(told, "second"))
    for _ in range(3):
        observers.begin(ClientCall(0.0), {"a": "b"})
        observers.end(ENDED)
    assert told.count("second begins b") == told.count("second ended") == 3
    assert len(lines) == 1
    assert "has failed with 1 calls, which were answered all the same: ValueError" in lines[0]
    now += 11
    observers.end(ENDED)
    assert len(lines) == 2
    assert "has failed with 6 calls" in lines[1]


@pytest.mark.parametrize(
    ("counts", "said", "failures", "expected"),
    [
        ((), 0, [], (0, 0)),
        ((3, 2), 0, [], (5, 0)),
        ((3, 2), 0, [FailedRows(FAILURE, 1)], (5, 5)),
        ((), 0, [FailedRows(FAILURE, 1)], (0, 0)),
        ((3,), 4, [FailedRows(FAILURE, 1), FailedRows(FAILURE, 2)], (4, 3)),
    ],
)
def test_instances(
    counts: tuple[int, ...], said: int, failures: list[FailedRows], expected: tuple[int, int]
) -> None:
    call = ClientCall(0.0)
    call.requests = cast("Any", [SimpleNamespace(count=count) for count in counts])
    assert instances_of(call, said, failures) == expected


def test_the_version_that_answered() -> None:
    call = ClientCall(0.0)
    assert call.version == 0
    one, other = (SimpleNamespace(servable=SimpleNamespace(version=number)) for number in (3, 4))
    call.add(cast("Any", object()), cast("Any", one))
    assert call.version == 3
    call.add(cast("Any", object()), cast("Any", one))
    assert call.version == 3
    call.add(cast("Any", object()), cast("Any", other))
    assert call.version == 0
    assert call.destination is one
    assert len(call.requests) == 3
