"""Start configurations: which servable to start, on which devices, and how several of them merge."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindspore_serving.check_type import check_and_as_int_tuple_list, check_int, check_str
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.options import DEFAULT_SLOTS, check_dec
from mindspore_serving.server.host.device import (
    backend_choice,
    display_name,
    supported_device_types,
    takes_one_worker,
)
from mindspore_serving.version_folders import LARGEST_VERSION, newest_version

MAX_PARALLEL_WORKERS = 64
MAX_BATCH_DELAY_MS = 60_000
MAX_STAGE_TIMEOUT_MS = 86_400_000
MAX_SLOTS = 16
_DEVICE_TYPES = ("ascend", "gpu", "cpu", "none")
_CONFIG_FILE = "servable_config.py"


class ServableStartConfig:
    """One servable to start with `start_servables`.

    Args:
        servable_directory: Directory that holds the servable's folder; relative to the start script.
        servable_name: Name of the servable, and of its folder.
        device_ids: Devices to load it on, one worker process each. None leaves the placement to the server.
        version_number: Version to serve; 0 takes the newest.
        device_type: `Ascend`, `GPU`, `CPU` or None, case ignored; None takes the first that is there.
        num_parallel_workers: Number of worker processes, at most 64; those beyond the devices run Python stages.
        dec_key: Key of encrypted models, 16, 24 or 32 bytes.
        dec_mode: `AES-GCM` or `AES-CBC`.
        max_batch_delay_ms: Milliseconds that instances may wait for others while a batch is not full, at most 60000; 0
            lets nobody wait. Timers are exact to 1 ms. Without effect on methods whose stages take single instances.
        slots_per_copy: Batches under way in each worker process, 1 to 16: one that runs, the others there when it ends.
        stage_timeout_ms: Milliseconds that one call of a function or model may take, at most 86400000, a day; 0 sets no
            limit. A worker in which a call takes longer is killed and started again. Exact to a quarter of the limit,
            at best to 10 ms.
        max_enqueued_requests: Requests of this servable and version that may be unanswered at a time, beside the limit
            of the whole server; 0 for no further limit.
        max_enqueued_instances: Instances that these requests may have together; 0 for no further limit.
        max_enqueued_bytes: Bytes that their tensors may have together; 0 for no further limit.

    Raises:
        RuntimeError: A parameter has the wrong type or value.
    """

    def __init__(
        self,
        servable_directory: str,
        servable_name: str,
        device_ids: int | Sequence[int] | None = None,
        version_number: int = 0,
        device_type: str | None = None,
        num_parallel_workers: int = 0,
        dec_key: bytes | None = None,
        dec_mode: str = "AES-GCM",
        *,
        max_batch_delay_ms: float = 0,
        slots_per_copy: int = DEFAULT_SLOTS,
        stage_timeout_ms: float = 0,
        max_enqueued_requests: int = 0,
        max_enqueued_instances: int = 0,
        max_enqueued_bytes: int = 0,
    ) -> None:
        check_str("servable_directory", servable_directory)
        check_str("servable_name", servable_name)
        _check_servable_name(servable_name)
        self._servable_directory = servable_directory
        self._servable_name = servable_name
        self._device_ids = (
            () if device_ids is None else check_and_as_int_tuple_list("device_ids", device_ids, 0)
        )
        check_int("version_number", version_number, 0)
        _check_largest_version(version_number)
        self._version_number = version_number
        self._device_type = _check_device_type(device_type)
        positional: object = num_parallel_workers
        if isinstance(
            positional, bytes
        ):  # releases without this parameter had key and mode from this place on
            mode: object = dec_key
            dec_mode = mode if isinstance(mode, str) else dec_mode
            num_parallel_workers, dec_key = 0, positional
        check_int("num_parallel_workers", num_parallel_workers, 0, MAX_PARALLEL_WORKERS)
        self._num_parallel_workers = num_parallel_workers or (0 if self._device_ids else 1)
        check_dec(dec_key, dec_mode)
        self._dec_key = dec_key
        self._dec_mode = dec_mode
        self._max_batch_delay_ms = _check_milliseconds(
            "max_batch_delay_ms", max_batch_delay_ms, MAX_BATCH_DELAY_MS
        )
        check_int("slots_per_copy", slots_per_copy, 1, MAX_SLOTS)
        self._slots_per_copy = slots_per_copy
        self._stage_timeout_ms = _check_milliseconds(
            "stage_timeout_ms", stage_timeout_ms, MAX_STAGE_TIMEOUT_MS
        )
        check_int("max_enqueued_requests", max_enqueued_requests, 0)
        self._max_enqueued_requests = max_enqueued_requests
        check_int("max_enqueued_instances", max_enqueued_instances, 0)
        self._max_enqueued_instances = max_enqueued_instances
        check_int("max_enqueued_bytes", max_enqueued_bytes, 0)
        self._max_enqueued_bytes = max_enqueued_bytes

    def __repr__(self) -> str:
        return (
            f"<ServableStartConfig {self._servable_name} version {self._version_number} "
            f"devices {self._device_ids} {self._device_type}>"
        )

    @property
    def servable_directory(self) -> str:
        """Directory that holds the servable's folder."""
        return self._servable_directory

    @property
    def servable_name(self) -> str:
        """Servable name."""
        return self._servable_name

    @property
    def device_ids(self) -> tuple[int, ...]:
        """Devices; empty where the server places the workers."""
        return self._device_ids

    @property
    def version_number(self) -> int:
        """Version number, 0 for the newest."""
        return self._version_number

    @property
    def device_type(self) -> str:
        """Device type in lower case, `none` where it was not given."""
        return self._device_type

    @property
    def num_parallel_workers(self) -> int:
        """Number of worker processes that was asked for."""
        return self._num_parallel_workers

    @property
    def dec_key(self) -> bytes | None:
        """Key of encrypted models."""
        return self._dec_key

    @property
    def dec_mode(self) -> str:
        """Mode of encrypted models."""
        return self._dec_mode

    @property
    def max_batch_delay_ms(self) -> float:
        """Milliseconds that instances may wait for others while a batch is not full."""
        return self._max_batch_delay_ms

    @property
    def slots_per_copy(self) -> int:
        """Batches under way in each worker process."""
        return self._slots_per_copy

    @property
    def stage_timeout_ms(self) -> float:
        """Milliseconds that one call of a function or model may take, 0 for any time."""
        return self._stage_timeout_ms

    @property
    def max_enqueued_requests(self) -> int:
        """Requests that may be unanswered at a time; 0 for no limit but the server's."""
        return self._max_enqueued_requests

    @property
    def max_enqueued_instances(self) -> int:
        """Instances of requests that may be unanswered at a time; 0 for no limit but the server's."""
        return self._max_enqueued_instances

    @property
    def max_enqueued_bytes(self) -> int:
        """Bytes of requests that may be unanswered at a time; 0 for no limit but the server's."""
        return self._max_enqueued_bytes


def _check_servable_name(servable_name: str) -> None:
    """Check that a name can be that of a folder, and be sent by clients; it may have any other characters."""
    if "/" in servable_name:
        raise InvalidParameter(
            "Parameter 'servable_name' should be the name of a folder in 'servable_directory', without '/', but "
            f"actually {servable_name!r}"
        )
    try:
        servable_name.encode()
    except UnicodeEncodeError as cause:
        raise InvalidParameter(
            f"Parameter 'servable_name' should be text that UTF-8 can encode, but actually {servable_name!r}"
        ) from cause


def _check_largest_version(version_number: int) -> None:
    if version_number > LARGEST_VERSION:
        raise InvalidParameter(
            f"Parameter 'version_number' should be <= {LARGEST_VERSION}, but actually {version_number}"
        )


def _check_milliseconds(name: str, value: object, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidParameter(f"Parameter '{name}' should be int or float, but actually {type(value)}")
    if not 0 <= value <= most:
        raise InvalidParameter(f"Parameter '{name}' should be in range [0,{most}], but actually {value}")
    return value


def _check_device_type(device_type: str | None) -> str:
    if device_type is None:
        return "none"
    check_str("device_type", device_type)
    if device_type.lower() not in _DEVICE_TYPES:
        raise InvalidParameter(
            f"Unsupported device type '{device_type}', only support 'Ascend', 'GPU', 'CPU' and None, case ignored"
        )
    return device_type.lower()


def merge_config(
    configs: Sequence[ServableStartConfig], enable_lite: bool = False
) -> list[ServableStartConfig]:
    """Resolve versions, and merge configurations of the same servable and version.

    Args:
        configs: What the user gave; directories are absolute.
        enable_lite: Whether MindSpore Lite runs the models.

    Returns:
        One configuration per (servable, version), its version resolved (0 only where there is no version directory),
        its device ids ascending.

    Raises:
        StartUpError: A servable does not exist, configurations contradict each other, or a device is to be used twice
            that takes one worker only.
    """
    merged: dict[tuple[str, int], ServableStartConfig] = {}
    directories: dict[str, str] = {}
    for config in configs:
        _check_device_supported(config)
        first = directories.setdefault(config.servable_name, config.servable_directory)
        if first != config.servable_directory:
            raise StartUpError(
                f"The servable directory of servable name {config.servable_name} is different in multiple "
                f"configurations, servable directory: {first} and {config.servable_directory}"
            )
        folder = _check_exists(config)
        version = config.version_number or newest_version(folder)
        key = (config.servable_name, version)
        merged[key] = _united(merged.get(key), config, version)
    if not enable_lite:
        _check_devices_used_once(list(merged.values()))
    return list(merged.values())


def _check_devices_used_once(configs: Sequence[ServableStartConfig]) -> None:
    used: dict[int, ServableStartConfig] = {}
    for config in configs:
        if not takes_one_worker(device_type_of(config)):
            continue
        for device_id in config.device_ids:
            other = used.setdefault(device_id, config)
            if other is not config:
                raise StartUpError(
                    f"Ascend 910 device id {device_id} is used repeatedly in servable {config.servable_name} version "
                    f"{config.version_number}: servable {other.servable_name} version {other.version_number} has it; "
                    "give each a device of its own, as parameter 'device_ids'"
                )


def device_type_of(config: ServableStartConfig) -> str:
    """The type of the devices that a configuration names, `ascend`, `gpu` or `cpu`."""
    return supported_device_types()[0] if config.device_type == "none" else config.device_type


def _check_device_supported(config: ServableStartConfig) -> None:
    supported = supported_device_types()
    if config.device_type == "none" or config.device_type in supported:
        return
    names = [f"'{display_name(device_type)}'" for device_type in supported]
    shown = f"None or {names[0]}" if len(names) == 1 else f"None, {', '.join(names[:-1])} or {names[-1]}"
    raise StartUpError(
        f"The device type '{config.device_type}' of servable name {config.servable_name} is "
        f"inconsistent with current running environment, supported device type: {shown}{backend_choice()}"
    )


def _check_exists(config: ServableStartConfig) -> Path:
    folder = Path(config.servable_directory) / config.servable_name
    where = f"servable directory '{config.servable_directory}', servable name '{config.servable_name}'"
    if not folder.is_dir():
        raise StartUpError(f"Check servable config failed, directory '{folder}' not exist, {where}")
    if not (folder / _CONFIG_FILE).is_file():
        raise StartUpError(
            f"Check servable config failed, file '{folder / _CONFIG_FILE}' not exist,  {where}"
        )
    return folder


def _united(
    earlier: ServableStartConfig | None, config: ServableStartConfig, version: int
) -> ServableStartConfig:
    device_ids = set(config.device_ids)
    workers = config.num_parallel_workers
    if earlier is not None:
        if (earlier.dec_key, earlier.dec_mode) != (config.dec_key, config.dec_mode):
            raise StartUpError(
                f"The dec key or dec mode of servable name {config.servable_name} is different in multiple "
                "configurations."
            )
        if _batching(earlier) != _batching(config):
            raise StartUpError(
                f"The max batch delay or slots per copy of servable name {config.servable_name} is different in "
                "multiple configurations."
            )
        if earlier.stage_timeout_ms != config.stage_timeout_ms:
            raise StartUpError(
                f"The stage timeout of servable name {config.servable_name} is different in multiple configurations."
            )
        if _limits(earlier) != _limits(config):
            raise StartUpError(
                f"The max enqueued requests, instances or bytes of servable name {config.servable_name} is different "
                "in multiple configurations."
            )
        device_ids |= set(earlier.device_ids)
        workers = max(workers, earlier.num_parallel_workers)
    return changed(
        config, device_ids=tuple(sorted(device_ids)), version_number=version, num_parallel_workers=workers
    )


def changed(config: ServableStartConfig, **changes: Any) -> ServableStartConfig:
    """A configuration with other values of some parameters.

    Args:
        config: Has all other values.
        changes: Parameters of `ServableStartConfig`.
    """
    given = {name: getattr(config, name) for name in inspect.signature(ServableStartConfig).parameters}
    given["device_type"] = None if config.device_type == "none" else config.device_type
    return ServableStartConfig(**(given | changes))


def _batching(config: ServableStartConfig) -> tuple[float, int]:
    return config.max_batch_delay_ms, config.slots_per_copy


def _limits(config: ServableStartConfig) -> tuple[int, int, int]:
    return config.max_enqueued_requests, config.max_enqueued_instances, config.max_enqueued_bytes
