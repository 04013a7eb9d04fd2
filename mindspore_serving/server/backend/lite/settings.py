"""How Lite is to run a model: what a `LoadRequest` says, in Lite's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mindspore_serving.server.backend.contract import LoadRequest

_ASCEND_PRECISION = {
    "force_fp16": "enforce_fp16",
    "allow_fp32_to_fp16": "preferred_fp32",
    "must_keep_origin_dtype": "enforce_origin",
    "allow_mix_precision": "preferred_optimal",
}
_SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class LiteSettings:
    """Where and how Lite runs a model.

    Attributes:
        thread_num: Threads that compute; 0 leaves it to Lite.
        parallel_num: Most operators side by side; 0 leaves it to Lite.
        cores: CPU cores of the threads; empty for any.
        devices: Device types with their options by name, the first choice first. On Ascend and GPU the CPU follows, for
            operators that these do not have.
    """

    thread_num: int
    parallel_num: int
    cores: tuple[int, ...]
    devices: tuple[tuple[str, Mapping[str, str]], ...]


def settings_of(request: LoadRequest) -> LiteSettings:
    """Translate a request.

    Args:
        request: Its threads, its device and the options for that.
    """
    options = {name: value for name, value in request.context.items() if name != "device_type"}
    if request.device_type == "ascend" and "precision_mode" in options:
        given = options["precision_mode"]
        options["precision_mode"] = _ASCEND_PRECISION.get(given, given)
    devices: list[tuple[str, Mapping[str, str]]] = []
    if request.device_type == "cpu":
        devices.append(("cpu", options))
    else:
        devices.append((request.device_type, {"device_id": str(request.device_id), **options}))
        devices.append(("cpu", {}))
    return LiteSettings(
        thread_num=max(request.thread_num, 0),
        parallel_num=_parallel_num(request),
        cores=request.thread_affinity_core_list,
        devices=tuple(devices),
    )


def _parallel_num(request: LoadRequest) -> int:
    """Lite counts operators side by side, and takes no more of them than threads."""
    if request.enable_parallel < 0:
        return 0
    most = _SIDE_BY_SIDE if request.enable_parallel else 1
    return min(most, request.thread_num) if request.thread_num > 0 else most
