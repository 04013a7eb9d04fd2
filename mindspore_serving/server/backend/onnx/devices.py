"""On which devices ONNX Runtime may run models here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mindspore_serving.options import DEVICE_TYPES
from mindspore_serving.server.host.device import has_device_files


def device_types(_: Mapping[str, str], device_folder: Path) -> tuple[str, ...]:
    """CPU, and then those whose device files exist.

    Only a model that is loaded there tells whether the installed ONNX Runtime has what it needs.

    Args:
        device_folder: Folder of the device files.
    """
    return (
        "cpu",
        *(kind for kind in DEVICE_TYPES if kind != "cpu" and has_device_files(kind, device_folder)),
    )


def takes_one_worker(device_type: str, pci_folder: Path) -> bool:
    """None does: sessions share a device."""
    return False
