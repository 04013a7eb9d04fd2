"""The proxy that gRPC would take on its way to a server, and the servers to which it must not take one.

gRPC takes the proxy of the first variable that is set of `grpc_proxy`, `https_proxy` and `http_proxy`, for every
address: it would send to a proxy what is for this machine, too. Hosts that `no_grpc_proxy`, or else `no_proxy`, lists
are reached directly.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mindspore_serving.loopback import is_this_machine

_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTION_VARIABLES = ("no_grpc_proxy", "no_proxy")
_SCHEMES_OF_HOSTS = ("dns", "ipv4", "ipv6")
_SCHEMES_OF_SOCKETS = ("unix", "unix-abstract", "vsock")

# The second is what GRPC_ADDRESS_HTTP_PROXY is for: addresses that are reached through a proxy once they are known.
_DIRECTLY: tuple[tuple[str, Any], ...] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", "255.255.255.255/32"),
)


class Proxy(NamedTuple):
    """A proxy between a client and its server.

    Attributes:
        address: `host:port`, without name and password.
        variable: The variable of the environment that names it.
    """

    address: str
    variable: str

    def __str__(self) -> str:
        return f"the proxy {self.address} of the variable {self.variable}"


class NetworkRoute(NamedTuple):
    """How a channel reaches an address.

    Attributes:
        stays_here: Whether the address is one of this machine.
        proxy: What everything goes through; None for the direct way.
        options: Channel options that make gRPC take this route.
    """

    stays_here: bool
    proxy: Proxy | None
    options: tuple[tuple[str, Any], ...]


def route_to(address: str, environment: Mapping[str, str] = os.environ) -> NetworkRoute:
    """The route to a server.

    Args:
        address: `ip:port`, `host:port`, `unix:path`, or another address that gRPC knows.
        environment: Where variables for proxies are looked up.
    """
    host = _host_of(address)
    if host is None or is_this_machine(host):
        return NetworkRoute(True, None, _DIRECTLY)
    proxy = _proxy_of(environment)
    if proxy is not None and _is_excepted(host, environment):
        return NetworkRoute(False, None, _DIRECTLY)
    return NetworkRoute(False, proxy, ())


def _host_of(address: str) -> str | None:
    """Host name or IP address; None for sockets of this machine, which have none."""
    scheme, _, rest = address.partition(":")
    if scheme in _SCHEMES_OF_SOCKETS:
        return None
    if scheme in _SCHEMES_OF_HOSTS:
        address = rest.rpartition("/")[2]
    if address.startswith("["):
        return address[1:].partition("]")[0]
    # More colons than one are of an IPv6 address without a port.
    return address.partition(":")[0] if address.count(":") == 1 else address


def _proxy_of(environment: Mapping[str, str]) -> Proxy | None:
    variable = next((name for name in _PROXY_VARIABLES if name in environment), None)
    if variable is None:
        return None
    try:
        parts = urlsplit(environment[variable])
    except ValueError:
        return None
    # gRPC takes no other, and logs that it does not.
    if parts.scheme != "http" or not parts.netloc:
        return None
    return Proxy(parts.netloc.rpartition("@")[2], variable)


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    """Whether the list of exceptions has a host: by its name, by a domain that it is in, or by a network."""
    variable = next((name for name in _EXCEPTION_VARIABLES if name in environment), None)
    if variable is None:
        return False
    name = host.lower().rstrip(".")
    entries = (entry.strip().lower().removeprefix(".") for entry in environment[variable].split(","))
    return any(
        entry == "*" or name == entry or name.endswith("." + entry) or _is_in_network(name, entry)
        for entry in entries
        if entry
    )


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
