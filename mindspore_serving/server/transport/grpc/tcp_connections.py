"""TCP connections that a library holds, found by the addresses of their clients.

gRPC has no way to say how much has arrived on a connection, or to close one. Its sockets are descriptors of this
process, and the system knows both. A descriptor may be another connection's at any time: so the address is looked at
before each use.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

_DESCRIPTORS = Path("/proc/self/fd")
_RECEIVED = slice(128, 136)
"""Where `tcpi_bytes_received` is in `struct tcp_info` of linux/tcp.h."""
_INFO_BYTES = 136
_MAPPED = "::ffff:"
_REST_AFTER_SEARCH = 20
"""A search takes so many times its own time until the next one, as it looks at every descriptor."""
Address: TypeAlias = tuple[str, int]


class TcpConnections:
    """Finds connections of this process.

    Args:
        now: A monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._found: dict[Address, int] = {}
        self._next_search = 0.0

    def received(self, peer: str) -> int | None:
        """How many bytes have come on a connection since it began.

        Args:
            peer: Address of the client, as gRPC writes it.

        Returns:
            Bytes, those of TLS and of frames included; None where it is no TCP connection, or none any more.
        """
        with self._connection(peer) as connection:
            if connection is None:
                return None
            with suppress(OSError):
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
                if len(info) == _INFO_BYTES:
                    return int(struct.unpack("=Q", info[_RECEIVED])[0])
            return None

    def close(self, peer: str) -> bool:
        """End a connection in both directions; the library sees that it has ended, and frees what it holds for it.

        Args:
            peer: Address of the client, as gRPC writes it.

        Returns:
            Whether there was one.
        """
        address = address_of(peer)
        descriptor = None if address is None else self._descriptor_of(address)
        if descriptor is None:
            return False
        try:
            # A descriptor of our own: nobody can give its number to another connection after the look at its address.
            connection = socket.socket(fileno=os.dup(descriptor))
        except OSError:  # it was closed just now
            return False
        with connection:
            if _peer_of(connection) != address:
                return False
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            return True

    @contextmanager
    def _connection(self, peer: str) -> Iterator[socket.socket | None]:
        address = address_of(peer)
        descriptor = None if address is None else self._descriptor_of(address)
        with _borrowed(descriptor) as connection:
            yield connection

    def _descriptor_of(self, address: Address) -> int | None:
        descriptor = self._found.get(address)
        if descriptor is not None and _remote_address(descriptor) == address:
            return descriptor
        began = self._now()
        if began < self._next_search:
            return None
        self._found = {
            found: number for number in _descriptors() if (found := _remote_address(number)) is not None
        }
        self._next_search = self._now() + _REST_AFTER_SEARCH * (self._now() - began)
        return self._found.get(address)


def address_of(peer: str) -> Address | None:
    """`ipv4:127.0.0.1:80` or `ipv6:%5B::1%5D:80` as an address; None for anything else."""
    family, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if family not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return _plain(host.strip("[]")), int(port)


def _plain(host: str) -> str:
    """An IP address as gRPC writes it: without a zone, and IPv4 as such also on a socket of IPv6."""
    host = host.partition("%")[0]
    return host.removeprefix(_MAPPED) if "." in host else host


def _descriptors() -> list[int]:
    return [int(entry.name) for entry in _DESCRIPTORS.iterdir()]


@contextmanager
def _borrowed(descriptor: int | None) -> Iterator[socket.socket | None]:
    """A socket object for a descriptor that somebody else closes."""
    connection = None
    with suppress(OSError):  # it is no socket, or is closed
        connection = socket.socket(fileno=descriptor) if descriptor is not None else None
    try:
        yield connection
    finally:
        if connection is not None:
            connection.detach()


def _remote_address(descriptor: int) -> Address | None:
    """The client's address of a TCP connection; None where the descriptor is none."""
    with _borrowed(descriptor) as connection:
        return None if connection is None else _peer_of(connection)


def _peer_of(connection: socket.socket) -> Address | None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        host, port = connection.getpeername()[:2]
    except OSError:  # it listens, or has ended
        return None
    return _plain(host), port
