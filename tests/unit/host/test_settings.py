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


def test_the_buckets_of_times() -> None:
    ascending = settings.latency_buckets({})
    assert ascending == tuple(sorted(set(ascending)))
    assert (ascending[0], ascending[-1]) == (0.0005, 60.0)
    assert settings.latency_buckets({"SERVING_LATENCY_BUCKETS": ""}) == ascending
    assert settings.latency_buckets({"SERVING_LATENCY_BUCKETS": "0.01, 1,5e1"}) == (0.01, 1.0, 50.0)


@pytest.mark.parametrize(
    "given", ["a", "1,", "0,1", "-1", "1,1", "2,1", "1,inf", "nan", ",".join(map(str, range(1, 66)))]
)
def test_buckets_of_times_that_are_none(given: str) -> None:
    with pytest.raises(
        RuntimeError, match="SERVING_LATENCY_BUCKETS should be 1 to 64 ascending numbers of seconds"
    ):
        settings.latency_buckets({"SERVING_LATENCY_BUCKETS": given})


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
