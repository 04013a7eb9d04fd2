"""Numbers as people read them, and texts of others as a terminal may show them."""

from __future__ import annotations

from typing import Any

_DASH = "-"
_SPANS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_SIZES = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def plain(value: Any, most: int = 200) -> str:
    """A text of a server as one line: what would steer a terminal is written out.

    Args:
        value: The text.
        most: Characters of it that are shown.
    """
    text = "" if value is None else str(value)
    shown = "".join(
        [one if one.isprintable() else one.encode("unicode_escape").decode() for one in text[:most]]
    )
    return shown if len(text) <= most else f"{shown}..."


def milliseconds(value: Any) -> str:
    """Milliseconds with three digits that count."""
    if not isinstance(value, (int, float)):
        return _DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rate(value: Any) -> str:
    """Something per second."""
    if not isinstance(value, (int, float)):
        return _DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def percent(value: Any) -> str:
    """A share."""
    return f"{value:.0%}" if isinstance(value, (int, float)) else _DASH


def size(value: Any) -> str:
    """Bytes."""
    if not isinstance(value, (int, float)) or not value:
        return _DASH
    unit, name = next((one for one in _SIZES if value >= one[0]), (1, "bytes"))
    return f"{value:.0f} bytes" if unit == 1 else f"{value / unit:,.0f} {name}"


def span(seconds: Any) -> str:
    """A span of time, in its two largest units."""
    if not isinstance(seconds, (int, float)):
        return _DASH
    for place, (length, name) in enumerate(_SPANS):
        if seconds >= length:
            whole = int(seconds // length)
            if place + 1 == len(_SPANS):
                return f"{whole} {name}"
            rest = int(seconds % length // _SPANS[place + 1][0])
            return f"{whole} {name} {rest} {_SPANS[place + 1][1]}" if rest else f"{whole} {name}"
    return "0 s"
