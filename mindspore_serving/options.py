"""What a user may set for a servable, and what holds where nothing is set.

An option is written once, as a field of `ServableSettings`: its default, what it may be, and how two configurations of
one servable agree on it. All that follows takes the fields as they are: `ServableStartConfig` is filled by its
constructor, `start/merging.py` merges them, `channel/worker_plan.py` takes them to the worker process as one document,
and the dispatcher gets them once for each version of a servable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from mindspore_serving.check_type import (
    check_and_as_int_tuple_list,
    check_bool,
    check_bytes,
    check_int,
    check_plain_values,
    check_str,
)
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.version_folders import LARGEST_VERSION

DEFAULT_SLOTS = 2
"""Batches in flight per copy: one that runs, and one that is there when it ends."""
DEVICE_TYPES = ("ascend", "gpu", "cpu")
NO_DEVICE_TYPE = "none"
"""What stands for a device type that the user has not named."""
DECLARED_FORMATS = MappingProxyType(
    {"om": "OM", "mindir": "MindIR", "mindir_lite": "MindIR_Lite", "onnx": "ONNX", "paddle": "Paddle"}
)
"""Formats of model files: as declarations store them, and as a servable_config.py writes them."""
MODEL_FORMATS = MappingProxyType(
    {written.lower(): stored for stored, written in DECLARED_FORMATS.items()} | {"mindir_opt": "mindir_lite"}
)
"""Formats as users may write them, in lower case, and as declarations store them. Release 1.2 had `MindIR_Opt`."""
DEC_KEY_LENGTHS = (16, 24, 32)
_DEC_MODES = ("AES-GCM", "AES-CBC")

_KEY = "dec key or dec mode"
_BATCHING = "max batch delay or slots per copy"
_LIMITS = "max enqueued requests, instances or bytes"

Take: TypeAlias = Callable[[str, Any], Any]
"""Checks the value of an option, given its name, and returns what is kept of it; raises InvalidParameter."""
Merge: TypeAlias = Callable[[Any, Any], Any]
"""What holds where two configurations of one servable differ, the earlier one given first."""


@dataclass(slots=True)
class Limits:
    """Most that may be pending at a time; 0 stands for no limit.

    Attributes:
        requests: Requests.
        instances: Their instances.
        byte_size: Bytes of the tensors of their instances.
    """

    requests: int = 0
    instances: int = 0
    byte_size: int = 0


def check_dec(dec_key: bytes | None, dec_mode: str) -> None:
    """Check key and mode of encrypted models.

    Raises:
        InvalidParameter: One of them is none.
    """
    _key("dec_key", dec_key)
    _mode("dec_mode", dec_mode)


def model_format_of(name: str, value: Any) -> str:
    """The format of a model as declarations store it, one of the values of `MODEL_FORMATS`.

    Args:
        name: Name of the parameter that has it.
        value: As the user writes it.

    Raises:
        InvalidParameter: It is none.
    """
    check_str(name, value)
    if value.lower() not in MODEL_FORMATS:
        raise InvalidParameter(
            f"model format can only be {_names_of_formats()}, case ignored, but given {value}"
        )
    return MODEL_FORMATS[value.lower()]


def _names_of_formats() -> str:
    *names, last = DECLARED_FORMATS.values()
    return f"{', '.join(names)} or {last}"


def _folder(name: str, value: Any) -> str:
    check_str(name, value)
    return str(value)


def _name_of_folder(name: str, value: Any) -> str:
    """A name that can be that of a folder, and be sent by clients; it may have any other characters."""
    check_str(name, value)
    if "/" in value:
        raise InvalidParameter(
            f"Parameter '{name}' should be the name of a folder in 'servable_directory', without '/', but actually "
            f"{value!r}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as cause:
        raise InvalidParameter(
            f"Parameter '{name}' should be text that UTF-8 can encode, but actually {value!r}"
        ) from cause
    return str(value)


def _devices(name: str, value: Any) -> tuple[int, ...]:
    return () if value is None else check_and_as_int_tuple_list(name, value, 0)


def _version(name: str, value: Any) -> int:
    check_int(name, value, 0)
    if value > LARGEST_VERSION:
        raise InvalidParameter(f"Parameter '{name}' should be <= {LARGEST_VERSION}, but actually {value}")
    return int(value)


def _device_type(name: str, value: Any) -> str:
    if value is None:
        return NO_DEVICE_TYPE
    check_str(name, value)
    if value.lower() not in (*DEVICE_TYPES, NO_DEVICE_TYPE):
        raise InvalidParameter(
            f"Unsupported device type '{value}', only support 'Ascend', 'GPU', 'CPU' and None, case ignored"
        )
    return str(value.lower())


def _key(name: str, value: Any) -> bytes | None:
    if value is None:
        return None
    check_bytes(name, value)
    if len(value) not in DEC_KEY_LENGTHS:
        raise InvalidParameter(f"Parameter '{name}' length {len(value)} expected to be 16, 24 or 32")
    return bytes(value)


def _mode(name: str, value: Any) -> str:
    check_str(name, value)
    if value not in _DEC_MODES:
        raise InvalidParameter(f"Parameter '{name}' expected to be 'AES-GCM' or 'AES-CBC'")
    return str(value)


def _whole_number(least: int, most: int | None = None) -> Take:
    def take(name: str, value: Any) -> int:
        check_int(name, value, least, most)
        return int(value)

    return take


def _milliseconds(most: int) -> Take:
    def take(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidParameter(f"Parameter '{name}' should be int or float, but actually {type(value)}")
        if not 0 <= value <= most:
            raise InvalidParameter(f"Parameter '{name}' should be in range [0,{most}], but actually {value}")
        return value

    return take


def _united(earlier: tuple[int, ...], later: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*earlier, *later}))


def _later(_: str, later: str) -> str:
    return later


def _path(name: str, value: Any) -> str | None:
    return None if value is None else _folder(name, value)


def _format(name: str, value: Any) -> str:
    return "" if value == "" else model_format_of(name, value)


def _flag(name: str, value: Any) -> bool | None:
    if value is not None:
        check_bool(name, value)
    return None if value is None else bool(value)


def _values_by_name(name: str, value: Any) -> Mapping[str, str | float] | None:
    return check_plain_values(name, value) or None


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for an option, whatever its value is.

    Attributes:
        take: Checks a value, and returns what is kept of it.
        merge: What holds where two configurations differ; None where they may not.
        called: What they differ in, for the error then; the name of the option where it is empty.
        path: Whether it is a path, which is relative to the folder of the start script.
        of_model: Whether it is about the model of a servable without servable_config.py; else `declare_model` has it.
    """

    take: Take
    merge: Merge | None = None
    called: str = ""
    path: bool = False
    of_model: bool = False


def _option(take: Take, default: Any, *, repr: bool = True, **rule: Any) -> Any:
    """A field of `ServableSettings`.

    Args:
        take: Checks a value, and returns what is kept of it.
        default: What holds where nothing is given; MISSING where something has to be.
        repr: Whether texts may show it.
        rule: The rest of its `Rule`.
    """
    return field(default=default, repr=repr, metadata={"rule": Rule(take, **rule)})


@dataclass(frozen=True, eq=False, kw_only=True)
class ServableSettings:
    """All that a user sets for one servable.

    To add an option, add a field here, and the parameter of this name to `ServableStartConfig`. Whoever uses it reads
    it from the settings, which the worker process (`WorkerPlan.settings`) and the dispatcher
    (`Dispatcher.configure`) have.

    Raises:
        InvalidParameter: A value has the wrong type, or is out of bounds.
    """

    servable_directory: str = _option(_folder, MISSING, path=True)
    """Directory that holds the servable's folder."""
    servable_name: str = _option(_name_of_folder, MISSING)
    """Servable name, and name of its folder."""
    device_ids: tuple[int, ...] = _option(_devices, (), merge=_united)
    """Devices to load it on; empty where the server places the workers."""
    version_number: int = _option(_version, 0)
    """Version number; 0 for the newest."""
    device_type: str = _option(_device_type, NO_DEVICE_TYPE, merge=_later)
    """Device type in lower case, `none` where it was not given."""
    num_parallel_workers: int = _option(_whole_number(0, 64), 0, merge=max)
    """Number of worker processes that was asked for; at least 1 where no device is named."""
    dec_key: bytes | None = _option(_key, None, called=_KEY, repr=False)
    """Key of encrypted models; None for plain ones."""
    dec_mode: str = _option(_mode, "AES-GCM", called=_KEY)
    """Mode of encrypted models."""
    max_batch_delay_ms: float = _option(_milliseconds(60_000), 0, called=_BATCHING)
    """Milliseconds that instances may wait for others while a batch is not full."""
    slots_per_copy: int = _option(_whole_number(1, 16), DEFAULT_SLOTS, called=_BATCHING)
    """Batches in flight in each worker process."""
    stage_timeout_ms: float = _option(_milliseconds(86_400_000), 0, called="stage timeout")
    """Milliseconds that one call of a function or model may take, at most a day; 0 for any time."""
    max_enqueued_requests: int = _option(_whole_number(0), 0, called=_LIMITS)
    """Requests that may be pending at a time; 0 for no limit but the server's."""
    max_enqueued_instances: int = _option(_whole_number(0), 0, called=_LIMITS)
    """Instances of requests that may be pending at a time; 0 for no limit but the server's."""
    max_enqueued_bytes: int = _option(_whole_number(0), 0, called=_LIMITS)
    """Bytes of requests that may be pending at a time; 0 for no limit but the server's."""
    model_path: str | None = _option(_path, None, path=True)
    """The servable's folder, or its only file, where that is not `servable_name` in `servable_directory`."""
    model_format: str = _option(_format, "", of_model=True)
    """Format of the model of a servable without servable_config.py; "" where its name tells."""
    with_batch_dim: bool | None = _option(_flag, None, of_model=True)
    """Whether the first dimension of that model is the batch; None where its shapes tell."""
    max_batch_size: int = _option(_whole_number(0), 0, of_model=True)
    """Largest batch of that model, if its first dimension is dynamic; 0 for the default."""
    runtime_options: Mapping[str, str | float] | None = _option(_values_by_name, None, of_model=True)
    """Options of the library that runs that model, by name; None for none."""

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            object.__setattr__(self, name, rule.take(name, getattr(self, name)))
        if not self.device_ids and not self.num_parallel_workers:
            object.__setattr__(self, "num_parallel_workers", 1)


RULES: Mapping[str, Rule] = MappingProxyType(
    {option.name: option.metadata["rule"] for option in fields(ServableSettings)}
)
"""The rule of each option, in the order in which they are checked and merged."""

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {option.name: option.default for option in fields(ServableSettings)}
)
"""What each option is where nothing is given; MISSING where something has to be."""


def folder_of(settings: ServableSettings) -> Path:
    """The servable's folder, with its servable_config.py, or its versions, or its model; or the file that it is."""
    if settings.model_path is not None:
        return Path(settings.model_path)
    return Path(settings.servable_directory) / settings.servable_name
