"""Ids of requests: which ones clients may give, and where gRPC has them."""

from __future__ import annotations

import pytest

from mindspore_serving.server.transport.request_id import carries_id, given_id, request_id, usable_id


@pytest.mark.parametrize(
    ("given", "usable"),
    [
        ("a", True),
        (b"0123456789abcdef", True),
        ("!" * 128, True),
        ("", False),
        ("a" * 129, False),
        ("a b", False),
        ("a\n", False),
        ("a\r\nSet-Cookie: b", False),
        (b"\xff", False),
        ("ü", False),
    ],
)
def test_which_ids_are_usable(given: str | bytes, usable: bool) -> None:
    text = given if isinstance(given, str) else given.decode("latin-1")
    assert usable_id(given) == (text if usable else "")
    assert (request_id(given) == text) == usable
    assert usable or len(request_id(given)) == 16
    assert usable or request_id(given) != request_id(given)


def test_ids_in_metadata() -> None:
    plain, twice = (("user-agent", "x"),), (("x-request-id", "a"), ("x-request-id", "b"))
    assert (carries_id(plain), given_id(plain)) == (False, "")
    assert (carries_id(twice), given_id(twice)) == (True, "")
    assert given_id((*plain, ("x-request-id", "a"))) == "a"
