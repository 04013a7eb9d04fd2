"""Variables of the environment that turn something on or off."""

from __future__ import annotations

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.host.environment_variable import flag_of


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("value", [None, "", "0", "1"])
def test_a_variable_says_whether_something_is_on(value: str | None, default: bool) -> None:
    environment = {} if value is None else {"SERVING_X": value}
    assert flag_of("SERVING_X", default, environment) == (value == "1" if value else default)


@pytest.mark.parametrize("value", ["2", "true", " 1", "01"])
def test_another_value_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter, match=f"SERVING_X should be 0 or 1, but got '{value}'"):
        flag_of("SERVING_X", True, {"SERVING_X": value})
