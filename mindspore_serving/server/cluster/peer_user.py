"""Which user of this machine is at the other end of a TCP connection over its loopback interface.

The kernel lists the sockets of a network namespace with their owners, and both ends of such a connection are in one
namespace. Only established connections are looked at: those that are being closed are listed as root's, whoever has
made them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

from mindspore_serving.loopback import is_loopback
from mindspore_serving.server.host.socket_table import ESTABLISHED, ListedSocket, listed_sockets

_MAPPED = "::ffff:"
_WORD = 4
_ROOT = 0
UNKNOWN_USER = -1


def stranger_at(own: Any, peer: Any) -> int | None:
    """The user at the other end of a connection that stays on this machine, if that is somebody else.

    Args:
        own: Address of this end, as `socket.getsockname` gives it.
        peer: Address of the other end.

    Returns:
        A user id, `UNKNOWN_USER` where the system does not tell; None for this user, for root, and for other machines.
    """
    if not (
        isinstance(own, tuple) and isinstance(peer, tuple) and is_loopback(peer[0].removeprefix(_MAPPED))
    ):
        return None
    user = user_of(own, peer)
    if user is None:
        return UNKNOWN_USER
    return None if user in (os.geteuid(), _ROOT) else user


def user_of(own: tuple[Any, ...], peer: tuple[Any, ...]) -> int | None:
    """The user who has made the other end of a connection; None where the system does not tell."""
    return user_in(listed_sockets(), local=peer, remote=own)


def user_in(sockets: Iterable[ListedSocket], local: tuple[Any, ...], remote: tuple[Any, ...]) -> int | None:
    """The owner of a socket in a list of the kernel; None where it is not there.

    Args:
        sockets: The list.
        local: Address and port of that socket.
        remote: Those of the other end.
    """
    wanted = {(_written(*ours), _written(*theirs)) for ours, theirs in _forms(local, remote)}
    for one in sockets:
        if (one.local, one.remote) in wanted and one.state == ESTABLISHED:
            return one.user
    return None


def _forms(*ends: tuple[Any, ...]) -> list[list[tuple[str, int]]]:
    """Both ends as addresses of IPv4 and as those of IPv6, between which programs may choose."""
    plain = [(str(host).removeprefix(_MAPPED), int(port)) for host, port, *_ in ends]
    if any(":" in host for host, _ in plain):
        return [plain]
    return [plain, [(f"{_MAPPED}{host}", port) for host, port in plain]]


def _written(host: str, port: int) -> str:
    """An address as the kernel writes it: each word of four bytes as a number of this machine."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = (packed[i : i + _WORD] for i in range(0, len(packed), _WORD))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
