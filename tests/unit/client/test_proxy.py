"""Which servers a client reaches through a proxy, and which never."""

from __future__ import annotations

import socket

import pytest

from mindspore_serving.client.python.proxy import Proxy, route_to

PROXY = {"http_proxy": "http://name:secret@proxy.example:3128/"}
THROUGH = Proxy("proxy.example:3128", "http_proxy")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:5500",
        "127.9.9.9:5500",
        "127.1:5500",
        "[::1]:5500",
        "::1",
        "[::ffff:127.0.0.1]:5500",
        "0.0.0.0:5500",
        "[::]:5500",
        "localhost:5500",
        "LocalHost.:5500",
        "serving.localhost:5500",
        "ip6-localhost:5500",
        f"{socket.gethostname()}:5500",
        f"{socket.gethostname().upper()}.:5500",
        "dns:///localhost:5500",
        "dns:localhost:5500",
        "ipv4:127.0.0.1:5500",
        "ipv6:[::1]:5500",
        "unix:dir/socket",
        "unix:///dir/socket",
        "unix-abstract:name",
    ],
)
def test_an_address_of_this_machine_is_reached_directly(address: str) -> None:
    route = route_to(address, PROXY)
    assert (route.stays_here, route.proxy) == (True, None)
    assert dict(route.options)["grpc.enable_http_proxy"] == 0


def test_own_addresses_are_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no way to others")
        own = probe.getsockname()[0]
    assert route_to(f"{own}:5500", PROXY).stays_here


@pytest.mark.parametrize(
    "address",
    [
        "serving.example:5500",
        "localhost.example:5500",
        "mylocalhost:5500",
        f"{socket.gethostname().partition('.')[0]}.nowhere.invalid:5500",
        "198.51.100.7:5500",
        "[2001:db8::7]:5500",
        "dns:///serving.example:5500",
        "255.255.255.255:5500",
        "not an address",
        "[",
        ":5500",
    ],
)
def test_others_are_reached_through_the_proxy(address: str) -> None:
    assert route_to(address, PROXY) == (False, THROUGH, ())
    assert route_to(address, {}) == (False, None, ())


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"https_proxy": "http://a:1", "http_proxy": "http://b:2"}, Proxy("a:1", "https_proxy")),
        ({"grpc_proxy": "http://c", "https_proxy": "http://a:1"}, Proxy("c", "grpc_proxy")),
        ({"grpc_proxy": "", "http_proxy": "http://b:2"}, None),
        ({"http_proxy": "https://b:2"}, None),
        ({"http_proxy": "b:2"}, None),
        ({"http_proxy": "http://[::1"}, None),
        ({"HTTP_PROXY": "http://b:2"}, None),
    ],
)
def test_the_proxy_is_that_of_grpc(environment: dict[str, str], proxy: Proxy | None) -> None:
    assert route_to("serving.example:5500", environment).proxy == proxy


@pytest.mark.parametrize(
    ("address", "exceptions", "direct"),
    [
        ("serving.example:5500", "serving.example", True),
        ("Serving.Example:5500", " other , SERVING.example", True),
        ("serving.example:5500", "example", True),
        ("serving.example:5500", ".example", True),
        ("serving.example:5500", "ing.example", False),
        ("serving.example:5500", "*", True),
        ("serving.example:5500", "", False),
        ("serving.example:5500", " , ,", False),
        ("198.51.100.7:5500", "198.51.100.7", True),
        ("198.51.100.7:5500", "198.51.100.0/24", True),
        ("198.51.100.7:5500", "198.51.100.9/24", True),
        ("198.51.100.7:5500", "198.51.101.0/24", False),
        ("[2001:db8::7]:5500", "2001:db8::/32", True),
    ],
)
def test_exceptions(address: str, exceptions: str, direct: bool) -> None:
    route = route_to(address, {**PROXY, "no_proxy": exceptions})
    assert (route.proxy is None) is direct
    assert bool(route.options) is direct


def test_the_exceptions_of_grpc_come_before_the_common_ones() -> None:
    environment = {**PROXY, "no_grpc_proxy": "other.example", "no_proxy": "serving.example"}
    assert route_to("serving.example:5500", environment).proxy == THROUGH
