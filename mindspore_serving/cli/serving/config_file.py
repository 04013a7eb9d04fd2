"""`ServerConfig` as YAML: read with an error that names the line, and written so that it can be served again."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

import yaml

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.cli.serving.config import Servable, ServerConfig, keys_of, servable_options
from mindspore_serving.server.telemetry.access_log.observer import STDOUT

_T = TypeVar("_T")
_PRINT_SCHEMA = "`mindspore-serving serve --print-schema` prints all keys"


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of a file.

    Attributes:
        file: Name of the file.
        path: Of the value, as `models[0].path`.
        node: What YAML has there.
    """

    file: str
    path: str
    node: yaml.Node

    def inside(self, part: str, node: yaml.Node) -> _Place:
        path = f"{self.path}{part}" if part.startswith("[") else f"{self.path}.{part}".removeprefix(".")
        return _Place(self.file, path, node)

    def error(self, problem: str, next_step: str = "") -> CommandError:
        """What is wrong there."""
        mark = self.node.start_mark
        where = self.file if mark is None else f"{self.file}, line {mark.line + 1}"
        return CommandError(f"{where}: {self.path + ' ' if self.path else ''}{problem}", next_step, USAGE)


def read_config(file: Path) -> ServerConfig:
    """Read a file; paths in it are relative to its folder.

    Raises:
        CommandError: It cannot be read, or does not fit; names the line, the key and what is expected.
    """
    try:
        if file.exists() and not file.is_file():  # to read a FIFO would wait for ever
            raise CommandError(f"{file} is no regular file", exit_code=USAGE)
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise CommandError(f"{file} cannot be read: {cause}", exit_code=USAGE) from cause
    node = _composed(str(file), text)
    if node is None:
        raise CommandError(f"{file} is empty, expected the key 'models' at least", _PRINT_SCHEMA, USAGE)
    config = _read_object(ServerConfig, _Place(file.name, "", node))
    if not config.models:
        raise _Place(file.name, "models", node).error("should hold at least one servable")
    return _with_absolute_paths(config, file.absolute().parent)


def read_option(name: str, text: str) -> Any:
    """The value of an option of a servable, as a file would have it.

    Args:
        name: Its name.
        text: Its value, YAML.

    Raises:
        CommandError: There is no such option, or it has another type.
    """
    options = servable_options()
    node = _composed(f"--option {name}", text) or yaml.ScalarNode("tag:yaml.org,2002:null", "")
    place = _Place("--option", name, node)
    if name not in options:
        raise place.error(_unknown(name, list(options)), _PRINT_SCHEMA)
    return _read_value(options[name].hint, place)


def _composed(what: str, text: str) -> Any:
    """The node of a text; None where it is empty.

    Raises:
        CommandError: It is no YAML, or nested too deep.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as cause:
        raise CommandError(f"{what} is no YAML: {cause}", exit_code=USAGE) from cause
    except RecursionError as cause:
        raise CommandError(f"{what} is nested too deep", exit_code=USAGE) from cause


def write_config(config: ServerConfig) -> str:
    """The YAML of a configuration; `read_config` gives the same again."""
    return str(yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True, width=100))


def _plain(value: Any) -> Any:
    if isinstance(value, Servable):
        given = {
            one.name: getattr(value, one.name)
            for one in dataclasses.fields(value)
            if one.name != "options" and getattr(value, one.name) is not None
        }
        return given | {name: _plain(option) for name, option in value.options.items()}
    if dataclasses.is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def _read_object(kind: type[_T], place: _Place) -> _T:
    keys = keys_of(kind)
    if not isinstance(place.node, yaml.MappingNode):
        raise place.error(f"should be keys and values, but is {_shown(place.node)}", _PRINT_SCHEMA)
    found: dict[str, Any] = {}
    for key_node, value_node in place.node.value:
        name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else _shown(key_node)
        at_key = place.inside(name, key_node)
        if name not in keys:
            raise at_key.error(_unknown(name, list(keys)), _PRINT_SCHEMA)
        if name in found:
            raise at_key.error("is there twice")
        found[name] = _read_value(keys[name].hint, place.inside(name, value_node))
    for key in keys.values():
        if key.default is MISSING and key.name not in found:
            raise place.error(f"has no '{key.name}': {key.help}", _PRINT_SCHEMA)
    if kind is Servable:
        options = {name: found.pop(name) for name in servable_options() if name in found}
        found["options"] = options
    return kind(**found)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"is no key here{f', did you mean {near[0]!r}?' if near else f', expected one of {known}'}"


def _read_value(hint: Any, place: _Place) -> Any:
    """The value at a place, as its type hint says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _read_object(hint, place)
    if origin is UnionType or NoneType in arguments:
        others = [one for one in arguments if one is not NoneType]
        if NoneType in arguments and place.node.tag == "tag:yaml.org,2002:null":
            return None
        if len(others) == 1:
            return _read_value(others[0], place)
    if origin is tuple:
        if not isinstance(place.node, yaml.SequenceNode):
            return (_read_value(arguments[0], place),)  # one value stands for a list of it
        return tuple(
            _read_value(arguments[0], place.inside(f"[{i}]", one)) for i, one in enumerate(place.node.value)
        )
    if origin is Mapping:
        if not isinstance(place.node, yaml.MappingNode):
            raise place.error(f"should be keys and values, but is {_shown(place.node)}")
        return {str(key.value): _scalar(place.inside(str(key.value), one)) for key, one in place.node.value}
    return _typed(hint, place)


def _typed(hint: type, place: _Place) -> Any:
    value = _scalar(place)
    if hint is float and type(value) is int:
        return value
    if type(value) is not hint:
        raise place.error(f"should be {_NAMES[hint]}, but is {_shown(place.node)}")
    return value


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _scalar(place: _Place) -> Any:
    if not isinstance(place.node, yaml.ScalarNode):
        raise place.error(f"should be a single value, but is {_shown(place.node)}")
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(place.node)
    except (yaml.YAMLError, ValueError) as cause:
        raise place.error(f"cannot be read: {cause}") from cause


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys and values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return repr(node.value)[:80] if node.value else "empty"


def _with_absolute_paths(config: ServerConfig, folder: Path) -> ServerConfig:
    """The configuration with its paths resolved against a folder."""

    def required(path: str) -> str:
        return os.path.normpath(folder / path)

    def resolved(path: str | None) -> str | None:
        return None if path is None else required(path)

    models = tuple(
        dataclasses.replace(one, path=required(one.path), dec_key_file=resolved(one.dec_key_file))
        for one in config.models
    )
    tls = config.tls and dataclasses.replace(
        config.tls,
        certificate=required(config.tls.certificate),
        private_key=required(config.tls.private_key),
        custom_ca=resolved(config.tls.custom_ca),
    )
    log = dataclasses.replace(config.log, directory=resolved(config.log.directory))
    access_log = (
        config.access_log_file if config.access_log_file == STDOUT else required(config.access_log_file)
    )
    return dataclasses.replace(
        config,
        models=models,
        tls=tls,
        log=log,
        api_keys=resolved(config.api_keys),
        access_log_file=access_log,
    )
