"""Which devices there are."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.options import DEVICE_TYPES
from mindspore_serving.server.host.device import display_name, shares_of_cores


def test_display_names() -> None:
    assert [display_name(device_type) for device_type in DEVICE_TYPES] == ["Ascend", "Gpu", "Cpu"]


@pytest.mark.parametrize(
    ("copies", "cores", "expected"),
    [
        (1, (0, 1), [()]),
        (2, (0, 1), [(0,), (1,)]),
        (2, (7, 3, 5), [(3,), (5, 7)]),
        (3, (0, 1, 2, 3, 4, 5, 6, 7), [(0, 1), (2, 3, 4), (5, 6, 7)]),
        (3, (0, 1), [(), (), ()]),
        (0, (0, 1), []),
    ],
)
def test_shares_of_cores(copies: int, cores: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    assert shares_of_cores(copies, cores, {}) == expected
    assert shares_of_cores(copies, cores, {"SERVING_SHARE_CORES": "1"}) == expected
    assert shares_of_cores(copies, cores, {"SERVING_SHARE_CORES": "0"}) == [()] * copies


def test_a_wrong_setting_of_shares_of_cores() -> None:
    with pytest.raises(InvalidParameter) as refused:
        shares_of_cores(2, (0, 1), {"SERVING_SHARE_CORES": "no"})
    assert str(refused.value) == "Environment variable SERVING_SHARE_CORES should be 0 or 1, but got 'no'"
