"""The file of a model, before a library reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mindspore_serving.errors import StartUpError


def check_path(path: Path) -> None:
    """Refuse a path that no library can be given, since they take text.

    Raises:
        StartUpError: Its bytes are no UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise StartUpError(
            f"The path {os.fsencode(path)!r} is no UTF-8, expected one that is, since models cannot be loaded from "
            "others: rename the folder whose name is not"
        ) from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A context in which a model file is read.

    Raises:
        StartUpError: It cannot be read; names it and the system's reason.
    """
    try:
        yield
    except OSError as cause:
        raise StartUpError(f"Model file '{path}': the file cannot be read: {cause.strerror}") from cause
