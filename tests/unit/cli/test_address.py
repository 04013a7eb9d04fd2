"""Addresses and keys as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindspore_serving.cli.asking.address import Access, Address, access_of, parse_address
from mindspore_serving.cli.errors import CommandError


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("http://host:1500", Address("rest", "host", 1500), "http://host:1500"),
        ("https://host/", Address("rest", "host", 443, True), "https://host:443"),
        ("http://host/a/b/", Address("rest", "host", 80, False, "/a/b"), "http://host:80/a/b"),
        ("grpc://[::1]:5500", Address("grpc", "::1", 5500), "grpc://[::1]:5500"),
        ("grpcs://host:1", Address("grpc", "host", 1, True), "grpcs://host:1"),
        ("unix:/tmp/a", Address("grpc", "unix:/tmp/a"), "unix:/tmp/a"),
        ("host:1500", Address("", "host", 1500), "host:1500"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    assert parse_address(text) == address
    assert str(address) == shown


def test_tls_of_a_bare_address() -> None:
    assert parse_address("host:1", tls=True) == Address("", "host", 1, True)
    assert parse_address("http://host:1", tls=True).tls


@pytest.mark.parametrize(
    "text",
    [
        "host",
        "",
        "ftp://host:1",
        "http://",
        "host:1/a",
        "host:port",
        "grpc://host",
        "http://host:99999",
        "http://a b",
        "http://host/a b",
        "http://ü..:1",
        "a\nb:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_address(text)
    assert caught.value.exit_code == 2
    assert "http://HOST:PORT" in caught.value.problem + caught.value.next_step


def test_keys(tmp_path: Path) -> None:
    key = "k" * 16
    (tmp_path / "key").write_text(f"{key}\n")
    (tmp_path / "keys").write_text(f"# of a server\n\n  {key} name=a rights=infer\n{key}2\n")
    assert access_of(key, "") == access_of(f"@{tmp_path}/key", "") == Access(key)
    assert access_of(f"@{tmp_path}/keys", "") == Access(key)
    assert Access(key).headers == {"authorization": f"Bearer {key}"}
    assert Access().headers == {}
    for wrong in ("short", "@/nowhere"):
        with pytest.raises(CommandError) as caught:
            access_of(wrong, "")
        assert caught.value.exit_code == 2
        assert "short" not in caught.value.problem


def test_root_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    for make in (Access("", "/nowhere").grpc_credentials, Access("", f"{tmp_path}/ca").ssl_context):
        with pytest.raises(CommandError, match="--ca"):
            make()
