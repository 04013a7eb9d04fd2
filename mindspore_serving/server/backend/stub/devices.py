"""The devices that the stub makes up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindspore_serving.options import DEVICE_TYPES

_SWITCHES = {"gpu": "SERVING_ENABLE_GPU_DEVICE", "cpu": "SERVING_ENABLE_CPU_DEVICE"}


def device_types(environment: Mapping[str, str], _: Path) -> tuple[str, ...]:
    """Ascend always; GPU or CPU where SERVING_ENABLE_GPU_DEVICE or SERVING_ENABLE_CPU_DEVICE is "1".

    Args:
        environment: Name to value.
    """
    return tuple(
        device_type
        for device_type in DEVICE_TYPES
        if device_type == "ascend" or environment.get(_SWITCHES[device_type]) == "1"
    )


def takes_one_worker(device_type: str, pci_folder: Path) -> bool:
    """Its Ascend devices are 910, which take one."""
    return device_type == "ascend"
