"""Addresses that servers listen on."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from mindspore_serving.errors import StartUpError

UNIX_PREFIX = "unix:"
STOP_GRACE_S = 1.0
"""What a front end that closes gives requests under way by itself."""
QUIET_S = 0.02
"""Long enough for the event loop to take in what the system has received for a front end."""


class SocketAddress(NamedTuple):
    """A TCP address: host without the brackets of IPv6, and a port from 1 to 65535."""

    host: str
    port: int


def parse_socket_address(address: str, tag: str) -> SocketAddress:
    """Split `ip:port`; the port is what follows the last colon.

    Args:
        address: What the user gave.
        tag: How error texts call the server, `Serving gRPC` or `RESTful server`.

    Raises:
        StartUpError: A part is missing, the port is not a number or out of range.
    """
    host, colon, port = address.rpartition(":")
    if not colon:
        raise StartUpError(f"Serving Error: The format of the {tag} address '{address}' is illegal")
    if not host or not port:
        raise StartUpError(f"Serving Error: Missing ip or port of the {tag} address '{address}'")
    if not re.fullmatch(r"-?[0-9]+", port):
        raise StartUpError(f"Serving Error: The type of {tag} address '{address}' port is not a number")
    if not 1 <= int(port) <= 65535:
        raise StartUpError(
            f"Serving Error: The port of the {tag} address '{address}' is out of legal range [1 ~ 65535]"
        )
    return SocketAddress(host.removeprefix("[").removesuffix("]"), int(port))


def socket_path(address: str) -> str:
    """The path of `unix:path`, as gRPC reads it: `%20` stands for a space, and `unix:///a` for `/a`.

    Args:
        address: What the user gave.
    """
    path = unquote(address.removeprefix(UNIX_PREFIX))
    return path.removeprefix("//") if path.startswith("///") else path
