"""Messages that arrive over gRPC: what counts, and who is cut off where there is no room."""

from __future__ import annotations

import pytest

from mindspore_serving.server.transport.grpc.arriving_messages import SLOW_S, ArrivingMessages
from mindspore_serving.server.transport.unfinished_bodies import UnfinishedBodies

LATER = 1.5 * SLOW_S


class Wire:
    """Bytes that have come, by connection."""

    def __init__(self) -> None:
        self.received: dict[str, int] = {}

    def __call__(self, name: str) -> int | None:
        return self.received.get(name)


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
    wire.received = {"a": 90}
    arriving.begin(1, "a", 0.0)
    assert arriving.look(SLOW_S / 2) == []
    arriving.end(1, 80)
    assert arriving.look(10.0) == []
    assert repr(arriving) == "<ArrivingMessages 0, 0 slow connections, <UnfinishedBodies 0 of 100 bytes>>"


def test_what_has_come_counts_until_the_message_is_there(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"a": 60}
    arriving.begin(1, "a", 0.0)
    assert arriving.look(LATER) == []
    assert "60 of 100" in repr(room)
    arriving.begin(2, "a", 2 * LATER)
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
    arriving.begin("old 1", "old", 0.0)
    arriving.begin("old 2", "old", 0.0)
    arriving.begin("small", "small", 0.0)
    assert arriving.look(LATER) == []
    arriving.begin("new", "new", 10.0)
    assert arriving.look(10.0 + LATER) == []
    wire.received = {"old": 50, "small": 1, "new": 60}
    assert set(arriving.look(10.1)) == {"old 1", "old 2"}
    assert "61 of 100" in repr(room)
    assert arriving.look(10.2) == []
    for call in ("old 1", "old 2", "small", "new"):
        arriving.end(call, 0)
    assert "0 of 100" in repr(room)


def test_one_alone_may_be_larger_than_all_the_room(arriving: ArrivingMessages, wire: Wire) -> None:
    wire.received = {"a": 1000, "b": 1}
    arriving.begin("a", "a", 0.0)
    assert arriving.look(LATER) == []
    arriving.begin("b", "b", 1.0)
    assert arriving.look(1.0 + LATER) == ["a"]


LARGE, SMALL = 1 << 17, 1000


@pytest.mark.parametrize(
    ("messages", "counted"),
    [
        ([], 50),
        ([SMALL], 50),
        ([LARGE], 50),
        ([LARGE, SMALL, SMALL], 50),
        ([SMALL] * 1100, 0),  # their headers are more than a message may be
        ([SMALL] * 1100 + [LARGE], 50),
    ],
)
def test_what_came_before_the_message_does_not_count(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies, messages: list[int], counted: int
) -> None:
    wire.received = {"a": 0}
    for size in messages:
        arriving.begin(1, "a", 0.0)
        wire.received["a"] += size
        arriving.end(1, size)
    wire.received["a"] += 50
    arriving.begin(2, "a", 0.0)
    assert arriving.look(LATER) == []
    assert f" {counted} of 100" in repr(room)


def test_connections_are_remembered_for_as_long_as_they_are_in_use(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"a": LARGE}
    arriving.begin(1, "a", 0.0)
    arriving.end(1, LARGE)
    for number in range(50_000):
        name = "a" if number % 10_000 == 0 else str(number)
        arriving.begin(2, name, 0.0)
        arriving.end(2, 0)
    arriving.begin(3, "a", 0.0)
    assert arriving.look(LATER) == []
    assert " 0 of 100" in repr(room)


def test_a_connection_of_which_nothing_is_known_counts_nothing(arriving: ArrivingMessages) -> None:
    arriving.begin(1, "unix:", 0.0)
    assert arriving.look(LATER) == []
    assert arriving.look(10.0) == []
    arriving.end(1, 1 << 30)


def test_what_had_come_before_anybody_waited_counts_as_delivered(
    arriving: ArrivingMessages, wire: Wire, room: UnfinishedBodies
) -> None:
    wire.received = {"a": 30}
    arriving.note("a", 30)
    wire.received = {"a": 90}
    arriving.begin(1, "a", 0.0)  # another one, which is slow
    assert arriving.look(LATER) == []
    assert "60 of 100" in repr(room)
    arriving.note("a", 20)  # one that has come meanwhile
    assert arriving.look(2 * LATER) == []
    assert "40 of 100" in repr(room)
    arriving.end(1, 40)
    assert room.is_empty
