"""The devices of this machine. On which of them models can run depends on what runs them: see `backend.families`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path

from mindspore_serving.server.host.environment_variable import flag_of

_DISPLAY_NAMES = {"ascend": "Ascend", "gpu": "Gpu", "cpu": "Cpu"}
_DEVICE_FILES = {"ascend": "davinci[0-9]*", "gpu": "nvidia[0-9]*"}
_ASCEND_VENDOR = "0x19e5"
_ASCEND_310 = {"0xd100", "0xd500"}
_ASCEND_910 = {"0xd801", "0xd802", "0xd803"}
SHARE_CORES_VARIABLE = "SERVING_SHARE_CORES"


def display_name(device_type: str) -> str:
    """A device type as messages spell what is supported: `Ascend`, `Gpu` or `Cpu`.

    Args:
        device_type: One of `DEVICE_TYPES`.
    """
    return _DISPLAY_NAMES[device_type]


def has_only_ascend_310(pci_folder: Path) -> bool:
    """Whether there are accelerators of Ascend, and each is a 310 or 310P.

    Args:
        pci_folder: Folder of the PCI devices, `/sys/bus/pci/devices`.
    """
    found = {
        vendor.with_name("device").read_text().strip()
        for vendor in pci_folder.glob("*/vendor")
        if vendor.read_text().strip() == _ASCEND_VENDOR
    }
    accelerators = found & (_ASCEND_310 | _ASCEND_910)
    return bool(accelerators) and accelerators <= _ASCEND_310


def has_device_files(device_type: str, device_folder: Path) -> bool:
    """Whether the system shows devices of a type.

    Args:
        device_type: `ascend` or `gpu`.
        device_folder: Folder of the device files, `/dev`.
    """
    return any(device_folder.glob(_DEVICE_FILES[device_type]))


def shares_of_cores(
    copies: int, cores: Collection[int] | None = None, environment: Mapping[str, str] = os.environ
) -> list[tuple[int, ...]]:
    """The CPU cores that each copy of a servable keeps to, so that their threads are not in each other's way.

    Args:
        copies: How many there are.
        cores: Cores that may be used; None for those of this process.
        environment: Where SERVING_SHARE_CORES may be set to 0, which gives every copy all cores.

    Returns:
        Cores by copy, neighbours together; empty tuples, which stand for any core, where there is nothing to share.

    Raises:
        InvalidParameter: SERVING_SHARE_CORES is neither 0 nor 1.
    """
    wanted = flag_of(SHARE_CORES_VARIABLE, True, environment)
    usable = sorted(os.sched_getaffinity(0) if cores is None else cores)
    if not wanted or not 1 < copies <= len(usable):
        return [()] * copies
    ends = [len(usable) * at // copies for at in range(copies + 1)]
    return [tuple(usable[begin:end]) for begin, end in pairwise(ends)]
