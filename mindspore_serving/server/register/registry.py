"""The servable whose servable_config.py is being imported, or has been imported, in this process.

A process holds one servable. The worker opens a definition before it imports the file; calls of `declare_model` and its
kin find it here.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.definition import ServableDefinition

_CONFIG_FILE = "servable_config.py"

_opened: ServableDefinition | None = None


def open_definition(name: str, directory: str) -> ServableDefinition:
    """Start collecting what a servable_config.py declares.

    Args:
        name: Servable name.
        directory: Directory of the file.
    """
    global _opened
    _opened = ServableDefinition(name, directory)
    return _opened


def current() -> ServableDefinition:
    """The servable of this process.

    Raises:
        RegistrationError: No servable_config.py is being imported.
    """
    if _opened is None:
        return open_definition(*_from_call_stack())
    return _opened


def current_or_none() -> ServableDefinition | None:
    """The servable of this process, if there is one."""
    return _opened


def get_servable_dir() -> str:
    """Directory of the servable_config.py that is being imported.

    Raises:
        RuntimeError: None is.
    """
    return current().directory


def _from_call_stack() -> tuple[str, str]:
    """Servable name and directory of the servable_config.py further up in the call stack."""
    for frame in inspect.stack():
        if frame.filename.endswith(_CONFIG_FILE):
            directory = Path(frame.filename).resolve().parent
            return directory.name, str(directory)
    raise RegistrationError("Failed to obtain the directory of servable_config.py")
