"""URLs of any form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz import rest_target

many = settings(max_examples=200)


@many
@given(
    some.text(max_size=40), some.sampled_from(["/model/{}:m", "/model/a/version/{}:m", "/{}/model/a:m", "{}"])
)
def test_urls(text: str, form: str) -> None:
    rest_target.one_input(form.format(text).encode())


@pytest.mark.parametrize("form", ["/model/a/version/{}:m", "/version/-{}/model/a:m"])
def test_a_long_version_is_not_repeated_whole(form: str) -> None:
    for text in ("9" * 60_000, "x" * 60_000):
        rest_target.one_input(form.format(text).encode())
