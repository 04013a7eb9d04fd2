"""tritonclient over TLS, with an API key."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509

from tests.clients.servables import clients_server
from tests.clients.triton import KINDS, NOT_FOUND, Triton
from tests.support.certificates import Authority
from tests.support.serving import RunningServer

KEY = "0123456789-this-is-the-key"
LET_IN = {"authorization": f"Bearer {KEY}"}
NOT_LET_IN = ("401", "StatusCode.UNAUTHENTICATED")
X = {"x": np.array([[1, 2, 3, 4]], np.float32)}


@dataclass(frozen=True)
class Secured:
    """A server that speaks TLS and asks for keys, and the file of the authority that its clients trust."""

    server: RunningServer
    authority: str

    def options(self, kind: str) -> dict[str, Any]:
        """What a client's constructor wants for TLS."""
        trusting: dict[str, Callable[[], dict[str, Any]]] = {
            "http": lambda: {"ssl_options": {"ca_certs": self.authority}},
            "http.aio": lambda: {"ssl_context": ssl.create_default_context(cafile=self.authority)},
            "grpc": lambda: {"root_certificates": self.authority},
            "grpc.aio": lambda: {"root_certificates": self.authority},
        }
        return {"ssl": True, **trusting[kind]()}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder: Path = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "authority")
    pair = authority.issue("server", x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    keys = folder / "keys.txt"
    keys.touch(0o600)
    keys.write_text(KEY)
    options = f"api_keys='keys.txt', ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r})"
    with clients_server(folder, grpc_options=options, rest_options=options) as running:
        yield Secured(running, authority.certificate)


@pytest.fixture(scope="module", params=KINDS)
def client(request: pytest.FixtureRequest, secured: Secured) -> Iterator[Triton]:
    with Triton(request.param, secured.server, **secured.options(request.param)) as made:
        yield made


def test_a_key_lets_in(client: Triton) -> None:
    result = client.infer("echo.scores", X, headers=LET_IN)
    np.testing.assert_array_equal(result.as_numpy("y"), X["x"])
    assert client.call("get_model_metadata", "echo.scores", headers=LET_IN)
    client.refused(NOT_FOUND, "echo.nothing", X, headers=LET_IN)


@pytest.mark.parametrize("headers", [None, {"authorization": f"Bearer {KEY}x"}], ids=["no key", "wrong key"])
def test_nobody_else_is_let_in(client: Triton, headers: dict[str, str] | None) -> None:
    assert "key" in client.refused(NOT_LET_IN, "echo.scores", X, headers=headers)
    for method in ("get_server_metadata", "get_model_repository_index", "get_inference_statistics"):
        assert "key" in client.call_refused(NOT_LET_IN, method, headers=headers)
    for method in ("get_model_metadata", "get_model_config"):
        assert "key" in client.call_refused(NOT_LET_IN, method, "echo.scores", headers=headers)
