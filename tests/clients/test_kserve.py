"""KServe's InferenceRESTClient and InferenceGRPCClient, unmodified, in an environment of their own."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.environments import KSERVE
from tests.support.serving import RunningServer

SESSION = Path(__file__).with_name("kserve_session.py")
TIMEOUT_S = 100
CHECKS = [
    node.name
    for node in ast.parse(SESSION.read_text()).body
    if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
]
"""Names of the checks: the module itself can only be imported in the other environment."""

pytestmark = pytest.mark.skipif(
    not KSERVE.is_made,
    reason=f"needs KServe's clients; make them: {KSERVE.command}",
)


@pytest.fixture(scope="module")
def found(server: RunningServer) -> dict[str, str]:
    """What each check found."""
    done = subprocess.run(
        [KSERVE.python, SESSION, server.rest, server.grpc],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checks: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return checks


@pytest.mark.parametrize("name", CHECKS)
def test_kserve(found: dict[str, str], name: str) -> None:
    assert found[name] == ""
