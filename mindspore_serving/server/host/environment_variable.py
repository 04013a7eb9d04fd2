"""The environment of this process, and variables of it that turn something on or off."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mindspore_serving.errors import InvalidParameter

OWN_ENVIRONMENT: Mapping[str, str] = os.environ
"""The variables of this process, for other rooms that take the environment as a parameter."""


def flag_of(name: str, default: bool, environment: Mapping[str, str]) -> bool:
    """Whether a variable turns something on.

    Args:
        name: Of the variable.
        default: What holds where it is not set, or empty.
        environment: Where to look.

    Raises:
        InvalidParameter: It is neither 0 nor 1.
    """
    text = environment.get(name) or str(int(default))
    if text not in ("0", "1"):
        raise InvalidParameter(f"Environment variable {name} should be 0 or 1, but got {text!r}")
    return text == "1"
