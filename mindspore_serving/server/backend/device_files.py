"""What `devices.py` of a family says whose library runs on CPU always, and on what else the machine shows (ADR 46)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindspore_serving.options import DEVICE_TYPES
from mindspore_serving.server.host.device import has_device_files


def device_types(_: Mapping[str, str], device_folder: Path) -> tuple[str, ...]:
    """CPU, and then those whose device files exist.

    Only a model that is loaded there tells whether the installed library has everything that it needs.

    Args:
        device_folder: Folder of the device files.
    """
    return (
        "cpu",
        *(kind for kind in DEVICE_TYPES if kind != "cpu" and has_device_files(kind, device_folder)),
    )


def takes_one_worker(device_type: str, pci_folder: Path) -> bool:
    """None does: workers share a device."""
    return False
