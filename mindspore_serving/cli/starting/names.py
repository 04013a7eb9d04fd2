"""Names of a model's file as names that Python and folders can have."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from pathlib import Path

from mindspore_serving.version_folders import is_version

_TAKEN = frozenset(("register", "model", "predict", "result"))
"""Names that a written servable_config.py uses itself."""


def servable_name(path: Path) -> str:
    """A name for the servable of a model file: that of the file, or of its folder where the file's says nothing.

    The folder of a version says nothing either: the one around it counts.

    Args:
        path: Of the model file.
    """
    parent = path.absolute().parent
    folder = parent.parent if is_version(parent.name) else parent
    for stem in (path.name.partition(".")[0], folder.name):
        name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_")
        if name and stem not in ("__model__", "model", "inference"):
            return f"m_{name}" if name[0].isdigit() else name
    return re.sub(r"\W+", "_", path.name.partition(".")[0], flags=re.ASCII).strip("_") or "model"


def identifiers(names: Iterable[str], taken: Iterable[str] = _TAKEN) -> list[str]:
    """Names of parameters for names of inputs, each another one; a name that is good stays as it is.

    Args:
        names: As the file has them.
        taken: Names that none may have.
    """
    used = set(taken)
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
        if plain[0].isdigit() or keyword.iskeyword(plain):
            plain = f"x_{plain}"
        unique, number = plain, 2
        while unique in used:
            unique, number = f"{plain}_{number}", number + 1
        used.add(unique)
        found.append(unique)
    return found


def output_names(names: Iterable[str]) -> list[str]:
    """Names of outputs in replies: as the file has them, where they are no numbers of a compiler, as `CNode_37:36`.

    Where one is, all are called by their positions, `output_0`.

    Args:
        names: As the file has them.
    """
    listed = list(names)
    good = all(re.fullmatch(r"[A-Za-z_][\w./-]{0,63}", name) for name in listed)
    if good and len(set(listed)) == len(listed):
        return listed
    return [f"output_{position}" for position in range(len(listed))]
