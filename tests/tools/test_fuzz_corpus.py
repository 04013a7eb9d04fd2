"""The inputs that fuzzing has found, each as a test; `./build.sh fuzz` looks for more."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator

import pytest

from tests.fuzz.targets import CORPUS, MOST_BYTES, inputs, load

NEEDS = {"mindir_file": "mindspore"}
"""Target to the package without which it has nothing to read."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals are logged, thousands of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("target", MOST_BYTES)
def test_every_input_of_the_corpus_is_read_or_refused(target: str) -> None:
    needed = NEEDS.get(target)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    one_input = load(target)
    kept = inputs(target)
    assert kept
    for path in kept:
        try:
            one_input(path.read_bytes())
        except Exception as error:
            pytest.fail(f"{path.relative_to(CORPUS)}: {error!r}")


def test_there_is_a_corpus_for_targets_only() -> None:
    assert {path.name for path in CORPUS.iterdir()} == MOST_BYTES.keys()
