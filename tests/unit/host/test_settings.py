"""Settings that a start script may change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindspore_serving.server.host import settings


@pytest.mark.parametrize("name", ["requests", "instances", "bytes"])
@pytest.mark.parametrize(
    ("value", "text"),
    [(0, ">= 1"), (True, "int, but actually <class 'bool'>"), (2.0, "int, but actually <class 'float'>")],
)
def test_limits_that_are_none(name: str, value: object, text: str) -> None:
    before = replace(settings.server_limits)
    with pytest.raises(RuntimeError) as caught:
        getattr(settings, f"set_max_enqueued_{name}")(value)
    assert str(caught.value) == f"Parameter 'max_enqueued_{name}' should be {text}"
    assert settings.server_limits == before
