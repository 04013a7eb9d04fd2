"""Options of libraries: which there are, and what each may be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.runtime_options import (
    Choice,
    Flag,
    Number,
    OptionKind,
    Words,
    check_options,
    words_of,
)

KNOWN: dict[str, OptionKind] = {
    "level": Choice(("low", "high")),
    "threads": Number(1),
    "spin": Flag(),
    "names": Words(),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"level": "low"}, {"threads": 1, "spin": False}, {"names": "a, b"}, {"names": "a", "level": "high"}],
)
def test_taken(options: dict[str, Any]) -> None:
    assert check_options(options, KNOWN, "Library") == options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": "low"}, "has the unknown name 'levels', expected 'level', 'threads', 'spin', 'names'"),
        ({"level": "middle"}, "has level='middle', expected 'low' or 'high'"),
        ({"level": 1}, "has level=1, expected 'low' or 'high'"),
        ({"threads": 0}, "has threads=0, expected an int from 1 on"),
        ({"threads": True}, "has threads=True, expected an int from 1 on"),
        ({"threads": 1.5}, "has threads=1.5, expected an int from 1 on"),
        ({"spin": 1}, "has spin=1, expected True or False"),
        ({"names": ""}, "has names='', expected names separated by commas"),
        ({"names": "a, ,b"}, "has names='a, ,b', expected names separated by commas"),
        ({"names": 2}, "has names=2, expected names separated by commas"),
    ],
)
def test_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(StartUpError, match=re.escape(f"runtime_options of Library {text}")):
        check_options(options, KNOWN, "Library")


def test_words() -> None:
    assert words_of(" a, b ,c") == ["a", "b", "c"]
