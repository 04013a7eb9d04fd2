"""A servable without servable_config.py: which model its folder holds. Files are only looked at here, not opened.

Four things are such a servable:

| what | version |
|---|---|
| a folder with folders of versions, each with one model: `NAME/1/model.onnx` | those of the folders |
| a folder with one model: `NAME/model.onnx`, or what Paddle saves | 1 |
| a file, named after its stem: `NAME.onnx` | 1 |
| a folder with servable_config.py | none of these: what that declares holds |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.errors import StartUpError
from mindspore_serving.options import ServableSettings, folder_of
from mindspore_serving.server.backend.families import format_of, model_patterns, models_in
from mindspore_serving.version_folders import versions_in

CONFIG_FILE = "servable_config.py"
_NEXT_STEP = f"write {CONFIG_FILE}, for which `mindspore-serving init` makes a start"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The one model of a version.

    Attributes:
        path: Its file.
        model_format: As `declare_model` stores it.
    """

    path: Path
    model_format: str


def has_config(place: Path) -> bool:
    """Whether a servable says itself what it consists of.

    Args:
        place: Its folder, or its file.
    """
    return (place / CONFIG_FILE).is_file()


def is_servable(place: Path) -> bool:
    """Whether a folder or a file looks like a servable. One may be found to be none when it is loaded.

    Args:
        place: The folder, or the file.
    """
    try:
        return has_config(place) or bool(versions_of(place) or _models_at(place))
    except (OSError, StartUpError):
        return False


def versions_of(place: Path) -> list[int]:
    """The folders of versions of a servable; none where it is a file, or a folder that holds its model itself.

    Args:
        place: Its folder, or its file.

    Raises:
        StartUpError: The folder cannot be read, or a version is larger than any that a request can name.
    """
    try:
        return versions_in(place) if place.is_dir() else []
    except OSError as cause:
        raise StartUpError(f"Folder '{place}' cannot be read: {cause}") from cause


def model_of(settings: ServableSettings) -> FoundModel:
    """The model of a servable that has no servable_config.py.

    Args:
        settings: Which one, and the version; version 0 is the newest.

    Raises:
        StartUpError: There is no model, or several; names them and what to do.
    """
    place = folder_of(settings)
    versions = versions_of(place)
    version = settings.version_number or max(versions, default=1)
    if versions and version not in versions:
        raise StartUpError(
            f"Servable '{settings.servable_name}' has no version {version}: '{place}' has the versions "
            f"{', '.join(map(str, sorted(versions)))}"
        )
    if not versions and version != 1:
        raise StartUpError(
            f"Servable '{settings.servable_name}' has no version {version}: '{place}' has no folders of versions, so "
            "it is version 1"
        )
    return model_in(place / str(version) if versions else place, settings.model_format)


def model_in(place: Path, model_format: str = "") -> FoundModel:
    """The one model of a folder, or the one that a file is.

    Args:
        place: The folder, or the file.
        model_format: The only format that counts, as `declare_model` stores it; "" for any.

    Raises:
        StartUpError: There is no model, or several; names them and what to do.
    """
    try:
        found = _models_at(place)
    except OSError as cause:
        raise StartUpError(f"'{place}' cannot be read: {cause}") from cause
    wanted = [FoundModel(path, one) for path, one in found.items() if model_format in ("", one)]
    if len(wanted) == 1:
        return wanted[0]
    if place.is_file() and model_format and not wanted:
        return FoundModel(place, model_format)  # the user knows better than the name
    if wanted:
        raise StartUpError(
            f"'{place}' holds {len(wanted)} models and no {CONFIG_FILE} that tells what to do with them: "
            f"{', '.join(one.path.name for one in wanted)}. {_next_step_of(wanted)}"
        )
    raise StartUpError(
        f"{_absence(place, model_format)}. Models are files named {', '.join(model_patterns())}"
    )


def place_by_name(directory: Path, name: str) -> Path | None:
    """The file in a directory that is the servable of a name; None where there is none.

    Args:
        directory: The directory.
        name: The stem of the file.

    Raises:
        StartUpError: There are several; names them.
    """
    try:
        found = [path for path in models_in(directory) if path.stem == name]
    except OSError:
        return None
    if len(found) > 1:
        raise StartUpError(
            f"Servable '{name}' may be any of the files {', '.join(path.name for path in found)} in '{directory}': "
            "name one with parameter 'model_path'"
        )
    return found[0] if found else None


def _models_at(place: Path) -> dict[Path, str]:
    if place.is_dir():
        return models_in(place)
    found = format_of(place)
    return {} if found is None else {place: found}


def _next_step_of(models: list[FoundModel]) -> str:
    formats = {one.model_format for one in models}
    if len(formats) == len(models):
        return f"Choose one with parameter 'model_format', or {_NEXT_STEP}"
    return f"Leave one model in the folder, or {_NEXT_STEP}"


def _absence(place: Path, model_format: str) -> str:
    if not place.exists():
        return f"'{place}' does not exist"
    if not place.is_dir():
        return f"'{place}' does not look like a model"
    of_format = f" of format {model_format}" if model_format else ""
    if not any(place.iterdir()):
        return f"Folder '{place}' is empty, it should hold a model{of_format}"
    return f"Folder '{place}' holds no model{of_format} and no {CONFIG_FILE}"
