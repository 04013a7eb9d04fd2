"""The URL grammar of REST: /model/{servable}[/version/{n}]:{method}, with model and version in either order.

Where it is asked what there is to call, the method may be left out.

Some clients encode the colon: where there is none, the first `%3A` is one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from mindspore_serving.errors import InvalidInput, excerpt

_COLON = re.compile("%3A", re.IGNORECASE)
_LARGEST_VERSION = 0xFFFFFFFF


class Target(NamedTuple):
    """What a URL asks for: servable name, method name, and version number with 0 for the newest."""

    name: str
    method: str
    version: int


@lru_cache(maxsize=256)
def parse_target(path: str) -> Target:
    """Read the path of a URL.

    Args:
        path: The raw path, without query string, percent-encoded.

    Raises:
        InvalidInput: The path does not fit the grammar; the text says which part.
    """
    target = parse_description_target(path)
    if not target.method:
        raise InvalidInput("please check url, the keyword:[service method] must contain.")
    return target


def parse_description_target(path: str) -> Target:
    """Read the path of a URL that may leave the method out, which is "" then.

    Args:
        path: As of `parse_target`.

    Raises:
        InvalidInput: The path does not fit the grammar; the text says which part.
    """
    if ":" not in path:
        path = _COLON.sub(":", path, count=1)
    head, _, method = path.partition(":")
    segments = [unquote(segment) for segment in head.split("/") if segment]
    values = _values_of(segments)
    if not values.get("model"):
        raise InvalidInput("please check url, the keyword:[model] must contain.")
    version = _version_of(values["version"]) if "version" in values else 0
    return Target(values["model"], unquote(method), version)


def _values_of(segments: list[str]) -> dict[str, str]:
    """Keyword to value, for the keywords `model` and `version` in either order."""
    values: dict[str, str] = {}
    for at in range(0, len(segments), 2):
        keyword = segments[at]
        value = segments[at + 1] if at + 1 < len(segments) else ""
        if keyword.startswith("version") and keyword != "version":
            _version_of("")
        if keyword not in ("model", "version") or keyword in values:
            raise InvalidInput("please check url, the keyword:[model] must contain.")
        values[keyword] = value
    return values


def _version_of(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidInput(
            f"please check url, the keyword:[version] value invalid, request version number {excerpt(text)}"
        )
    if len(text) > 10 or not 0 <= int(text) < _LARGEST_VERSION:
        raise InvalidInput(
            f"please check url, version number range failed, request version number {excerpt(text)}"
        )
    return int(text)
