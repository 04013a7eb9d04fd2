"""Compressed bodies: of any form, of many members, and cut anywhere."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.transport.content_coding import decompress_body
from tests.fuzz import compressed_body

many = settings(max_examples=200)


@many
@given(some.binary(max_size=60), some.integers(0, 4))
def test_compressed_bodies(body: bytes, coding: int) -> None:
    compressed_body.one_input(bytes([coding]) + body)
    compressed_body.one_input(b"\0" + gzip.compress(body) + gzip.compress(body[:3]))
    compressed_body.one_input(b"\1" + zlib.compress(body))


def test_members_cost_time_in_proportion_and_are_limited() -> None:
    member = gzip.compress(b"")
    assert decompress_body(member * 10_000, b"gzip", 100) == b""
    with pytest.raises(InvalidInput, match="more than 10000 members"):
        decompress_body(member * 1_000_000, b"gzip", 100)


def test_members_may_end_anywhere_in_what_is_decompressed_at_a_time() -> None:
    whole = np.random.default_rng(1).bytes(70_000)
    for size in (1, 65_500, 65_513, 65_536, 70_000):
        body = gzip.compress(whole[:size]) + gzip.compress(whole[size:]) + gzip.compress(b"end")
        assert decompress_body(body, b"gzip", 1 << 20) == whole + b"end"
