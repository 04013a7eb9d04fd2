"""Where the library of MindSpore Lite is, or would be."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "2.0.0"
"""The release of MindSpore Lite; `shim.cc` relies on its binary interface."""

FOLDER_VARIABLE = "SERVING_LITE_FOLDER"
"""Environment variable that names the folder instead."""

SHIM_SOURCE = Path(__file__).with_name("shim.cc")
HOW_TO_BUILD = "python -m mindspore_serving.lite build (in a source tree: ./build.sh lite)"

_FOLDER_NAME = f"mindspore-lite-{VERSION}"


def folders(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Folders that may hold the library, the first choice first; it is built into this one.

    That of the environment variable SERVING_LITE_FOLDER alone where it is set; else that of the virtual environment,
    and that of the user.

    Args:
        environment: Name to value.
    """
    named = environment.get(FOLDER_VARIABLE)
    if named:
        return (Path(named).expanduser().absolute(),)
    of_user = _data_folder(environment) / "mindspore_serving" / _FOLDER_NAME
    if sys.prefix == sys.base_prefix:
        return (of_user,)
    return (Path(sys.prefix) / "share" / "mindspore_serving" / _FOLDER_NAME, of_user)


def _data_folder(environment: Mapping[str, str]) -> Path:
    named = environment.get("XDG_DATA_HOME")
    if named:
        return Path(named)
    try:
        home = Path.home()
    except RuntimeError:  # a user id without a name, as containers have them, and without HOME
        home = Path("/")
    return home / ".local" / "share"


def library_of(folder: Path) -> Path:
    """The compiled `shim.cc` below a folder of `folders`; it finds the libraries beside it."""
    return folder / "lib" / "libserving_lite.so"


def stamp_of(folder: Path) -> Path:
    """The file that says what a folder was built from."""
    return folder / "stamp"


def fingerprint() -> str:
    """What an up-to-date folder has in its stamp."""
    return f"{VERSION} {hashlib.sha256(SHIM_SOURCE.read_bytes()).hexdigest()}\n"


def is_built(folder: Path) -> bool:
    """Whether a folder holds a library that was built from this `shim.cc`."""
    return _stamp(folder) == fingerprint() and library_of(folder).is_file()


def has_libraries(folder: Path) -> bool:
    """Whether a folder was built from this release of MindSpore Lite, be it from another `shim.cc`."""
    return _stamp(folder).startswith(f"{VERSION} ")


def _stamp(folder: Path) -> str:
    try:
        return stamp_of(folder).read_text(errors="replace")
    except OSError:
        return ""


def find_library(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The library to use; None where none is built, or it was built from another release of this package.

    Args:
        environment: Name to value.
    """
    return next((library_of(folder) for folder in folders(environment) if is_built(folder)), None)
