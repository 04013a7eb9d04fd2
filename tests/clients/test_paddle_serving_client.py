"""Paddle Serving's HttpClient and PipelineClient, unmodified, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import PADDLE_SERVING
from tests.support.paddle_models import PRICE, uci_housing
from tests.support.paddle_serve import NAMES, copy_model, paddle_server

__all__ = ["uci_housing"]
SESSION = Path(__file__).with_name("paddle_session.py")
TIMEOUT_S = 100
WAYS = ("json", "proto", "grpc", "json_gzip", "proto_gzip")

pytestmark = pytest.mark.skipif(
    not PADDLE_SERVING.is_made,
    reason=f"needs Paddle Serving's clients; make them: {PADDLE_SERVING.command}",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, uci_housing: Path) -> dict[str, Any]:
    """What each client found; its configuration is that of the server, as Paddle Serving saves both."""
    pytest.importorskip("paddle")
    folder = tmp_path_factory.mktemp("clients")
    model = copy_model(uci_housing, folder)
    with paddle_server(folder, [model.name]) as (_, address):
        done = subprocess.run(
            [PADDLE_SERVING.python, SESSION, address, model / NAMES],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("way", WAYS)
def test_http_client(found: dict[str, Any], way: str) -> None:
    price = pytest.approx(PRICE, rel=1e-6)
    assert found["http"][way] == [[price], [1, 1], 7]
    assert found["http"][f"{way}_list"] == [[price], [1, 1], 0]
    assert found["http"][f"{way}_batch"] == [[price] * 40, [40, 1], 0]
    assert found["http"][f"{way}_wrong"] is None


@pytest.mark.parametrize("way", ["text", "array", "list", "tensor", "bytes", "profile", "future"])
def test_pipeline_client(found: dict[str, Any], way: str) -> None:
    number, keys, [value] = found["pipeline"][way]
    assert (number, keys) == (0, ["price"])
    assert json.loads(value) == [[pytest.approx(PRICE, rel=1e-6)]]


def test_an_error_of_a_pipeline(found: dict[str, Any]) -> None:
    assert found["pipeline"]["wrong"] == [5000, [], []]
