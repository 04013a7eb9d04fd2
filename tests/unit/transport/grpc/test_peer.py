"""Whose process a client of gRPC is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mindspore_serving.server.transport.grpc.peer import is_own_user
from tests.support.other_user import OTHER_USER, needs_root


@pytest.mark.parametrize(
    ("host", "written"),
    [("127.0.0.1", "ipv4:127.0.0.1:{}"), ("::1", "ipv6:%5B::1%5D:{}")],
)
@pytest.mark.parametrize("bound", ["{}", "[::]", "0.0.0.0", "localhost"])
def test_a_client_over_the_loopback_interface(host: str, written: str, bound: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0],
    ):
        own = bound.format(f"[{host}]" if ":" in host else host)
        address, peer = f"{own}:{listener.getsockname()[1]}", written.format(client.getsockname()[1])
        assert is_own_user(address, peer)
        assert not is_own_user(address, written.format(listener.getsockname()[1]))


@pytest.mark.parametrize(
    "peer", ["", "?", "ipv4:", "ipv4:10.0.0.1:80", "ipv4:127.0.0.1:1", "unix:", "vsock:1:2"]
)
@pytest.mark.parametrize("address", ["127.0.0.1:1", "0.0.0.0:1"])
def test_others_are_not_taken_for_this_user(address: str, peer: str) -> None:
    assert not is_own_user(address, peer)


def test_a_unix_socket_is_private_as_long_as_no_other_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    address = f"unix:{path}"
    assert not is_own_user(address, "unix:")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        for mode, expected in ((0o600, True), (0o755, True), (0o660, False), (0o602, False)):
            path.chmod(mode)
            assert is_own_user(address, "unix:") is expected
    path.unlink()
    path.touch(mode=0o600)
    assert not is_own_user(address, "unix:")


@needs_root
def test_a_socket_of_another_user_is_not_private(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        os.chown(path, OTHER_USER, OTHER_USER)
        assert not is_own_user(f"unix:{path}", "unix:")
