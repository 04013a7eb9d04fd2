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


@pytest.mark.parametrize(
    ("environment", "library"),
    [
        ({}, "core"),
        ({"SERVING_GRPC": ""}, "core"),
        ({"SERVING_GRPC": "core"}, "core"),
        ({"SERVING_GRPC": "aio"}, "aio"),
    ],
)
def test_the_library_of_grpc(environment: dict[str, str], library: str) -> None:
    assert settings.grpc_library(environment) == library


@pytest.mark.parametrize("given", ["AIO", "sync", "1", " aio"])
def test_a_library_of_grpc_that_is_none(given: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        settings.grpc_library({"SERVING_GRPC": given})
    assert (
        str(caught.value) == f"Environment variable SERVING_GRPC should be 'core' or 'aio', but got {given!r}"
    )
