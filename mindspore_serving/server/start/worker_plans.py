"""From what a start script configures to the workers that are started for it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.options import Limits
from mindspore_serving.server.host.device import shares_of_cores, supported_device_types
from mindspore_serving.server.start.servable_start_config import ServableStartConfig, changed, device_type_of
from mindspore_serving.server.supervision.worker_process import WorkerPlan


def check_configs(servable_configs: Any) -> list[ServableStartConfig]:
    """What a user gave to `start_servables` as configurations whose directories are absolute.

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


def script_folder() -> Path:
    """Folder of the start script, which relative paths are relative to."""
    return Path(os.path.realpath(sys.argv[0])).parent


def absolute(config: ServableStartConfig) -> ServableStartConfig:
    """The configuration with its directory resolved against the folder of the start script."""
    return changed(config, servable_directory=os.path.realpath(script_folder() / config.servable_directory))


def plans_of(config: ServableStartConfig, enable_lite: bool = False) -> list[WorkerPlan]:
    """The workers that a merged configuration asks for."""
    device_type = device_type_of(config)
    extra = max(0, config.num_parallel_workers - len(config.device_ids))
    if not config.device_ids and config.device_type == "none" and "cpu" in supported_device_types():
        device_type = "cpu"
    limits = Limits(config.max_enqueued_requests, config.max_enqueued_instances, config.max_enqueued_bytes)
    device = WorkerPlan(
        servable_directory=config.servable_directory,
        servable_name=config.servable_name,
        version=config.version_number or 1,
        device_type=device_type,
        device_id=0,
        has_device=True,
        serves_calls=extra > 0,
        enable_lite=enable_lite,
        dec_key=config.dec_key,
        dec_mode=config.dec_mode,
        batch_slots=config.slots_per_copy,
        batch_delay_s=config.max_batch_delay_ms / 1000,
        stage_timeout_ms=config.stage_timeout_ms,
        limits=limits,
    )
    # Without devices every worker loads models of its own, on CPU.
    other = replace(device, has_device=False, remote_models=bool(config.device_ids), serves_calls=False)
    copies = len(config.device_ids)
    shares = shares_of_cores(copies) if device_type == "cpu" else [()] * copies
    return [
        replace(device, device_id=number, cores=cores)
        for number, cores in zip(config.device_ids, shares, strict=True)
    ] + [replace(other, device_id=index) for index in range(extra)]
