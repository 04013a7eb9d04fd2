"""MindSpore in this process: its import, its device, and the options of a model that it has a counterpart for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.lite.library import load_library
from mindspore_serving.server.backend.contract import LoadRequest

_TARGETS = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}


def start_mindspore(device_type: str, device_id: int) -> Any:
    """Import MindSpore and set it to a device. A process has one device, whatever it loads.

    Only CPU could be tried by the tests; GPU and Ascend take the same documented calls.

    Args:
        device_type: `ascend`, `gpu` or `cpu`.
        device_id: Number of the device; on CPU of no account.

    Returns:
        The module `mindspore`.

    Raises:
        StartUpError: MindSpore cannot be imported, or does not take the device.
    """
    if load_library.cache_info().currsize:
        raise StartUpError(
            "MindSpore Lite is loaded in this process, which excludes MindSpore: run all models of the servable with "
            "one of them, by model_format or enable_lite"
        )
    if "paddle" in sys.modules and "mindspore" not in sys.modules:
        raise StartUpError(
            "Paddle is loaded in this process, and MindSpore cannot be loaded after it, only before: declare the "
            "models of MindSpore first, and import paddle in no servable_config.py beside them"
        )
    if device_type == "cpu":
        # Where the CPU has AVX-512, the bundled oneDNN would take a reference kernel, a hundred times slower, for
        # convolutions. It reads the variable when the first kernel is made.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    try:
        mindspore = importlib.import_module("mindspore")
    except ImportError as cause:
        raise StartUpError(f"MindSpore cannot be imported: {cause}") from cause
    target = _TARGETS[device_type]
    device_id = 0 if target == "CPU" else device_id
    try:
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        mindspore.set_device(target, device_id)
    except (RuntimeError, ValueError, TypeError) as cause:
        raise StartUpError(f"MindSpore does not take device {target} {device_id}: {cause}") from cause
    return mindspore


def apply_options(mindspore: Any, request: LoadRequest) -> None:
    """Pass on the options that MindSpore has a counterpart for, and log the others.

    Args:
        mindspore: The module.
        request: Its `thread_num`, `enable_parallel` and `context`.
    """
    without_effect = [option for option in request.context if option not in ("device_type", "precision_mode")]
    if request.config_file is not None:
        without_effect.append("config_file")
    if request.enable_parallel != -1:
        without_effect.append("enable_parallel")
    precision = request.context.get("precision_mode", "origin")
    if request.device_type == "ascend" and precision != "origin":
        _set_once("precision_mode", mindspore.device_context.ascend.op_precision.precision_mode, precision)
    elif precision != "origin":
        without_effect.append("precision_mode")
    if request.thread_num > 0:
        _set_once("thread_num", mindspore.device_context.cpu.op_tuning.threads_num, request.thread_num)
    if without_effect:
        log.warning(
            "Options without effect in MindSpore, model %s: %s", request.path, ", ".join(without_effect)
        )


def _set_once(option: str, setter: Any, value: object) -> None:
    """Set what a process may set only once; a later model with the option keeps what the first one set."""
    try:
        setter(value)
    except RuntimeError as cause:
        log.warning("Option %s=%s has no effect: %s", option, value, cause)


def reason_of(error: BaseException) -> str:
    """The text of an error without the native call stack that MindSpore adds below a line of dashes."""
    text = str(error).strip()
    return text.partition("\n\n----")[0].strip() or repr(error)
