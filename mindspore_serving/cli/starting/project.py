"""Puts a new project together: the model file in its place, and the files around it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from mindspore_serving.cli.checking.places import ModelPlace
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.starting.names import identifiers, output_names
from mindspore_serving.cli.starting.texts import (
    Encryption,
    Plan,
    client_text,
    config_text,
    server_text,
    test_text,
)
from mindspore_serving.cli.trial.jobs import Found

_VERSION = "1"


def files_of(place: ModelPlace) -> list[Path]:
    """The model file, and the files that belong to it: with the same stem, or all of the folder of a `__model__`."""
    path = place.path
    if path.name == "__model__":
        return [one for one in sorted(path.parent.iterdir()) if one.is_file()]
    stem = path.name.removesuffix(path.suffix)
    beside = (one for one in sorted(path.parent.iterdir()) if one.is_file() and one != path)
    other_models = {".onnx", ".mindir", ".ms", ".om", ".pdmodel", ".json"}
    belonging = [
        one
        for one in beside
        if one.name.startswith((f"{stem}.", f"{path.name}_", f"{stem}_variables"))
        and (one.suffix not in other_models)
    ]
    return [path, *belonging]


def plan_of(name: str, place: ModelPlace, found: Found, encryption: Encryption | None = None) -> Plan:
    """What is written for a model.

    Args:
        name: Of the servable.
        place: The model file.
        found: By a trial of it.
        encryption: How it is encrypted; None where it is not.
    """
    [model], [method] = found.models, found.methods
    numbers = [number for _, number in method.given]
    return Plan(
        name,
        place.path.name,
        place.model_format,
        model,
        identifiers(method.sent),
        list(zip(output_names(given for given, _ in method.given), numbers, strict=True)),
        encryption,
    )


def texts_of(plan: Plan) -> dict[str, str]:
    """The files around the model, by their paths in the project."""
    return {
        f"{plan.name}/servable_config.py": config_text(plan),
        "serving_server.py": server_text(plan),
        "client.py": client_text(plan),
        f"test_{plan.name}.py": test_text(plan),
    }


def paths_of(folder: Path, name: str, place: ModelPlace) -> list[Path]:
    """Where all is written, the model's files first."""
    models = [folder / name / _VERSION / one.name for one in files_of(place)]
    around = [f"{name}/servable_config.py", "serving_server.py", "client.py", f"test_{name}.py"]
    return [*models, *(folder / one for one in around)]


def check_free(folder: Path, name: str, place: ModelPlace) -> None:
    """Check that nothing would be overwritten.

    Raises:
        CommandError: Something would; names it.
    """
    there = [path for path in paths_of(folder, name, place) if os.path.lexists(path)]
    if there:
        raise CommandError(
            f"{', '.join(map(str, there))} would be overwritten",
            "Choose another folder with --output, another --name, or overwrite with --force.",
            USAGE,
        )


def place_model(folder: Path, name: str, place: ModelPlace, *, link: bool) -> None:
    """Copy the model's files to their place, or link them there.

    Raises:
        CommandError: They cannot be read or written.
    """
    target = folder / name / _VERSION
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in files_of(place):
            path = target / source.name
            if path.exists() and path.samefile(source):
                continue
            path.unlink(missing_ok=True)
            if link:
                path.symlink_to(source.absolute())
            else:
                shutil.copyfile(source, path)
    except OSError as cause:
        raise CommandError(f"The model cannot be put into {target}: {cause}") from cause


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files around the model.

    Raises:
        CommandError: They cannot be written.
    """
    try:
        for name, text in texts.items():
            (folder / name).write_text(text)
    except OSError as cause:
        raise CommandError(f"The files cannot be written: {cause}") from cause
