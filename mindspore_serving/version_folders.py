"""The folders of a servable's versions."""

from __future__ import annotations

from pathlib import Path

from mindspore_serving.errors import StartUpError

LARGEST_VERSION = (1 << 64) - 1
"""What the version number of a request holds."""


def is_version(name: str) -> bool:
    """Whether a folder of this name is one of a version: a number from 1 on, as `str` writes it."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def versions_in(folder: Path) -> list[int]:
    """Versions of a servable: directories with the name of a number, as `str` writes it, from 1 on.

    Args:
        folder: The servable's folder.

    Raises:
        StartUpError: A version is larger than any that a request can name.
    """
    versions = []
    for child in folder.iterdir():
        name = child.name
        if not is_version(name) or not child.is_dir():
            continue
        if len(name) > len(str(LARGEST_VERSION)) or int(name) > LARGEST_VERSION:
            raise StartUpError(
                f"Version directory '{child}' has too large a number, a version is at most {LARGEST_VERSION}; rename it"
            )
        versions.append(int(name))
    return versions


def newest_version(folder: Path) -> int:
    """The largest version directory of a servable; 0 if there is none."""
    return max(versions_in(folder), default=0)
