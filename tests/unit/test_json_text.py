"""JSON text: what it holds, and the two ways in which it cannot be read."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest

from mindspore_serving.json_text import load_json


def test_a_document() -> None:
    assert load_json(memoryview(b' {"x": [1, 2.5, null]} ')) == {"x": [1, 2.5, None]}


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"\xff", b"[1] 2"])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        load_json(text)


WITHOUT_MEMORY = """\
import resource

from mindspore_serving.json_text import load_json

text = b"[" + b"1," * (40 << 20) + b"1]"
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
try:
    load_json(text)
except MemoryError:
    print("no memory")
"""


def test_memory_that_is_not_there_is_no_fault_of_the_text() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("no memory\n", "")
