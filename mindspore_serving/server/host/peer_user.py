"""Which user of this machine is at the other end of a TCP connection over its loopback interface.

The kernel lists the sockets of a network namespace with their owners, and both ends of such a connection are in one
namespace. Only established connections are looked at: those that are being closed are listed as root's, whoever has
made them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from mindspore_serving.loopback import is_loopback
from mindspore_serving.server.host.socket_query import FoundSocket, ask_for_socket
from mindspore_serving.server.host.socket_table import ESTABLISHED, ListedSocket, listed_sockets

_MAPPED = "::ffff:"
_WORD = 4
_ROOT = 0
UNKNOWN_USER = -1
_End: TypeAlias = tuple[str, int]


def stranger_at(own: Any, peer: Any) -> int | None:
    """The user at the other end of a connection that stays on this machine, if that is somebody else.

    Args:
        own: Address of this end, as `socket.getsockname` gives it.
        peer: Address of the other end.

    Returns:
        A user id, `UNKNOWN_USER` where the system does not tell; None for this user, for root, and for other machines.
    """
    if not (isinstance(own, tuple) and _is_here(peer)):
        return None
    user = user_of(own, peer)
    if user is None:
        return UNKNOWN_USER
    return None if user in (os.geteuid(), _ROOT) else user


def is_own_user(own: Any, peer: Any) -> bool:
    """Whether a process of this user, or of root, is at the other end of a connection that stays on this machine.

    A program that forwards connections is what is at the other end: for whom it does that cannot be told.

    Args:
        own: As of `stranger_at`.
        peer: As of `stranger_at`.
    """
    return isinstance(own, tuple) and _is_here(peer) and stranger_at(own, peer) is None


def has_only_own_users(port: int, peer: tuple[str, int]) -> bool:
    """As `is_own_user`, for a connection of which only the port of this end is known.

    An address may be at the other end of several connections, to several addresses of this machine. So all of them have
    to be of this user.

    Args:
        port: Of this end.
        peer: Address of the other end.
    """
    if not _is_here(peer):
        return False
    users = users_in(listed_sockets(), peer, port)
    return bool(users) and users <= {os.geteuid(), _ROOT}


def _is_here(peer: Any) -> bool:
    return isinstance(peer, tuple) and is_loopback(str(peer[0]).removeprefix(_MAPPED))


def user_of(
    own: tuple[Any, ...],
    peer: tuple[Any, ...],
    ask: Callable[[_End, _End], FoundSocket | None] = ask_for_socket,
) -> int | None:
    """The user who has made the other end of a connection; None where the system does not tell.

    Args:
        own: As of `stranger_at`.
        peer: As of `stranger_at`.
        ask: Asks the kernel for one socket. Where it raises OSError, all of them are looked through.
    """
    try:
        found = ask((str(peer[0]), int(peer[1])), (str(own[0]), int(own[1])))
    except OSError:
        return user_in(listed_sockets(), local=peer, remote=own)
    return found.user if found is not None and found.state == int(ESTABLISHED, 16) else None


def users_in(sockets: Iterable[ListedSocket], local: tuple[str, int], remote_port: int) -> set[int]:
    """The owners of all sockets in a list of the kernel that have an address, and lead to a port.

    Args:
        sockets: The list.
        local: Address and port of those sockets.
        remote_port: Port of their other ends.
    """
    wanted = {_written(*form) for [form] in _forms(local)}
    end = f":{remote_port:04X}"
    return {
        one.user
        for one in sockets
        if one.local in wanted and one.remote.endswith(end) and one.state == ESTABLISHED
    }


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
