"""Whose process is at the other end of a connection over the loopback interface."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from mindspore_serving.server.host.peer_user import (
    has_only_own_users,
    is_own_user,
    stranger_at,
    user_in,
    user_of,
    users_in,
)
from mindspore_serving.server.host.socket_query import FoundSocket
from mindspore_serving.server.host.socket_table import ListedSocket

LINE = "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {user}        0 1234 1 0000 20 4 30 10 -1"
OWN, PEER = ("127.0.0.1", 6100), ("127.0.0.1", 45000)
OWN_HEX, PEER_HEX = "0100007F:17D4", "0100007F:AFC8"
OWN_6, PEER_6 = ("::1", 6100, 0, 0), ("::1", 45000, 0, 0)
ONE = "00000000000000000000000001000000"
MAPPED = "0000000000000000FFFF00000100007F"


def line(local: str, remote: str, state: str = "01", user: int = 1000) -> str:
    return LINE.format(local=local, remote=remote, state=state, user=user)


@pytest.mark.parametrize(
    ("lines", "own", "peer", "expected"),
    [
        ([line(PEER_HEX, OWN_HEX)], OWN, PEER, 1000),
        ([line(OWN_HEX, PEER_HEX, user=0), line(PEER_HEX, OWN_HEX)], OWN, PEER, 1000),
        ([line(f"{ONE}:AFC8", f"{ONE}:17D4")], OWN_6, PEER_6, 1000),
        # A program may reach an address of IPv4 with a socket of IPv6, and one that listens on both is reached so.
        ([line(f"{MAPPED}:AFC8", f"{MAPPED}:17D4")], OWN, PEER, 1000),
        (
            [line(PEER_HEX, OWN_HEX)],
            ("::ffff:127.0.0.1", 6100, 0, 0),
            ("::ffff:127.0.0.1", 45000, 0, 0),
            1000,
        ),
        # What is being closed is listed as root's.
        ([line(PEER_HEX, OWN_HEX, state="06", user=0)], OWN, PEER, None),
        ([line(PEER_HEX, "0100007F:17D5")], OWN, PEER, None),
        ([], OWN, PEER, None),
    ],
)
def test_the_owner_of_a_socket_in_the_list_of_the_kernel(
    lines: list[str], own: Any, peer: Any, expected: int | None
) -> None:
    assert user_in(map(ListedSocket.of_line, lines), local=peer, remote=own) == expected


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_this_user_is_no_stranger(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as accepted,
    ):
        for end in (client, accepted):
            assert user_of(end.getsockname(), end.getpeername()) == os.geteuid()
            assert stranger_at(end.getsockname(), end.getpeername()) is None


def test_where_the_kernel_is_not_asked_for_one_socket_all_are_looked_through() -> None:
    def refuse(local: tuple[str, int], remote: tuple[str, int]) -> None:
        raise OSError("no such protocol")

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert user_of(accepted.getsockname(), accepted.getpeername(), refuse) == os.geteuid()


def test_a_connection_that_is_not_there_is_nobodys() -> None:
    assert user_of(OWN, PEER, lambda *_: None) is None
    assert user_of(OWN, PEER, lambda *_: FoundSocket(6, 0)) is None  # it is being closed
    assert not is_own_user(OWN, PEER)


@pytest.mark.parametrize(
    ("own", "peer"), [(("10.0.0.1", 1), ("10.0.0.2", 2)), (None, None), ("", ""), ("/path", PEER)]
)
def test_only_clients_of_this_machine_are_of_this_user(own: Any, peer: Any) -> None:
    assert not is_own_user(own, peer)


def test_all_connections_from_an_address_to_a_port() -> None:
    lines = [
        line(PEER_HEX, OWN_HEX, user=1000),
        line(PEER_HEX, "0200007F:17D4", user=1001),  # to another address of this machine
        line(PEER_HEX, "0100007F:17D5", user=1002),
        line(PEER_HEX, OWN_HEX, user=1003, state="06"),
        line(f"{MAPPED}:AFC8", f"{MAPPED}:17D4", user=1004),
    ]
    assert users_in(map(ListedSocket.of_line, lines), PEER, 6100) == {1000, 1001, 1004}


def test_a_connection_of_which_the_port_is_known() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0],
    ):
        port = listener.getsockname()[1]
        assert has_only_own_users(port, client.getsockname())
        assert not has_only_own_users(port, ("127.0.0.1", port))
        assert not has_only_own_users(port, ("10.0.0.1", client.getsockname()[1]))


def test_who_is_at_another_machine_cannot_be_told_and_need_not() -> None:
    assert stranger_at(("10.0.0.1", 6100), ("10.0.0.2", 45000)) is None
    assert stranger_at(OWN, PEER) == -1
