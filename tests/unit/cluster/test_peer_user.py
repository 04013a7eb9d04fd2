"""Whose process is at the other end of a connection over the loopback interface."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from mindspore_serving.server.cluster.peer_user import stranger_at, user_in, user_of
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


def test_who_is_at_another_machine_cannot_be_told_and_need_not() -> None:
    assert stranger_at(("10.0.0.1", 6100), ("10.0.0.2", 45000)) is None
    assert stranger_at(OWN, PEER) == -1
