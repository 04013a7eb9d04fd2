"""From what a start script configures to the workers that are started for it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.options import NO_DEVICE_TYPE, RULES, ServableSettings
from mindspore_serving.server.backend.families import supported_device_types
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.host.device import shares_of_cores
from mindspore_serving.server.start.merging import device_type_of, merge_config
from mindspore_serving.server.start.servable_start_config import ServableStartConfig


def check_configs(servable_configs: Any) -> list[ServableSettings]:
    """What a user gave to `start_servables` as settings whose paths are absolute.

    Raises:
        InvalidParameter: It is no configuration, and no list of some.
    """
    if isinstance(servable_configs, ServableStartConfig):
        servable_configs = [servable_configs]
    if not isinstance(servable_configs, (list, tuple)):
        raise InvalidParameter(
            "Parameter 'servable_configs' should be ServableStartConfig, list or tuple of ServableStartConfig, but "
            f"actually {type(servable_configs)}"
        )
    for config in servable_configs:
        if not isinstance(config, ServableStartConfig):
            raise InvalidParameter(
                f"The item of parameter 'servable_configs' should be ServableStartConfig, but actually {type(config)}"
            )
    if not servable_configs:
        raise InvalidParameter("Parameter 'servable_configs' should hold at least one ServableStartConfig")
    return [absolute(config) for config in servable_configs]


def plans_for(servable_configs: Any, enable_lite: bool) -> list[WorkerPlan]:
    """The workers that the configurations given to `start_servables` ask for.

    Raises:
        InvalidParameter: There is none, or something that is no configuration.
        StartUpError: As `merge_config`.
    """
    merged = merge_config(check_configs(servable_configs), enable_lite)
    return [plan for settings in merged for plan in plans_of(settings, enable_lite)]


def script_folder() -> Path:
    """Folder of the start script, which relative paths are relative to."""
    return Path(os.path.realpath(sys.argv[0])).parent


def absolute(settings: ServableSettings) -> ServableSettings:
    """The settings with their paths resolved against the folder of the start script.

    They are of the plain class: one of the user's own may have another constructor.
    """
    values = {name: getattr(settings, name) for name in RULES}
    for name, rule in RULES.items():
        if rule.path and values[name] is not None:
            values[name] = os.path.realpath(script_folder() / values[name])
    return ServableSettings(**values)


def plans_of(merged: ServableSettings, enable_lite: bool = False) -> list[WorkerPlan]:
    """The workers that merged settings ask for."""
    device_type = device_type_of(merged)
    if not merged.device_ids and merged.device_type == NO_DEVICE_TYPE and "cpu" in supported_device_types():
        device_type = "cpu"
    settings = replace(merged, version_number=merged.version_number or 1, device_type=device_type)
    copies = len(settings.device_ids)
    extra = max(0, settings.num_parallel_workers - copies)
    shares = shares_of_cores(copies) if device_type == "cpu" else [()] * copies
    on_devices = [
        WorkerPlan(
            settings, number, has_device=True, serves_calls=extra > 0, enable_lite=enable_lite, cores=cores
        )
        for number, cores in zip(settings.device_ids, shares, strict=True)
    ]
    # Without devices every worker loads models of its own, on CPU.
    return on_devices + [
        WorkerPlan(settings, index, has_device=False, remote_models=copies > 0, enable_lite=enable_lite)
        for index in range(extra)
    ]
