"""Descriptors of Serving are kept apart from those of users, and it is noticed when they are closed all the same."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Alive
from mindspore_serving.server.host.own_descriptor import FIRST, identity, set_apart
from mindspore_serving.server.worker.main_connection import MainConnection
from tests.support.fresh_process import told_by_fresh_process

CLOSED = "of Serving was closed by a function"


@pytest.fixture
def connection() -> Iterator[MainConnection]:
    main, own = socket.socketpair()
    with main:
        connection = MainConnection(own.detach(), None)
        yield connection
        connection.close()


def of_connection(connection: MainConnection) -> list[int]:
    return list(connection._own)


def test_a_descriptor_gets_a_number_apart() -> None:
    reader, writer = os.pipe()
    moved = set_apart(writer)
    assert moved >= FIRST
    assert identity(moved) is not None
    assert identity(writer) is None
    assert not os.get_inheritable(moved)
    os.write(moved, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(moved)


@pytest.mark.parametrize(("index", "then"), [(0, "closed"), (0, "another file"), (1, "closed")])
def test_a_lost_descriptor_of_the_channel_is_named(connection: MainConnection, index: int, then: str) -> None:
    assert connection.fault() == ""
    number = of_connection(connection)[index]
    assert number >= FIRST
    if then == "closed":
        os.close(number)
    else:
        other = os.open("/dev/zero", os.O_RDONLY)
        os.dup2(other, number)
        os.close(other)
    assert connection.fault() == f"descriptor {number} {CLOSED}, or by a library that the servable uses"
    connection.wake()  # from a thread that knows nothing of it
    with pytest.raises(OSError, match=r"Bad file descriptor|non-socket|Invalid argument"):
        list(connection.receive(0))


def test_a_closed_connection_has_no_fault(connection: MainConnection) -> None:
    connection.close()
    assert connection.fault() == ""


def test_a_forked_child_says_nothing_on_the_channel() -> None:
    assert told_by_fresh_process(fork_beside_a_channel) == "the child could not"


def fork_beside_a_channel() -> str:
    main, own = socket.socketpair()
    connection = MainConnection(own.detach(), None)
    child = os.fork()
    if child == 0:
        connection.leave_to_parent()
        connection.wake()
        try:
            connection.send(Alive())
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert list(connection.receive(0)) == []
    main.setblocking(False)
    with pytest.raises(BlockingIOError):
        main.recv(1)
    connection.send(Alive())
    assert main.recv(1)
    connection.close()
    main.close()
    return "the child could not"


@pytest.mark.parametrize("then", ["closed", "another file"])
def test_shared_memory_is_never_another_file(then: str) -> None:
    memory = SharedMemory.create(1)
    number = memory.fd
    memory.view(0, 0, 16)
    own = os.dup(number)
    if then == "closed":
        os.close(number)
    else:
        with open(__file__, "rb") as other:  # noqa: PTH123
            os.dup2(other.fileno(), number)
    memory.view(0, 0, 16)  # mapped already
    with pytest.raises(OSError, match=CLOSED):
        memory.view(1, 0, 16)
    os.dup2(own, number)
    os.close(own)
    memory.close()
