"""Which addresses never leave this machine."""

from __future__ import annotations

import ipaddress

ANY_ADDRESS = ("0.0.0.0", "::", "")
"""All addresses of this machine, for who listens; for who connects, one of its loopback interface."""


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
