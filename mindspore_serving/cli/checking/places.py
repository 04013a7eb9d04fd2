"""What a path on the command line names: a servable, several, or model files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.families import FAMILIES, models_in
from mindspore_serving.version_folders import versions_in

_CONFIG_FILE = "servable_config.py"


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A model file.

    Attributes:
        path: Of the file.
        model_format: Its format, as `families.models_in` has it.
        version: Version folder that it lies in; 0 where it is in none.
    """

    path: Path
    model_format: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class ServablePlace:
    """The folder of a servable.

    Attributes:
        folder: The folder.
        has_config: Whether it has a servable_config.py.
        models: Model files of all its versions.
    """

    folder: Path
    has_config: bool
    models: Sequence[ModelPlace]


def format_of(path: Path) -> str:
    """The format of a model file by its name; "" where it is none.

    Args:
        path: Of the file.
    """
    if not path.parent.is_dir():
        return ""
    return models_in(path.parent).get(path, "")


def model_at(path: Path) -> ModelPlace:
    """A model file.

    Raises:
        CommandError: It is none; says which names they have.
    """
    if not path.exists():
        raise CommandError(f"'{path}' does not exist", exit_code=USAGE)
    model_format = format_of(path)
    if not model_format:
        patterns = dict.fromkeys(kind.pattern for family in FAMILIES.values() for kind in family.files)
        raise CommandError(
            f"'{path}' is no model file: expected a name like {', '.join(patterns)}", exit_code=USAGE
        )
    return ModelPlace(path, model_format)


def servables_at(folder: Path) -> list[ServablePlace]:
    """The servable that a folder is, or those that lie in it.

    Raises:
        CommandError: There are none.
    """
    if not folder.is_dir():
        raise CommandError(f"'{folder}' does not exist", exit_code=USAGE)
    own = _servable_at(folder)
    if own is not None:
        return [own]
    inside = [_servable_at(child) for child in sorted(folder.iterdir()) if child.is_dir()]
    found = [one for one in inside if one is not None]
    if not found:
        raise CommandError(
            f"'{folder}' holds no servable: expected {_CONFIG_FILE}, or a folder with the number of a version and a "
            "model file in it",
            "`mindspore-serving init MODEL_FILE` makes one.",
            USAGE,
        )
    return found


def _servable_at(folder: Path) -> ServablePlace | None:
    has_config = (folder / _CONFIG_FILE).is_file()
    try:
        versions = sorted(versions_in(folder))
    except StartUpError as cause:
        raise CommandError(str(cause), exit_code=USAGE) from cause
    models = [
        ModelPlace(path, model_format, version)
        for version in versions
        for path, model_format in models_in(folder / str(version)).items()
    ]
    return ServablePlace(folder, has_config, models) if has_config or models else None
