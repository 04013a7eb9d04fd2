"""What stands between verb and version of HTTP."""

from __future__ import annotations


def path_of(target: str) -> str:
    """The raw path of a target: without query string, host and the like, percent-encoded."""
    text = target.partition("#")[0].partition("?")[0]
    if not text.startswith("/"):
        _, slashes, rest = text.partition("://")
        text = "/" + rest.partition("/")[2] if slashes else text
    return text
