"""Whether a client of gRPC is a process of the user who runs this server: gRPC knows addresses, and no sockets."""

from __future__ import annotations

import ipaddress
import os
import stat

from mindspore_serving.server.host.peer_user import has_only_own_users
from mindspore_serving.server.host.peer_user import is_own_user as is_own_user_at
from mindspore_serving.server.transport.address import UNIX_PREFIX
from mindspore_serving.server.transport.grpc.tcp_connections import address_of

_OTHERS_MAY_CONNECT = stat.S_IWGRP | stat.S_IWOTH


def is_own_user(address: str, peer: str) -> bool:
    """Whether a process of this user, or of root, is at the other end of a connection, on this machine.

    Args:
        address: Where the server listens: `ip:port`, or `unix:` and the path as it is bound.
        peer: Address of the client, as gRPC writes it.
    """
    if address.startswith(UNIX_PREFIX):
        return _is_private(address.removeprefix(UNIX_PREFIX))
    client = address_of(peer)
    if client is None:
        return False
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if _is_one_address(host):
        return is_own_user_at((host, int(port)), client)
    return has_only_own_users(int(port), client)


def _is_one_address(host: str) -> bool:
    """Whether connections come to this address only: not to a name, nor to all addresses."""
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_private(path: str) -> bool:
    """Whether no other user may connect to a Unix socket: the user of the server may have changed its mode."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return (
        stat.S_ISSOCK(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & _OTHERS_MAY_CONNECT
    )
