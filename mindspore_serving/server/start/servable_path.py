"""A servable by its path, as the command line has it: a folder, or the file of a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.families import model_patterns
from mindspore_serving.server.backend.model_folder import CONFIG_FILE, has_config, is_servable, versions_of
from mindspore_serving.server.start.servable_start_config import ServableStartConfig
from mindspore_serving.version_folders import is_version


def config_for(path: str, name: str = "", **options: Any) -> ServableStartConfig:
    """The configuration of the servable at a path.

    Args:
        path: Its folder, or the file of its only model; relative to the working directory.
        name: Name of the servable; "" for that of the folder, or of the file without its suffix.
        options: Other parameters of `ServableStartConfig`.

    Raises:
        InvalidParameter: An option has the wrong type or value.
    """
    place = Path(os.path.realpath(path))
    own_name = name_of(place)
    directory, name = str(place.parent), name or own_name
    if place.is_file() or name != place.name:
        options["model_path"] = str(place)
    return ServableStartConfig(directory, name, **options)


def name_of(place: Path) -> str:
    """Name of the servable at a path: that of the folder, or of the file without its suffix.

    `__model__` has the name of its folder. The folder of a version, as `lenet/1`, is named after the one around it.
    """
    folder = place.parent if place.is_file() else place
    if place.is_file() and place.name != "__model__":
        return place.stem
    return folder.parent.name if is_version(folder.name) and folder.parent.name else folder.name


def servables_at(path: str) -> list[Path]:
    """The servables at a path.

    Args:
        path: A servable, or a folder of servables, each a folder or the file of a model; relative to the working
            directory. A folder that holds one model and no servables is a servable.

    Returns:
        Their paths in order, at least one.

    Raises:
        StartUpError: There is none; the text says what was looked for.
    """
    place = Path(os.path.realpath(path))
    if not place.exists():
        raise StartUpError(f"'{path}' does not exist")
    if not place.is_dir() or has_config(place) or versions_of(place):
        return [place]
    try:
        inside = [child for child in sorted(place.iterdir()) if is_servable(child)]
    except OSError as cause:
        raise StartUpError(f"'{path}' cannot be read: {cause}") from cause
    if len(inside) == 1 and inside[0].is_file():
        return [place]
    if not inside:
        raise StartUpError(
            f"'{path}' is no servable, and none lies in it: it has neither {CONFIG_FILE}, nor folders of versions, nor "
            f"a model, nor folders that have one of these. Models are files named {', '.join(model_patterns())}"
        )
    return inside
