"""A session of ONNX Runtime: from a file to something that runs, and what is said where that fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnxruntime

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.onnx.model_header import ModelHeader
from mindspore_serving.server.backend.onnx.settings import (
    CPU_PROVIDER,
    GRAPH_OPTIMIZATIONS,
    LIBRARY,
    OnnxSettings,
)

_PACKAGES = {
    "CANNExecutionProvider": "onnxruntime-cann",
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "ROCMExecutionProvider": "onnxruntime-rocm",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
}
_ERROR, _FATAL = 3, 4
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed:)?", re.DOTALL)
_PLACE = re.compile(r"\S*/onnxruntime/core/\S+\.(?:cc|h):\d+ [^\n]*?\) (?=[A-Z])")
_NEWEST_OPSET = re.compile(r"official support for domain (\S+) is till opset (\d+)")
_NEWEST_IR = re.compile(r"max supported IR version: (\d+)")
_NO_DATA = re.compile(r"External data path does not exist: \"([^\"]*)\"")
_SHORT_DATA = re.compile(
    r"External initializer: (\S+) offset: (\d+) size to read: (\d+) given file_length: (\d+)"
)
_NO_OPERATOR = re.compile(r"No Op registered for|is not a registered function/op")


def open_session(path: Path, header: ModelHeader | None, settings: OnnxSettings) -> Any:
    """Load a file.

    Args:
        path: The file; those with its external data lie beside it.
        header: What the file says of itself.
        settings: Where and how it runs.

    Returns:
        An `onnxruntime.InferenceSession`, whose runs may be side by side.

    Raises:
        StartUpError: A provider is not there, or the file cannot be loaded; names what to do where that is known.
    """
    _check_providers(settings)
    providers = [(name, dict(options)) for name, options in settings.providers]
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=_session_options(settings), providers=providers
        )
    except Exception as cause:  # its classes of errors have no base of their own
        raise StartUpError(f"{LIBRARY} cannot load '{path}': {_why_not_loaded(cause, header)}") from cause
    check_started(session, settings)
    return session


def run_options() -> Any:
    """For runs: what fails is raised, and not logged by the library as well."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = _FATAL
    return options


def reason_of(error: Exception) -> str:
    """What ONNX Runtime says, without its numbers and the places in its own source."""
    text = _PLACE.sub("", _STATUS.sub("", str(error)))
    return " ".join(text.split()) or repr(error)


def _session_options(settings: OnnxSettings) -> Any:
    options, chosen = onnxruntime.SessionOptions(), settings.options
    # There is a warning in each run of a model whose file is wrong about an output, as those of MindSpore are.
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = settings.threads
    if settings.parallel:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = chosen.get("inter_op_threads", settings.threads)
    if "graph_optimization" in chosen:
        level = GRAPH_OPTIMIZATIONS[str(chosen["graph_optimization"])]
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.enable_cpu_mem_arena = chosen.get("memory_arena", True)
    options.enable_mem_pattern = chosen.get("memory_pattern", True)
    for kind in ("intra_op", "inter_op"):
        options.add_session_config_entry(
            f"session.{kind}.allow_spinning", str(int(chosen.get("spinning", False)))
        )
    for key, value in settings.session.items():
        options.add_session_config_entry(key, value)
    return options


def _check_providers(settings: OnnxSettings) -> None:
    available = onnxruntime.get_available_providers()
    for name, _ in settings.providers:
        if name not in available:
            package = _PACKAGES.get(name)
            known = f": pip uninstall onnxruntime, then pip install {package}" if package else ""
            raise StartUpError(
                f"The installed {LIBRARY} {onnxruntime.__version__} has no {name}, it has {', '.join(available)}; "
                f"install a package of {LIBRARY} that has it{known}"
            )


def check_started(session: Any, settings: OnnxSettings) -> None:
    """Refuse a session without a provider that was asked for: ONNX Runtime then takes the CPU, and logs a line.

    Args:
        session: The session.
        settings: What was asked for.

    Raises:
        StartUpError: A provider did not start.
    """
    started = session.get_providers()
    missing = [name for name, _ in settings.providers if name not in started and name != CPU_PROVIDER]
    if missing:
        raise StartUpError(
            f"{', '.join(missing)} of {LIBRARY} did not start, the worker's log says why; expected its libraries and "
            "its device"
        )


def _why_not_loaded(error: Exception, header: ModelHeader | None) -> str:
    text = str(error)
    version = onnxruntime.__version__
    if header and (match := _NEWEST_IR.search(text)):
        return (
            f"the file has IR version {header.ir_version}, and {LIBRARY} {version} reads up to {match[1]}; export it "
            "with an older package onnx, or set ir_version of the loaded model and save it, or install a newer "
            "onnxruntime"
        )
    if header and (match := _NEWEST_OPSET.search(text)):
        domain = "" if match[1] == "ai.onnx" else match[1]
        return (
            f"the file has opset {header.opsets.get(domain)} of {match[1]}, and {LIBRARY} {version} has up to "
            f"{match[2]}; export it with a lower one, with PyTorch torch.onnx.export(..., opset_version={match[2]}), "
            f"or convert it: onnx.version_converter.convert_version(model, {match[2]}), or install a newer onnxruntime"
        )
    if match := _NO_DATA.search(text):
        return f"the file '{match[1]}' with its weights is missing; copy it beside the model, under this very name"
    if match := _SHORT_DATA.search(text):
        end = int(match[2]) + int(match[3])
        return (
            f"a file with its weights is damaged or incomplete, it has {match[4]} bytes, expected at least {end} for "
            f"'{match[1]}'; copy it anew"
        )
    reason = reason_of(error)
    if _NO_OPERATOR.search(text):
        return (
            f"{reason}; {LIBRARY} {version} has no such operator: export the model without it, or with an opset that "
            "has it"
        )
    return reason
