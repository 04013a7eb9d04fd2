"""The tests that load Paddle into their own process, run in one without MindSpore, which cannot be loaded after it.

`pytest tests/paddle/in_process` runs them one by one.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.serving import REPOSITORY

LIMIT_S = 400


@pytest.mark.timeout(LIMIT_S + 20)
def test_with_paddle_in_the_process_of_the_tests() -> None:
    folder = "tests/paddle/in_process"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
