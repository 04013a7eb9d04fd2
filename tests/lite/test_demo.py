"""The demo with models on Lite."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.example.test_examples import DEMO_TIMEOUT_S, copy_of_examples
from tests.support.serving import REPOSITORY, running_script


@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore exports the models")
def test_demo_check_with_lite(tmp_path: Path) -> None:
    folder = copy_of_examples(REPOSITORY / "example", tmp_path / "example")
    with running_script(folder / "demo.py", "--lite", "--check") as demo:
        assert demo.wait(DEMO_TIMEOUT_S) == 0, demo.output
    for text in ("Exporting the Add model", "Exporting LeNet", "with MindSpore Lite"):
        assert text in demo.output
    assert re.search(r"^==> All 9 replies were right", demo.output, re.MULTILINE)
    assert (folder / "lenet" / "lite" / "lenet" / "1" / "lenet.mindir").is_file()
