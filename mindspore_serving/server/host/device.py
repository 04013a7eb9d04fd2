"""Which devices models can run on, found out without importing MindSpore.

The main process asks here before it starts workers, so nothing in this module may load a backend.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.host.environment_variable import flag_of

BACKENDS = ("mindspore", "lite", "stub")
"""Names that the environment variable SERVING_BACKEND may have, the default first."""

STUB_NOTE = (
    "SERVING_BACKEND=stub: no model is run, a stand-in answers in its place. Unset the environment variable "
    "SERVING_BACKEND to run models"
)
"""What the stub backend says of itself."""

DEVICE_TYPES = ("ascend", "gpu", "cpu")
"""All device types in order of preference, as start configurations store them."""

_DISPLAY_NAMES = {"ascend": "Ascend", "gpu": "Gpu", "cpu": "Cpu"}
_DEVICE_FILES = {"ascend": "davinci[0-9]*", "gpu": "nvidia[0-9]*"}
_ASCEND_VENDOR = "0x19e5"
_ASCEND_310 = {"0xd100", "0xd500"}
_ASCEND_910 = {"0xd801", "0xd802", "0xd803"}
SHARE_CORES_VARIABLE = "SERVING_SHARE_CORES"
_STUB_SWITCHES = {"gpu": "SERVING_ENABLE_GPU_DEVICE", "cpu": "SERVING_ENABLE_CPU_DEVICE"}


def backend_name(environment: Mapping[str, str] = os.environ) -> str:
    """The backend that runs models, from the environment variable SERVING_BACKEND.

    Args:
        environment: Name to value.

    Returns:
        One of `BACKENDS`; `mindspore` where the variable is not set or empty.

    Raises:
        InvalidParameter: There is no such backend.
    """
    name = environment.get("SERVING_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise InvalidParameter(
            f"Environment variable SERVING_BACKEND can only be {' or '.join(map(repr, BACKENDS))}, but got {name!r}"
        )
    return name


def backend_choice(environment: Mapping[str, str] = os.environ) -> str:
    """What chose the backend, to follow the text of an error; empty where nothing but the default did.

    Args:
        environment: Name to value.
    """
    name = environment.get("SERVING_BACKEND")
    return f" with SERVING_BACKEND={name}" if name else ""


def display_name(device_type: str) -> str:
    """A device type as messages spell what is supported: `Ascend`, `Gpu` or `Cpu`.

    Args:
        device_type: One of `DEVICE_TYPES`.
    """
    return _DISPLAY_NAMES[device_type]


def supported_device_types(
    environment: Mapping[str, str] = os.environ,
    device_folder: Path = Path("/dev"),
    mindspore_folder: Path | None = None,
) -> tuple[str, ...]:
    """Device types on which models can run here, in order of preference.

    With SERVING_BACKEND=lite CPU comes first, and then those whose device files exist: only a model that is loaded on
    one tells whether MindSpore Lite has everything that it needs there.

    The stub backend always has Ascend, and GPU or CPU where SERVING_ENABLE_GPU_DEVICE or SERVING_ENABLE_CPU_DEVICE
    is "1". MindSpore always has CPU; it has Ascend and GPU where its package brings the plugin for it and the
    device files of the hardware exist.

    Args:
        environment: Name to value.
        device_folder: Folder of the device files.
        mindspore_folder: Folder of the MindSpore package; None looks for the installed one.

    Raises:
        InvalidParameter: SERVING_BACKEND names no backend.
    """
    if backend_name(environment) == "stub":
        return tuple(
            device_type
            for device_type in DEVICE_TYPES
            if device_type == "ascend" or environment.get(_STUB_SWITCHES[device_type]) == "1"
        )
    if backend_name(environment) == "lite":
        others = (kind for kind in DEVICE_TYPES if kind != "cpu" and _has_device_files(kind, device_folder))
        return ("cpu", *others)
    folder = mindspore_folder or find_mindspore()
    return tuple(
        device_type
        for device_type in DEVICE_TYPES
        if device_type == "cpu" or (folder and _is_usable(device_type, folder, device_folder))
    )


def takes_one_worker(
    device_type: str,
    environment: Mapping[str, str] = os.environ,
    pci_folder: Path = Path("/sys/bus/pci/devices"),
) -> bool:
    """Whether one device can run the models of one worker only, as Ascend 910 does.

    Ascend 310 is shared by workers. It is known by the numbers of its cards on the PCI bus, and MindSpore Lite stands
    for it. The Ascend devices of the stub backend are 910.

    Args:
        device_type: One of `DEVICE_TYPES`.
        environment: Name to value.
        pci_folder: Folder of the PCI devices.

    Raises:
        InvalidParameter: SERVING_BACKEND names no backend.
    """
    backend = backend_name(environment)
    if device_type != "ascend" or backend == "lite":
        return False
    return backend == "stub" or not _has_only_ascend_310(pci_folder)


def _has_only_ascend_310(pci_folder: Path) -> bool:
    """Whether there are accelerators of Ascend, and each is a 310 or 310P."""
    found = {
        vendor.with_name("device").read_text().strip()
        for vendor in pci_folder.glob("*/vendor")
        if vendor.read_text().strip() == _ASCEND_VENDOR
    }
    accelerators = found & (_ASCEND_310 | _ASCEND_910)
    return bool(accelerators) and accelerators <= _ASCEND_310


def find_mindspore() -> Path | None:
    """Folder of the installed MindSpore package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None  # not there, or a mere folder or script of that name
    return Path(spec.submodule_search_locations[0])


def _is_usable(device_type: str, mindspore_folder: Path, device_folder: Path) -> bool:
    plugins = mindspore_folder / "lib" / "plugin"
    has_plugin = any(plugins.glob(f"libmindspore_{device_type}.so*"))
    return has_plugin and _has_device_files(device_type, device_folder)


def _has_device_files(device_type: str, device_folder: Path) -> bool:
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
