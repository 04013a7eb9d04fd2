"""What a path on the command line names: servables, and the model files of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.families import format_of, model_patterns, models_in
from mindspore_serving.server.backend.model_folder import has_config, versions_of
from mindspore_serving.server.start.servable_path import servables_at


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
    """A servable, and all model files that it holds.

    Attributes:
        path: Its folder, or its file.
        has_config: Whether it has a servable_config.py.
        models: Model files of all its versions.
    """

    path: Path
    has_config: bool
    models: Sequence[ModelPlace]


def model_at(path: Path) -> ModelPlace:
    """A model file.

    Raises:
        CommandError: It is none; says which names they have.
    """
    if not path.is_file():
        raise CommandError(f"'{path}' is no file", exit_code=USAGE)
    model_format = format_of(path)
    if not model_format:
        raise CommandError(
            f"'{path}' does not look like a model: expected a name like {', '.join(model_patterns())}",
            "A saved Paddle model needs its file of parameters beside it.",
            USAGE,
        )
    return ModelPlace(path, model_format)


def places_at(path: Path) -> list[ServablePlace]:
    """The servable at a path, or those that lie in it.

    Raises:
        CommandError: There are none.
    """
    try:
        return [_place(one) for one in servables_at(str(path))]
    except StartUpError as cause:
        raise CommandError(
            str(cause), "`mindspore-serving init MODEL_FILE` makes a servable.", USAGE
        ) from cause


def _place(path: Path) -> ServablePlace:
    if path.is_file():
        model_at(path)  # else that the name is none of a model is found when a process has been started
        return ServablePlace(path, False, [])
    folders = [(path / str(version), version) for version in sorted(versions_of(path))] or [(path, 0)]
    models = [
        ModelPlace(file, model_format, version)
        for folder, version in folders
        for file, model_format in models_in(folder).items()
    ]
    return ServablePlace(path, has_config(path), models)
