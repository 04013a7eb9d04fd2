"""Files of keys, of any form."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz import key_file

many = settings(max_examples=200)


@many
@given(some.binary(max_size=80))
def test_key_files(content: bytes) -> None:
    key_file.one_input(content)
