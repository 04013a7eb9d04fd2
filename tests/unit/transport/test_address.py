"""Addresses of the gRPC and the REST server."""

from __future__ import annotations

import pytest

from mindspore_serving.server.transport.address import parse_socket_address, socket_path
from mindspore_serving.server.transport.grpc.server import check_grpc_address
from mindspore_serving.server.transport.http.rest_gateway import check_rest_address

SERVERS = [("Serving gRPC", check_grpc_address), ("RESTful server", check_rest_address)]

REFUSED = {
    "invalid address": "The format of the {tag} address '{a}' is illegal",
    "127.0.0.1": "The format of the {tag} address '{a}' is illegal",
    "5500": "The format of the {tag} address '{a}' is illegal",
    ":": "Missing ip or port of the {tag} address '{a}'",
    ":5500": "Missing ip or port of the {tag} address '{a}'",
    "127.0.0.1:": "Missing ip or port of the {tag} address '{a}'",
    "127.0.0.1:abc": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:5000abc": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:5000.0": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:5_000": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:²": "The type of {tag} address '{a}' port is not a number",
    "127.0.0.1:0": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
    "127.0.0.1:-1": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
    "127.0.0.1:65536": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
    "127.0.0.1:5000000": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
    "127.0.0.1:99999999999999999999": "The port of the {tag} address '{a}' is out of legal range [1 ~ 65535]",
}


@pytest.mark.parametrize(("tag", "check"), SERVERS, ids=["grpc", "rest"])
@pytest.mark.parametrize(("address", "text"), REFUSED.items(), ids=REFUSED)
def test_a_wrong_address_is_refused_with_the_reason(tag, check, address, text) -> None:
    with pytest.raises(RuntimeError) as refused:
        check(address)
    assert str(refused.value) == "Serving Error: " + text.format(tag=tag, a=address)


@pytest.mark.parametrize(("tag", "check"), SERVERS, ids=["grpc", "rest"])
@pytest.mark.parametrize("address", ["127.0.0.1:1", "0.0.0.0:65535", "localhost:5500", "[::1]:5500"])
def test_an_address_of_host_and_port_is_accepted(tag, check, address) -> None:
    check(address)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:5500", "127.0.0.1", 5500),
        ("localhost:1", "localhost", 1),
        ("[::1]:65535", "::1", 65535),
        ("127.0.0.1:5000:6000", "127.0.0.1:5000", 6000),
    ],
)
def test_the_port_is_what_follows_the_last_colon(address: str, host: str, port: int) -> None:
    assert parse_socket_address(address, "Serving gRPC") == (host, port)


def test_grpc_refuses_a_unix_address_without_path() -> None:
    with pytest.raises(RuntimeError) as refused:
        check_grpc_address("unix:")
    assert str(refused.value) == "Serving Error: Empty grpc server unix domain socket address"


@pytest.mark.parametrize("address", ["unix:serving.sock", "unix:/tmp/serving.sock", "unix:folder/a b.sock"])
def test_grpc_accepts_a_unix_address(address: str) -> None:
    check_grpc_address(address)


@pytest.mark.parametrize("address", ["unix:", "unix:/tmp/serving.sock"])
def test_rest_refuses_a_unix_address(address: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        check_rest_address(address)
    assert str(refused.value) == (
        "Serving Error: RESTful server does not support binding to unix domain socket"
    )


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("unix:serving.sock", "serving.sock"),
        ("unix:/tmp/a b", "/tmp/a b"),
        ("unix:/tmp/a%20b", "/tmp/a b"),
        ("unix:a%zz", "a%zz"),
        ("unix:///tmp/a", "/tmp/a"),
        ("unix://a", "//a"),
    ],
)
def test_the_path_of_a_socket_is_what_grpc_makes_of_it(address: str, path: str) -> None:
    assert socket_path(address) == path
