"""A value for each option of a servable that is not its default, found from the fields of `ServableSettings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from mindspore_serving.options import ServableSettings

KEY = b"0123456789ABCDEF"
OPTIONS = tuple(option.name for option in fields(ServableSettings))
_HINTS = get_type_hints(ServableSettings)
# Texts are those of something that exists; all other options have the value that their type and default give.
TEXTS = {
    "servable_directory": "folder",
    "servable_name": "add",
    "device_type": "cpu",
    "dec_mode": "AES-CBC",
    "model_path": "folder/add",
    "model_format": "mindir",
}


def other_value(name: str) -> Any:
    """A value that is allowed, and not the default."""
    [option] = [option for option in fields(ServableSettings) if option.name == name]
    hint = _HINTS[name]
    if hint is int:
        return option.default + 3
    if hint is float:
        return option.default + 2.5
    if bool in get_args(hint):
        return False
    if any(get_origin(one) is Mapping for one in get_args(hint)):
        return {"threads": 2, "mode": "fast", "share": 0.5, "on": True}
    if hint == tuple[int, ...]:
        return (*option.default, 1, 4)
    if bytes in get_args(hint):
        return KEY
    assert hint in (str, str | None), f"no value for option {name}: {hint}"
    return TEXTS[name]


def other_values() -> dict[str, Any]:
    """A value of each option that is not its default."""
    return {name: other_value(name) for name in OPTIONS}
