"""Which bodies are read on the event loop, and which elsewhere."""

from __future__ import annotations

import gzip
import zlib

import pytest

from mindspore_serving.errors import InvalidInput, UnsupportedCoding
from mindspore_serving.server.transport.http.small_body import SMALL_BYTES, json_is_quick, small_body


@pytest.mark.parametrize(
    "body, coding, large",
    [
        (b"1," * (1 << 17), "", False),
        (b"1," * (1 << 17) + b"1", "", True),
        (b"1," * (1 << 17) + b"1", " Identity", True),
        (bytes(1 << 23), "", False),
        (bytes((1 << 23) + 1), "", True),
        (bytes(1 << 22) + b"," * (1 << 14), "", False),
        (bytes(1 << 22) + b"," * ((1 << 14) + 1), "", True),
        (gzip.compress(bytes(1 << 18)), "gzip", False),
        (gzip.compress(bytes((1 << 18) + 1)), "gzip", True),
        (zlib.compress(bytes((1 << 18) + 1)), "deflate", True),
    ],
)
def test_json_is_large_by_its_values(body: bytes, coding: str, large: bool) -> None:
    small = small_body(body, coding, json_is_quick)
    assert (small is None) is large
    if not large:
        assert small == (gzip.decompress(body) if coding == "gzip" else body)


@pytest.mark.parametrize("quick", [False, True])
def test_a_format_says_what_is_quick_of_it(quick: bool) -> None:
    def is_quick(body: bytes) -> bool:
        asked.append(len(body))
        return quick

    asked: list[int] = []
    assert small_body(bytes(SMALL_BYTES), "", is_quick) is not None
    assert asked == []
    assert (small_body(bytes(SMALL_BYTES + 1), "", is_quick) is not None) is quick
    assert asked == [SMALL_BYTES + 1]
    assert small_body(gzip.compress(bytes(SMALL_BYTES + 1)), "gzip", is_quick) is None
    assert asked == [SMALL_BYTES + 1]


def test_what_is_not_compressed_as_it_says() -> None:
    with pytest.raises(InvalidInput, match="body is not gzip"):
        small_body(b"{}", "gzip", json_is_quick)
    with pytest.raises(UnsupportedCoding, match="Content-Encoding br is not supported"):
        small_body(b"{}", "br", json_is_quick)
    with pytest.raises(UnsupportedCoding, match="is not supported"):
        small_body(b"{}", "\u4e2d", json_is_quick)
