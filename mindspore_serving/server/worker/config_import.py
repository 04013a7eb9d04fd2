"""The import of a servable_config.py, by its location and under the name of its servable.

A servable may have the name of an installed module, whose users must still find it, and of a script beside it, which
must not be taken for it. So the package is put together here, before anything of it runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

from mindspore_serving import log
from mindspore_serving.errors import StartUpError, text_of
from mindspore_serving.options import ServableSettings, folder_of
from mindspore_serving.server.host.forked_child import end_forked_child, this_process
from mindspore_serving.server.register.definition import ServableDefinition
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.register.user_code import raising_place


def import_servable_config(settings: ServableSettings) -> ServableDefinition:
    """Import servable_config.py by its location, as module `{servable}.servable_config`.

    Neighbouring modules can be imported as `.helper` and as `{servable}.helper`. Code of the servable may also import
    what lies beside its folder, where nothing of that name is installed; Serving itself imports nothing from there.

    Raises:
        StartUpError: The file raises, or registers nothing.
    """
    package = _package_of(settings)
    if settings.servable_directory not in sys.path:
        sys.path.append(settings.servable_directory)
    definition = open_definition(settings.servable_name, str(folder_of(settings)))
    module_name = f"{settings.servable_name}.servable_config"
    try:
        if package.__spec__ is not None and folder_of(settings) / "__init__.py" == Path(
            package.__spec__.origin or ""
        ):
            _run(package, package.__spec__)
        spec = importlib.util.spec_from_file_location(module_name, folder_of(settings) / "servable_config.py")
        assert spec is not None
        _run(importlib.util.module_from_spec(spec), spec)
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # the user's file may raise anything, or call sys.exit
        if this_process.forked:
            end_forked_child(cause)
        where = _where(cause, definition, folder_of(settings))
        raise StartUpError(f"import {module_name} failed, {text_of(cause)}{where}") from cause
    if this_process.forked:
        end_forked_child()
    definition.failed_method = None
    if not definition.exposed:
        problem = f"Servable '{settings.servable_name}' has not been registered"
        if definition.models:
            problem = "There is no method registered for servable"
        raise StartUpError(
            f"Raise failed: {problem}: {folder_of(settings) / 'servable_config.py'} decorates no function with "
            "register.register_method"
        )
    return definition


def _where(error: BaseException, definition: ServableDefinition, folder: Path) -> str:
    """The line of the user's code that is to blame, and the method that was being registered, to follow a text."""
    file_and_line = raising_place(error, folder)
    where = f"at {file_and_line}" if file_and_line else ""
    if definition.failed_method is not None:
        method, raised = definition.failed_method
        if raised is error:
            where = f"method '{method}'{', ' if where else ''}{where}"
    return f" ({where})" if where else ""


def _package_of(settings: ServableSettings) -> types.ModuleType:
    """The servable's package, in `sys.modules`; its `__init__.py` has not run yet.

    The installed module that has the servable's name is taken, so that its users still find it. Nothing is looked up in
    folders of the user, where a script may have the servable's name.
    """
    name, folder = settings.servable_name, str(folder_of(settings))
    package = sys.modules.get(name) or _installed_module(settings)
    if package is None:
        file = folder_of(settings) / "__init__.py"
        spec = None
        if file.is_file():
            spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[folder])
        package = types.ModuleType(name) if spec is None else importlib.util.module_from_spec(spec)
    if folder not in getattr(package, "__path__", []):
        package.__path__ = [*getattr(package, "__path__", []), folder]
    sys.modules[name] = package
    return package


def _installed_module(settings: ServableSettings) -> types.ModuleType | None:
    """What is installed under the servable's name, imported."""
    folders = {settings.servable_directory}
    with contextlib.suppress(OSError):  # it was removed
        folders.add(os.path.realpath("."))
    folders |= {str(parent) for folder in folders for parent in Path(folder).parents}
    all_entries = sys.path
    sys.path = [entry for entry in all_entries if entry and os.path.realpath(entry) not in folders]
    try:
        spec = importlib.util.find_spec(settings.servable_name)
    except (ImportError, ValueError):
        spec = None
    finally:
        sys.path = all_entries
    if spec is None or spec.origin is None:
        return None
    module = importlib.util.module_from_spec(spec)
    try:
        _run(module, spec)
    except ImportError as error:
        log.warning(
            "Servable %s has the name of a module that cannot be imported: %s", settings.servable_name, error
        )
        return None
    return module


def _run(module: types.ModuleType, spec: ModuleSpec) -> None:
    """Run a module, which is found under its name from then on."""
    assert spec.loader is not None
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
