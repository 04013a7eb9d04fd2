"""Whether a client of HTTP is a process of the user who runs this server."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

from mindspore_serving.server.host import peer_user

_ROOT = 0
_CREDENTIALS = struct.Struct("3i")
"""`struct ucred` of Linux: process, user, group."""


def is_own_user(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a process of this user, or of root, is at the other end of a connection, on this machine.

    Args:
        transport: The connection, also of a server of the user's own; None where it has ended.
    """
    if transport is None:
        return False
    link = transport.get_extra_info("socket")
    if link is not None and link.family == socket.AF_UNIX:
        try:
            raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:  # it has ended
            return False
        return _CREDENTIALS.unpack(raw)[1] in (os.geteuid(), _ROOT)
    return peer_user.is_own_user(transport.get_extra_info("sockname"), transport.get_extra_info("peername"))


class ForeignConnection:
    """A connection of a server of the user's own.

    Args:
        transport: It; None where it has ended.
    """

    def __init__(self, transport: asyncio.BaseTransport | None) -> None:
        self._transport = transport

    def peer_is_own_user(self) -> bool:
        """As `HttpRequest.peer_is_own_user`."""
        return is_own_user(self._transport)
