"""The header by which a client of REST limits the time of its request."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.transport.request_timeout import read_timeout_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1", 0.001), ("2500", 2.5), (" 0.5 ", 0.0005), ("007", 0.007), ("86400000", 86400.0)],
)
def test_times(value: str, seconds: float) -> None:
    assert read_timeout_s(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", " ", "0", "0.0", "-1", "+1", "1e3", "nan", "inf", "1_000", "1,5", ".5", "5.", "5, 6", "5 ms",
     "86400000.1", "9" * 5000, "\xff", "\u0663", "5\xa0"],
)  # fmt: skip
def test_what_is_no_time(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_timeout_s(value)
    shown = repr(value.strip(" "))
    assert str(caught.value) == (
        "Header X-Request-Timeout-Ms should be a number of milliseconds above 0 and at most 86400000, "
        f"but got {shown}"
    )
