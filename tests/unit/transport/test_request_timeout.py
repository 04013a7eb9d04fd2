"""The header by which a client of REST limits the time of its request."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.transport.request_timeout import read_timeout_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1", 0.001), (b"2500", 2.5), (b" 0.5 ", 0.0005), (b"007", 0.007), (b"86400000", 86400.0)],
)
def test_times(value: bytes, seconds: float) -> None:
    assert read_timeout_s(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b"0", b"0.0", b"-1", b"+1", b"1e3", b"nan", b"inf", b"1_000", b"1,5", b".5", b"5.", b"5, 6", b"5 ms",
     b"86400000.1", b"9" * 5000, b"\xff", "\u0663".encode()],
)  # fmt: skip
def test_what_is_no_time(value: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_timeout_s(value)
    shown = repr(value.strip().decode("latin-1"))
    assert str(caught.value) == (
        "Header X-Request-Timeout-Ms should be a number of milliseconds above 0 and at most 86400000, "
        f"but got {shown}"
    )
