"""The fuzz targets: each is a module of this folder with a function `one_input`, and a folder of the corpus."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_BYTES = {
    "predict_message": 4096,
    "infer_message": 4096,
    "json_body": 4096,
    "form_body": 4096,
    "v1_body": 4096,
    "paddle_body": 4096,
    "infer_body": 4096,
    "rest_target": 512,
    "http_stream": 4096,
    "compressed_body": 4096,
    "rank_table_file": 4096,
    "channel_stream": 4096,
    "cluster_peer": 4096,
    "mindir_file": 4096,
    "key_file": 2048,
}
"""Target to the most bytes of an input that is made up."""


def load(target: str) -> Callable[[bytes], None]:
    """The function that takes one input of a target.

    Args:
        target: One of `MOST_BYTES`.
    """
    one_input: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.{target}").one_input
    return one_input


def inputs(target: str) -> list[Path]:
    """The inputs that are kept for a target."""
    return sorted((CORPUS / target).glob("*"))
