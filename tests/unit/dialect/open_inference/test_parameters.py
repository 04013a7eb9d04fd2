"""Parameters of requests."""

from __future__ import annotations

from typing import Any

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.parameters import Options, options_of, sooner


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, Options()),
        ({"method": "add"}, Options(method="add")),
        ({"priority": 2}, Options(priority=2)),
        ({"priority": (1 << 64) - 1}, Options(priority=(1 << 64) - 1)),
        ({"priority": 0, "timeout": 0}, Options()),
        ({"timeout": 1_500_000}, Options(timeout_s=1.5)),
        ({"timeout": (1 << 64) - 1}, Options(timeout_s=86_400.0)),
        ({"sequence_id": 0, "sequence_start": False, "sequence_end": False}, Options()),
        ({"sequence_id": ""}, Options()),
        ({"binary_data_output": True, "headers": "h", "triton_enable_empty_final_response": True}, Options()),
        ({"top_k": 5, "mode": "x", "priority": 1}, Options(priority=1, others={"top_k": 5, "mode": "x"})),
    ],
)
def test_parameters(parameters: dict[str, Any], expected: Options) -> None:
    assert options_of(parameters) == expected


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"priority": -1},
            "Parameter priority should be a whole number from 0 to 18446744073709551615, but is -1",
        ),
        ({"priority": 1.0}, "but is 1.0"),
        ({"priority": True}, "but is True"),
        ({"priority": "1"}, "but is '1'"),
        ({"timeout": -5}, "Parameter timeout should be a whole number"),
        ({"priority": 1 << 64}, "Parameter priority should be a whole number"),
        ({"timeout": 1 << 64}, "Parameter timeout should be a whole number"),
        ({"method": ""}, "Parameter method should be the name of a method, but is ''"),
        ({"method": 1}, "Parameter method should be the name of a method, but is 1"),
        (
            {"sequence_id": 7},
            "Parameter sequence_id is 7, but this server keeps nothing from request to request",
        ),
        ({"sequence_id": "a"}, "Parameter sequence_id is 'a'"),
        ({"sequence_start": True}, "Parameter sequence_start is True"),
        ({"sequence_end": True}, "Parameter sequence_end is True"),
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options_of(parameters)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(None, None, None), (1.0, None, 1.0), (None, 2.0, 2.0), (1.0, 2.0, 1.0), (2.0, 1.0, 1.0)],
)
def test_the_sooner_time(one: float | None, other: float | None, expected: float | None) -> None:
    assert sooner(one, other) == expected
