"""Messages that arrive over gRPC: what counts, and who is cut off where there is no room."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mindspore_serving.server.frontend.arriving_messages import SLOW_S, ArrivingMessages
from mindspore_serving.server.frontend.unfinished_bodies import UnfinishedBodies

LATER = 1.5 * SLOW_S


class Wire:
    """Bytes that have come, by connection."""

    def __init__(self) -> None:
        self.received: dict[str, int] = {}

    def __call__(self, name: str) -> int | None:
        return self.received.get(name)


def named(name: str) -> Callable[[], str]:
    return lambda: name


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def room() -> UnfinishedBodies:
    return UnfinishedBodies(100)


@pytest.fixture
def arriving(room: UnfinishedBodies, wire: Wire) -> ArrivingMessages:
    return ArrivingMessages(room, wire)


def test_what_arrives_at_once_is_not_looked_at(arriving: ArrivingMessages, wire: Wire) -> None:
    def never() -> str:
        raise AssertionError

    arriving.begin(1, never, 0.0)
    assert arriving.look(SLOW_S / 2) == []
    arriving.end(1, 1000)
    assert arriving.look(10.0) == []
    assert repr(arriving) == "<ArrivingMessages 0, 0 connections, <UnfinishedBodies 0 of 100 bytes>>"


def test_what_has_come_counts_until_the_message_is_there(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"a": 5000}
    arriving.begin(1, named("a"), 0.0)
    assert arriving.look(LATER) == []
    wire.received["a"] += 60
    arriving.begin(2, named("a"), 2 * LATER)
    arriving.end(2, 20)  # another one of the same connection is complete
    assert arriving.look(2 * LATER) == []
    assert "40 of 100" in repr(room)
    arriving.end(1, 40)
    assert "0 of 100" in repr(room)
    assert len(arriving) == 0


def test_who_holds_the_most_for_the_longest_is_cut_off(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"old": 0, "small": 0, "new": 0}
    arriving.begin("old 1", named("old"), 0.0)
    arriving.begin("old 2", named("old"), 0.0)
    arriving.begin("small", named("small"), 0.0)
    assert arriving.look(LATER) == []
    arriving.begin("new", named("new"), 10.0)
    assert arriving.look(10.0 + LATER) == []
    wire.received = {"old": 50, "small": 1, "new": 60}
    assert set(arriving.look(10.1)) == {"old 1", "old 2"}
    assert "61 of 100" in repr(room)
    assert arriving.look(10.2) == []
    for call in ("old 1", "old 2", "small", "new"):
        arriving.end(call, 0)
    assert "0 of 100" in repr(room)


def test_others_that_hold_the_room_do_not_cut_off_what_holds_nothing(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"a": 7}
    room.change(200)
    arriving.begin(1, named("a"), 0.0)
    assert arriving.look(LATER) == []
    wire.received["a"] = 8
    assert arriving.look(2 * LATER) == [1]


def test_a_connection_of_which_nothing_is_known_counts_nothing(arriving: ArrivingMessages) -> None:
    arriving.begin(1, named("unix:"), 0.0)
    assert arriving.look(LATER) == []
    assert arriving.look(10.0) == []
    arriving.end(1, 1 << 30)
