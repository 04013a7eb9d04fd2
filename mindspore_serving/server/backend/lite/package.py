"""Lite through its own Python package `mindspore_lite`, by the interface that releases 2.0 and later document.

The package tells why something failed on stderr alone, so stderr is listened to while a model loads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving import log
from mindspore_serving.lite.library import DATA_TYPES, MS, LiteError, LiteTensor
from mindspore_serving.lite.reason import reason_of
from mindspore_serving.server.backend.lite.settings import LiteSettings
from mindspore_serving.server.backend.lite.stderr_text import StderrText
from mindspore_serving.tensor import Array

_PRECISION = {"fp16": "preferred_fp16", "origin": "enforce_fp32"}


class PackageRuntime:
    """Loads model files with the package.

    Args:
        package: The module `mindspore_lite`.
    """

    def __init__(self, package: Any) -> None:
        self._package = package

    def load(
        self, path: Path, model_type: int, settings: LiteSettings, config_file: str | None
    ) -> PackageModel:
        """Load a file; see `Runtime.load`."""
        package = self._package
        kind = package.ModelType.MINDIR_LITE if model_type == MS else package.ModelType.MINDIR
        stderr = StderrText()
        try:
            with stderr:
                model = package.Model()
                model.build_from_file(str(path), kind, self.context_of(settings), config_file or "")
        except (RuntimeError, ValueError, TypeError) as cause:
            raise LiteError(_reason(cause, stderr.text)) from cause
        return PackageModel(model)

    def context_of(self, settings: LiteSettings) -> Any:
        """Settings as the package holds them."""
        context = self._package.Context()
        context.target = [settings.devices[0][0]]  # the package adds the CPU behind another device
        if settings.thread_num:
            context.cpu.thread_num = settings.thread_num
        if settings.parallel_num:
            context.cpu.inter_op_parallel_num = settings.parallel_num
        if settings.cores:
            context.cpu.thread_affinity_core_list = list(settings.cores)
        for device_type, options in settings.devices:
            _set_options(getattr(context, device_type), device_type, options)
        return context


class PackageModel:
    """A model file that the package has loaded.

    Args:
        model: The package's object.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.inputs = [_described(tensor) for tensor in model.get_inputs()]
        self.outputs: list[LiteTensor] = []

    def close(self) -> None:
        """Unload the model; safe to call twice."""
        self._model = None

    def resize(self, shapes: Sequence[Sequence[int]]) -> None:
        """See `RunnableModel.resize`."""
        try:
            self._model.resize(self._model.get_inputs(), [list(shape) for shape in shapes])
        except (RuntimeError, ValueError) as cause:
            raise LiteError(_reason(cause)) from cause

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """See `RunnableModel.predict`."""
        inputs = self._model.get_inputs()
        try:
            for tensor, array in zip(inputs, arrays, strict=True):
                tensor.set_data_from_numpy(array)
            outputs = self._model.predict(inputs)
            self.outputs = [_described(output) for output in outputs]
            return [np.array(output.get_data_to_numpy(), copy=True, order="C") for output in outputs]
        except (RuntimeError, ValueError) as cause:
            raise LiteError(_reason(cause)) from cause


def _set_options(device: Any, device_type: str, options: Mapping[str, str]) -> None:
    without_effect = []
    for name, value in options.items():
        if name == "device_id":
            device.device_id = int(value)
        elif name == "precision_mode":
            device.precision_mode = value if device_type == "ascend" else _PRECISION[value]
        else:
            without_effect.append(name)
    if without_effect:
        log.warning(
            "Options without effect in the package mindspore_lite: %s; its config_file may have counterparts",
            ", ".join(without_effect),
        )


def _described(tensor: Any) -> LiteTensor:
    return LiteTensor(tensor.name, DATA_TYPES.get(tensor.dtype.value), tuple(tensor.shape))


def _reason(error: Exception, stderr: str = "") -> str:
    """The error's own text, or what stderr said meanwhile if that says more."""
    told = reason_of(f"Common error code.\n{stderr}") if stderr else ""
    return told if told and told != "Common error code." else " ".join(str(error).split()) or repr(error)
