"""On which devices MindSpore can run models here, found out without importing it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from mindspore_serving.options import DEVICE_TYPES
from mindspore_serving.server.host.device import has_device_files, has_only_ascend_310


def find_mindspore() -> Path | None:
    """Folder of the installed MindSpore package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None  # not there, or a mere folder or script of that name
    return Path(spec.submodule_search_locations[0])


def device_types(
    _: Mapping[str, str], device_folder: Path, mindspore_folder: Path | None = None
) -> tuple[str, ...]:
    """CPU always; Ascend and GPU where the package brings the plugin and the device files of the hardware exist.

    Args:
        device_folder: Folder of the device files.
        mindspore_folder: Folder of the MindSpore package; None looks for the installed one.
    """
    folder = mindspore_folder or find_mindspore()
    return tuple(
        device_type
        for device_type in DEVICE_TYPES
        if device_type == "cpu"
        or (folder and _has_plugin(device_type, folder) and has_device_files(device_type, device_folder))
    )


def takes_one_worker(device_type: str, pci_folder: Path) -> bool:
    """Ascend 910 does; Ascend 310, which is known by the numbers of its cards on the PCI bus, is shared by workers.

    Args:
        device_type: One of `DEVICE_TYPES`.
        pci_folder: Folder of the PCI devices.
    """
    return device_type == "ascend" and not has_only_ascend_310(pci_folder)


def _has_plugin(device_type: str, mindspore_folder: Path) -> bool:
    plugins = mindspore_folder / "lib" / "plugin"
    return any(plugins.glob(f"libmindspore_{device_type}.so*"))
