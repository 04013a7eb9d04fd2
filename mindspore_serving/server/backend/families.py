"""The families of model libraries that this server runs models with, as a table that imports none of them.

The main process reads it: which family was chosen, which formats it runs, on which devices. Only workers and agents
import a family's backend, and with it the library (ADR 46).

A family is a folder here with two modules, and one line in `FAMILIES`:

* `devices.py` imports no library. It has `device_types(environment, device_folder)`, the device types on which the
  family can run models here, the preferred one first, and `takes_one_worker(device_type, pci_folder)`, whether a device
  can run the models of one worker only.
* `backend.py` has the class that the line names, which is a `contract.Backend`.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.server.backend.contract import Backend
from mindspore_serving.server.host.environment_variable import OWN_ENVIRONMENT

VARIABLE = "SERVING_BACKEND"
"""Environment variable that chooses a family."""
STUB_NOTE = (
    "SERVING_BACKEND=stub: no model is run, a stand-in answers in its place. Unset the environment variable "
    "SERVING_BACKEND to run models"
)
"""What the stub says of itself."""


class Devices(Protocol):
    """What `devices.py` of a family has."""

    def device_types(self, environment: Mapping[str, str], device_folder: Path) -> tuple[str, ...]:
        """Device types on which the family can run models here."""

    def takes_one_worker(self, device_type: str, pci_folder: Path) -> bool:
        """Whether a device of this type can run the models of one worker only."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a model file of a format is called, so that a folder tells which models it holds.

    Attributes:
        pattern: Of its name, as `fnmatch` has them.
        model_format: As `declare_model` stores it.
        beside: Name of a file that has to lie beside it, `{stem}` standing for its own name without the last suffix; ""
            where none has to.
    """

    pattern: str
    model_format: str
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    Attributes:
        name: Name of its folder, and its value of SERVING_BACKEND.
        backend: Name of the class in its `backend.py`.
        formats: Formats of model files that it runs, as `declare_model` stores them, and for each the name of what runs
            them: `{project}_{format}`.
        install: Command that installs what it needs.
        files: What model files of these formats are called.
        runs_ranks: Whether it runs models that are spread over ranks.
        stands_in: Whether it stands in for all others where it was chosen, and is never taken else.
        note: What is logged where it was chosen.
    """

    name: str
    backend: str
    formats: Mapping[str, str]
    install: str = ""
    files: Sequence[ModelFile] = ()
    runs_ranks: bool = False
    stands_in: bool = False
    note: str = ""

    @property
    def devices(self) -> Devices:
        """Its `devices.py`."""
        return cast("Devices", importlib.import_module(f"{__package__}.{self.name}.devices"))

    def new_backend(self) -> Backend:
        """Import its `backend.py`, and make a backend.

        Raises:
            StartUpError: Something that it needs is not installed; names the command that installs it.
        """
        try:
            module = importlib.import_module(f"{__package__}.{self.name}.backend")
        except ImportError as cause:
            raise StartUpError(
                f"Backend '{self.name}' cannot be imported: {cause}; install it with: {self.install}"
            ) from cause
        return cast("Backend", getattr(module, self.backend)())


_BUILD_LITE = "python -m mindspore_serving.lite build"
_INSTALL_MINDSPORE = "pip install 'mindspore_serving[mindspore]'"
FAMILIES = {
    family.name: family
    for family in (
        Family(
            "mindspore",
            "MindSporeBackend",
            {"mindir": "mindspore_mindir"},
            _INSTALL_MINDSPORE,
            (ModelFile("*.mindir", "mindir"),),
            runs_ranks=True,
        ),
        Family(
            "lite",
            "LiteBackend",
            {"mindir": "mindspore_lite_mindir", "mindir_lite": "mindspore_lite_ms"},
            _BUILD_LITE,
            (ModelFile("*.ms", "mindir_lite"),),
        ),
        Family(
            "onnx",
            "OnnxBackend",
            {"onnx": "onnxruntime_onnx"},
            "pip install 'mindspore_serving[onnx]'",
            (ModelFile("*.onnx", "onnx"),),
        ),
        Family(
            "paddle",
            "PaddleBackend",
            {"paddle": "paddle_inference"},
            "pip install 'mindspore_serving[paddle]'",
            (
                ModelFile("*.json", "paddle", beside="{stem}.pdiparams"),
                ModelFile("*.pdmodel", "paddle", beside="{stem}.pdiparams"),
                ModelFile("__model__", "paddle"),
            ),
        ),
        Family(
            "stub",
            "StubBackend",
            {
                "mindir": "stub_mindir",
                "mindir_lite": "stub_ms",
                "om": "stub_om",
                "onnx": "stub_onnx",
                "paddle": "stub_paddle",
            },
            runs_ranks=True,
            stands_in=True,
            note=STUB_NOTE,
        ),
    )
}
"""All families by name, the default first. A format is run by the family that was chosen if that can, else by the first
that can."""


def chosen_family(environment: Mapping[str, str] = OWN_ENVIRONMENT) -> Family:
    """The family that SERVING_BACKEND chooses.

    Args:
        environment: Name to value.

    Returns:
        The default where the variable is not set or empty.

    Raises:
        InvalidParameter: There is no such family.
    """
    name = environment.get(VARIABLE) or next(iter(FAMILIES))
    if name not in FAMILIES:
        raise InvalidParameter(
            f"Environment variable {VARIABLE} can only be {_names_of(FAMILIES)}, but got {name!r}"
        )
    return FAMILIES[name]


def choice_of_family(environment: Mapping[str, str] = OWN_ENVIRONMENT) -> str:
    """What chose the family, to follow the text of an error; empty where nothing but the default did.

    Args:
        environment: Name to value.
    """
    name = environment.get(VARIABLE)
    return f" with {VARIABLE}={name}" if name else ""


def family_of(
    model_format: str, enable_lite: bool, environment: Mapping[str, str] = OWN_ENVIRONMENT
) -> Family:
    """The family that runs models of a format.

    Args:
        model_format: As `declare_model` stores it.
        enable_lite: Whether `lite` runs models that the default could run too.
        environment: Name to value.

    Raises:
        StartUpError: No family runs the format.
        InvalidParameter: SERVING_BACKEND names no family.
    """
    chosen = chosen_family(environment)
    if enable_lite and model_format in FAMILIES["lite"].formats and not chosen.stands_in:
        return FAMILIES["lite"]
    candidates = (chosen, *(family for family in FAMILIES.values() if not family.stands_in))
    for family in candidates:
        if model_format in family.formats:
            return family
    raise StartUpError(
        "Models of format OM cannot be run, expected MindIR or MindIR_Lite: export the model as MindIR"
    )


def format_of(path: Path) -> str | None:
    """The format of a model file, as `declare_model` stores it; None for what is no model file.

    Args:
        path: A file. Some formats have another one beside it.
    """
    for family in FAMILIES.values():
        for kind in family.files:
            beside = kind.beside and kind.beside.format(stem=path.stem)
            if (
                fnmatch.fnmatch(path.name, kind.pattern)
                and path.is_file()
                and (not beside or path.with_name(beside).is_file())
            ):
                return kind.model_format
    return None


def models_in(folder: Path) -> dict[Path, str]:
    """The model files of a folder, and the format of each, as `declare_model` stores it.

    A model of which a folder has two files that share a third, as `NAME.json` and `NAME.pdmodel` share
    `NAME.pdiparams`, is there once.

    Args:
        folder: A folder of a version.

    Raises:
        OSError: The folder cannot be read.
    """
    found: dict[Path, str] = {}
    for path in sorted(folder.iterdir()):
        model_format = format_of(path)
        same = [other for other in found if other.stem == path.stem and found[other] == model_format]
        if model_format is not None and not same:
            found[path] = model_format
    return found


def model_patterns() -> list[str]:
    """What the names of model files look like, as `fnmatch` has them."""
    return [kind.pattern for family in FAMILIES.values() for kind in family.files]


def platform_of(
    model_format: str, enable_lite: bool, environment: Mapping[str, str] = OWN_ENVIRONMENT
) -> str:
    """What runs models of a format, as `{project}_{format}`; arguments and errors as of `family_of`."""
    return family_of(model_format, enable_lite, environment).formats[model_format]


def family_of_ranks(environment: Mapping[str, str] = OWN_ENVIRONMENT) -> Family:
    """The family that runs models which are spread over ranks: the chosen one if it can, else the first that can.

    Args:
        environment: Name to value.
    """
    chosen = chosen_family(environment)
    return next(family for family in (chosen, *FAMILIES.values()) if family.runs_ranks)


def family_named(name: str) -> Family:
    """A family by its name.

    Raises:
        InvalidParameter: There is no such family.
    """
    if name not in FAMILIES:
        raise InvalidParameter(f"Backend {name!r} does not exist, expected {_names_of(FAMILIES)}")
    return FAMILIES[name]


def supported_device_types(
    environment: Mapping[str, str] = OWN_ENVIRONMENT, device_folder: Path = Path("/dev")
) -> tuple[str, ...]:
    """Device types on which the chosen family can run models here, the preferred one first.

    Args:
        environment: Name to value.
        device_folder: Folder of the device files.

    Raises:
        InvalidParameter: SERVING_BACKEND names no family.
    """
    return chosen_family(environment).devices.device_types(environment, device_folder)


def takes_one_worker(
    device_type: str,
    environment: Mapping[str, str] = OWN_ENVIRONMENT,
    pci_folder: Path = Path("/sys/bus/pci/devices"),
) -> bool:
    """Whether one device can run the models of one worker only, as Ascend 910 does.

    Args:
        device_type: One of `DEVICE_TYPES`.
        environment: Name to value.
        pci_folder: Folder of the PCI devices.

    Raises:
        InvalidParameter: SERVING_BACKEND names no family.
    """
    return chosen_family(environment).devices.takes_one_worker(device_type, pci_folder)


def _names_of(families: Mapping[str, Family]) -> str:
    return " or ".join(map(repr, families))
