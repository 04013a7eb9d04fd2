"""Which addresses never leave this machine."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, TypeAlias

ANY_ADDRESS = ("0.0.0.0", "::", "")
"""All addresses of this machine, for who listens; for who connects, one of its loopback interface."""
_LOOPBACK_NAMES = frozenset(
    [
        "localhost",
        "localhost.localdomain",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    ]
)
_SOME_PORT = 9
"""For sockets that are only asked where they would send from."""
_SocketAddress: TypeAlias = tuple[Any, tuple[Any, ...]]


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address, without port and brackets, is one of this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def stays_here(address: str) -> bool:
    """Whether what is sent to an address, `ip:port`, `host:port` or `unix:path`, stays on this machine."""
    if address.startswith("unix:"):
        return True
    return is_loopback(address.rpartition(":")[0].removeprefix("[").removesuffix("]"))


def is_this_machine(host: str, *, look_up: bool = False) -> bool:
    """Whether a host name or IP address, without port and brackets, leads to this machine.

    Args:
        host: The name or address.
        look_up: Look up any name. Otherwise only names that begin as this machine's own are looked up, because the
            look-up of another one may take long.
    """
    name = host.lower().rstrip(".")
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    numbers = _addresses(name, socket.AI_NUMERICHOST)
    if numbers:
        return all(map(_is_own, numbers))
    own_name = socket.gethostname().lower()
    if name == own_name:
        return True
    if not look_up and name.partition(".")[0] != own_name.partition(".")[0]:
        return False
    found = _addresses(name, 0)
    return bool(found) and all(map(_is_own, found))


def _addresses(name: str, flags: int) -> list[_SocketAddress]:
    """Family and socket address of each IP address that a name stands for; none where it stands for none."""
    try:
        found = socket.getaddrinfo(name, _SOME_PORT, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [(family, place) for family, _, _, _, place in found]


def _is_own(found: _SocketAddress) -> bool:
    """Whether an IP address is one of this machine's: what goes there comes from there. Nothing is sent."""
    family, place = found
    address = ipaddress.ip_address(place[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return bool(probe.getsockname()[0] == place[0])
    except OSError:
        return False
