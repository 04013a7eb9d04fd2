"""Servers that the tests of this folder share, and marks for what is known to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.open_findings import OPEN_FINDINGS
from tests.conformance.row import case_of
from tests.support import servables
from tests.support.certificates import Authority, Pair
from tests.support.grpc_messages import RawClient
from tests.support.serving import RunningServer, add_servable, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the servables add, batch_add, pystage and conversion_model."""
    folder = tmp_path_factory.mktemp("server")
    add_servable(folder, "add", servables.ADD.format(batch=False))
    add_servable(folder, "batch_add", servables.ADD.format(batch=True))
    add_servable(folder, "pystage", servables.PYSTAGE, ())
    add_servable(folder, "conversion_model", servables.IDENTITY, ())
    configs = [
        '".", "add", device_ids=0',
        '".", "batch_add", device_ids=1',
        '".", "pystage"',
        '".", "conversion_model"',
    ]
    with serving(folder, configs) as running:
        yield running


@pytest.fixture(scope="session")
def raw(server: RunningServer) -> Iterator[RawClient]:
    """A raw gRPC channel to the shared server."""
    with RawClient(server.grpc) as client:
        yield client


@pytest.fixture(scope="session")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The servable pystage, with messages of 1 MiB at most."""
    folder = tmp_path_factory.mktemp("small")
    add_servable(folder, "pystage", servables.PYSTAGE, ())
    limit = "max_msg_mb_size=1"
    with serving(folder, ['".", "pystage"'], grpc_options=limit, rest_options=limit) as running:
        yield running


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs what the TLS servers and their clients show."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def client_pair(authority: Authority) -> Pair:
    """What a client shows."""
    return authority.issue("client")


def _tls_server(folder: Path, authority: Authority, *, mutual: bool) -> Iterator[RunningServer]:
    pair = authority.issue("mutual" if mutual else "one_way")
    more = f", {authority.certificate!r}, verify_client=True" if mutual else ""
    option = f"ssl_config=server.SSLConfig({pair.certificate!r}, {pair.private_key!r}{more})"
    add_servable(folder, "pystage", servables.PYSTAGE, ())
    with serving(folder, ['".", "pystage"'], grpc_options=option, rest_options=option) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RunningServer]:
    """The servable pystage over TLS; clients need no certificate."""
    yield from _tls_server(tmp_path_factory.mktemp("tls"), authority, mutual=False)


@pytest.fixture(scope="session")
def mutual_server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RunningServer]:
    """The servable pystage over TLS; clients need a certificate."""
    yield from _tls_server(tmp_path_factory.mktemp("mutual"), authority, mutual=True)


@pytest.fixture
def case_name(request: pytest.FixtureRequest) -> str:
    """Name of the case, where it is the only parameter of a test; see `stands_for`."""
    name: str = request.param
    return name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the open findings to fail."""
    for item in items:
        case = case_of(item.name)
        if case in OPEN_FINDINGS and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xfail(reason=OPEN_FINDINGS[case], strict=True))
