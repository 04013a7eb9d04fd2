"""The worker's end of the channel: it takes what the main process sends, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mindspore_serving.errors import ChannelError
from mindspore_serving.server.channel.frames import (
    FROM_WORKER,
    TO_WORKER,
    FrameSplitter,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.messages import Alive, Batch, Stop
from mindspore_serving.server.worker.main_connection import MainConnection
from tests.support.channel import foreign_frames
from tests.support.rows import numbered, numbers_in


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, MainConnection]]:
    ours, theirs = socket.socketpair()
    connection = MainConnection(theirs.detach(), None)
    with ours:
        yield ours, connection
    connection.close()


def test_messages_cross_both_ways(ends: tuple[socket.socket, MainConnection]) -> None:
    main, connection = ends
    main.sendall(frame_of(Batch(1, 0, "m", (numbered(3),))) + frame_of(Stop()))
    batch, stop = connection.receive(0)
    assert isinstance(batch, Batch)
    assert numbers_in(batch.groups) == [0, 1, 2]
    assert stop == Stop()
    connection.send(Alive())
    [(kind, body)] = FrameSplitter().feed(main.recv(1000))
    assert message_of(kind, body, FROM_WORKER) == Alive()


@pytest.mark.parametrize(
    ("looks", "came"),
    [
        ([10.0, 10.000_005], 2.0),  # it was there already, and nobody knows since when
        ([10.0, 10.000_015], 10.000_015),  # it came while it was waited for
    ],
)
def test_since_when_a_message_may_have_been_there(looks: list[float], came: float) -> None:
    ours, theirs = socket.socketpair()
    clock = iter([0.0, 1.0, 2.0, *looks])
    connection = MainConnection(theirs.detach(), None, lambda: next(clock))
    with ours:
        assert [*connection.receive(0)] == []
        ours.sendall(frame_of(Stop()))
        assert [*connection.receive(0)] == [Stop()]
    assert connection.came == came
    connection.close()


@pytest.mark.parametrize("name", foreign_frames(TO_WORKER))
def test_a_message_of_another_conversation(ends: tuple[socket.socket, MainConnection], name: str) -> None:
    main, connection = ends
    main.sendall(foreign_frames(TO_WORKER)[name])
    with pytest.raises(ChannelError) as refused:
        list(connection.receive(0))
    assert str(refused.value) == f"Channel got a {name}, expected one of {TO_WORKER.names}"
