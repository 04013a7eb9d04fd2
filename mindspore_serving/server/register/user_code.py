"""Where the user's own code is: behind a call that it makes, and in the traceback of what it raises."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SERVING_FOLDER: Final = str(Path(__file__).resolve().parents[2]) + os.sep
_IMPORT_SYSTEM = "<frozen importlib"
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_PACKAGE_FOLDERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def calling_place() -> str:
    """`file:line` of the call that has led into Serving; "" where none has."""
    frame = sys._getframe(1)
    while _is_servings(frame.f_code.co_filename):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def raising_place(error: BaseException, folder: Path) -> str:
    """`file:line` of the user's code that an exception points at.

    Args:
        error: What was raised, with its traceback.
        folder: The servable's folder.

    Returns:
        The line that cannot be parsed; or the innermost line of the user's files; or the innermost line that is not
        Serving's where libraries alone are in the traceback; "" where nothing is.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename, folder):
        return f"{error.filename}:{error.lineno}"
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not _is_servings(frame.f_code.co_filename)
    ]
    own = [place for place in frames if _is_users(place[0], folder)]
    file, line = (own or frames or [("", 0)])[-1]
    return f"{file}:{line}" if file else ""


def user_trace(error: BaseException) -> str:
    """The traceback of an exception and of its causes, without Serving's own frames; "" where no other is in it."""
    told = traceback.TracebackException.from_exception(error)
    chain = list(_chain(told))
    for each in chain:
        others = [frame for frame in each.stack if not _is_servings(frame.filename)]
        each.stack = traceback.StackSummary.from_list(others)
    return "".join(told.format()) if any(each.stack for each in chain) else ""


def _chain(told: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    """An exception and all that stand behind it."""
    while told is not None:
        yield told
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


def _is_servings(file: str) -> bool:
    return file.startswith((SERVING_FOLDER, _IMPORT_SYSTEM))


def _is_users(file: str, folder: Path) -> bool:
    """Whether a file is the user's: in the servable's folder, or at least of no library."""
    if file.startswith(f"{folder}{os.sep}"):
        return True
    return Path(file).is_file() and not (
        file.startswith((SERVING_FOLDER, _STANDARD_LIBRARY)) or any(part in file for part in _PACKAGE_FOLDERS)
    )
