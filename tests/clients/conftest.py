"""One server for all tests of clients, and the four clients of tritonclient."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.servables import clients_server
from tests.clients.triton import KINDS, Triton
from tests.support.serving import RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with clients_server(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(scope="session", params=KINDS)
def triton(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[Triton]:
    """One of the four clients, connected."""
    with Triton(request.param, server) as client:
        yield client
