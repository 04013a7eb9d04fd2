"""From the command line to `ServerConfig`: paths become servables, and options go before what a file says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.serving.config import Log, Servable, ServerConfig, Tls
from mindspore_serving.cli.serving.config_file import read_config
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.start.servable_path import name_of, servables_at
from mindspore_serving.server.telemetry.access_log.observer import STDOUT

_SETTINGS = (".yaml", ".yml")
_NONE = "none"


def config_of(
    paths: Sequence[str], name: str | None, given: Mapping[str, Any], options: Mapping[str, Any]
) -> ServerConfig:
    """What is to be served.

    Args:
        paths: Servables, folders of servables, or one file of settings; relative to the working directory.
        name: Name of the servable, where there is one; None for that of its path.
        given: Keys of `ServerConfig` that the command line has; None for those that it has not.
        options: Parameters of `ServableStartConfig` for all servables.

    Raises:
        CommandError: A path is none of these, or two servables have one name.
    """
    settings = [path for path in paths if Path(path).suffix.lower() in _SETTINGS and not Path(path).is_dir()]
    if settings and len(paths) > 1:
        raise CommandError(
            f"'{settings[0]}' says all that is served; it cannot be beside other paths", exit_code=USAGE
        )
    config = read_config(Path(settings[0])) if settings else ServerConfig(models=_servables(paths))
    models = tuple(
        dataclasses.replace(one, options={**one.options, **options}, name=name or one.name)
        for one in config.models
    )
    if name is not None and len(models) > 1:
        raise CommandError(f"--name is for one servable, but there are {len(models)}", exit_code=USAGE)
    _check_names(models)
    return dataclasses.replace(config, models=models, **_changes(config, given))


def _servables(paths: Sequence[str]) -> tuple[Servable, ...]:
    try:
        found = [place for path in paths for place in servables_at(path)]
    except (StartUpError, OSError) as error:
        raise CommandError(
            str(error),
            "name a servable's folder, as NAME of NAME/1/model.onnx, a folder of such folders, or the file of a model",
            USAGE,
        ) from error
    return tuple(Servable(path=str(place), options={}) for place in found)


def _check_names(models: Sequence[Servable]) -> None:
    places: dict[tuple[str, int], str] = {}
    for one in models:
        key = one.name or name_of(Path(one.path)), one.options.get("version_number", 0)
        if places.setdefault(key, one.path) != one.path:
            raise CommandError(
                f"'{places[key]}' and '{one.path}' are both servable '{key[0]}'",
                "give one another name: with --name, or with 'name' in a YAML file",
                USAGE,
            )


def _changes(config: ServerConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    changes = {key: value for key, value in given.items() if key not in ("tls", "log") and value is not None}
    for front_end in ("grpc", "rest"):
        if str(changes.get(front_end, "")).lower() == _NONE:
            changes[front_end] = None
    if "api_keys" in changes:
        changes["api_keys"] = str(Path(changes["api_keys"]).absolute())
    if changes.get("access_log_file", STDOUT) != STDOUT:
        changes["access_log_file"] = str(Path(changes["access_log_file"]).absolute())
    certificate, key = given.get("tls") or (None, None)
    if (certificate is None) != (key is None):
        raise CommandError("--tls-certificate and --tls-key need each other", exit_code=USAGE)
    if certificate is not None and key is not None:
        changes["tls"] = Tls(
            certificate=str(Path(certificate).absolute()), private_key=str(Path(key).absolute())
        )
    level, directory = given.get("log") or (None, None)
    changes["log"] = Log(
        level=level or config.log.level,
        directory=str(Path(directory).absolute()) if directory else config.log.directory,
    )
    return changes
