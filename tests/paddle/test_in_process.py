"""The tests that load Paddle into their own process, run in one without MindSpore, which cannot be loaded after it.

`pytest tests/paddle/in_process` runs them one by one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.paddle.conftest import FORMATS, Saved
from tests.paddle.saved_models import MADE_WITHIN_S, MODELS_VARIABLE
from tests.support.serving import REPOSITORY

LIMIT_S = 400


@pytest.mark.timeout(LIMIT_S + 2 * MADE_WITHIN_S)
def test_with_paddle_in_the_process_of_the_tests(both: dict[str, Saved]) -> None:
    folder = "tests/paddle/in_process"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", folder],
        cwd=REPOSITORY,
        env={**os.environ, MODELS_VARIABLE: str(both[FORMATS[0]].folder.parent)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
