"""What every target holds the code to."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

LONGEST_TEXT = 2000
"""Characters of an error text; none may grow with what a stranger has sent."""


class Contradiction(AssertionError):
    """The code under test has done what it may not do."""


def demand(holds: bool, what: str, *seen: object) -> None:
    """Raise a Contradiction unless something holds.

    Args:
        holds: Whether it does.
        what: What should hold.
        seen: What was seen instead.
    """
    if not holds:
        raise Contradiction(f"{what}: {', '.join(map(repr, seen))[:LONGEST_TEXT]}")


def demand_text(error: BaseException, most: int = LONGEST_TEXT) -> str:
    """The text of an error, which names the fault and has up to `most` characters."""
    text = str(error)
    demand(bool(text.strip()), "an error has a text", error)
    demand(len(text) <= most, f"an error text has up to {most} characters", len(text), text[:200])
    return text


@cache
def scratch_folder() -> Path:
    """A folder for the files of this process."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def file_with(content: bytes, name: str) -> Path:
    """A private file that holds these bytes until the next one of this name."""
    path = scratch_folder() / name
    if not path.exists():
        path.touch(mode=0o600)
    path.write_bytes(content)
    return path
