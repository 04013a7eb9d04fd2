"""Which servables a start script asks for: versions are resolved, and configurations of one version become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mindspore_serving.errors import StartUpError
from mindspore_serving.options import DEFAULTS, NO_DEVICE_TYPE, RULES, ServableSettings, folder_of
from mindspore_serving.server.backend.families import (
    choice_of_family,
    supported_device_types,
    takes_one_worker,
)
from mindspore_serving.server.backend.model_folder import (
    CONFIG_FILE,
    has_config,
    model_of,
    place_by_name,
    versions_of,
)
from mindspore_serving.server.host.device import display_name


def merge_config(configs: Sequence[ServableSettings], enable_lite: bool = False) -> list[ServableSettings]:
    """Resolve versions, and merge configurations of the same servable and version.

    Args:
        configs: What the user gave; directories are absolute.
        enable_lite: Whether MindSpore Lite runs the models.

    Returns:
        One configuration per (servable, version), its version resolved (0 only where there is no version directory),
        its device ids ascending.

    Raises:
        StartUpError: A servable does not exist, configurations contradict each other, or a device is to be used twice
            that takes one worker only.
    """
    merged: dict[tuple[str, int], ServableSettings] = {}
    directories: dict[str, str] = {}
    for config in configs:
        _check_device_supported(config)
        first = directories.setdefault(config.servable_name, config.servable_directory)
        if first != config.servable_directory:
            raise StartUpError(
                f"The servable directory of servable name {config.servable_name} is different in multiple "
                f"configurations, servable directory: {first} and {config.servable_directory}"
            )
        resolved = _resolved(config)
        key = (resolved.servable_name, resolved.version_number)
        merged[key] = _united(merged.get(key, resolved), resolved)
    if not enable_lite:
        _check_devices_used_once(list(merged.values()))
    return list(merged.values())


def _united(earlier: ServableSettings, later: ServableSettings) -> ServableSettings:
    """Two configurations of one version as one, option by option; one alone is united with itself.

    Raises:
        StartUpError: They differ in an option in which they may not.
    """
    return replace(later, **{name: _agreed(name, earlier, later) for name in RULES})


def _agreed(name: str, earlier: ServableSettings, later: ServableSettings) -> Any:
    rule = RULES[name]
    values = getattr(earlier, name), getattr(later, name)
    if rule.merge is not None:
        return rule.merge(*values)
    if values[0] != values[1]:
        raise StartUpError(
            f"The {rule.called or name.replace('_', ' ')} of servable name {later.servable_name} is different in "
            "multiple configurations."
        )
    return values[0]


def _check_devices_used_once(configs: Sequence[ServableSettings]) -> None:
    used: dict[int, ServableSettings] = {}
    for config in configs:
        if not takes_one_worker(device_type_of(config)):
            continue
        for device_id in config.device_ids:
            other = used.setdefault(device_id, config)
            if other is not config:
                raise StartUpError(
                    f"Ascend 910 device id {device_id} is used repeatedly in servable {config.servable_name} version "
                    f"{config.version_number}: servable {other.servable_name} version {other.version_number} has it; "
                    "give each a device of its own, as parameter 'device_ids'"
                )


def device_type_of(config: ServableSettings) -> str:
    """The type of the devices that a configuration names, `ascend`, `gpu` or `cpu`."""
    return supported_device_types()[0] if config.device_type == NO_DEVICE_TYPE else config.device_type


def _check_device_supported(config: ServableSettings) -> None:
    supported = supported_device_types()
    if config.device_type == NO_DEVICE_TYPE or config.device_type in supported:
        return
    names = [f"'{display_name(device_type)}'" for device_type in supported]
    shown = f"None or {names[0]}" if len(names) == 1 else f"None, {', '.join(names[:-1])} or {names[-1]}"
    raise StartUpError(
        f"The device type '{config.device_type}' of servable name {config.servable_name} is "
        f"inconsistent with current running environment, supported device type: {shown}{choice_of_family()}"
    )


def _resolved(config: ServableSettings) -> ServableSettings:
    """The configuration with its version, and with the path of its model where it is a file.

    Raises:
        StartUpError: There is no such servable, or it is none.
    """
    where = f"servable directory '{config.servable_directory}', servable name '{config.servable_name}'"
    if config.model_path is None and not folder_of(config).exists():
        file = place_by_name(Path(config.servable_directory), config.servable_name)
        config = config if file is None else replace(config, model_path=str(file))
    place = folder_of(config)
    if not place.exists():
        raise StartUpError(f"Check servable config failed, directory '{place}' not exist, {where}")
    if has_config(place):
        _check_nothing_of_model(config)
    else:
        _check_model(config, where)
    return replace(config, version_number=config.version_number or max(versions_of(place), default=0))


def _check_nothing_of_model(config: ServableSettings) -> None:
    """Refuse options that would say of a model what `declare_model` says.

    Raises:
        StartUpError: There is one; names it.
    """
    for name in (name for name, rule in RULES.items() if rule.of_model):
        if getattr(config, name) != DEFAULTS[name]:
            raise StartUpError(
                f"Parameter '{name}' of servable {config.servable_name} is for servables without {CONFIG_FILE}, but "
                f"'{folder_of(config) / CONFIG_FILE}' exists: say it there, to declare_model"
            )


def _check_model(config: ServableSettings, where: str) -> None:
    try:
        model_of(config)
    except StartUpError as cause:
        place = folder_of(config)
        if not place.is_dir():
            raise StartUpError(f"Check servable config failed, {cause}, {where}") from None
        raise StartUpError(
            f"Check servable config failed, file '{place / CONFIG_FILE}' not exist,  {where}; and without it: {cause}"
        ) from None
