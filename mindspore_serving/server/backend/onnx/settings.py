"""How ONNX Runtime is to run a model: what a `LoadRequest` says, in the words of ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.json_text import load_json
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.runtime_options import (
    Choice,
    Flag,
    Number,
    OptionKind,
    OptionValue,
    Words,
    check_options,
    words_of,
)

LIBRARY = "ONNX Runtime"
CPU_PROVIDER = "CPUExecutionProvider"
GRAPH_OPTIMIZATIONS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
OPTIONS: Mapping[str, OptionKind] = {
    "graph_optimization": Choice(tuple(GRAPH_OPTIMIZATIONS)),
    "inter_op_threads": Number(1),
    "memory_arena": Flag(),
    "memory_pattern": Flag(),
    "outputs": Words(),
    "providers": Words(),
    "spinning": Flag(),
}
"""The options of `declare_model(..., runtime_options=...)` for ONNX models; docs/onnx.md says what each does."""
_PROVIDER_OF = {"cpu": CPU_PROVIDER, "gpu": "CUDAExecutionProvider", "ascend": "CANNExecutionProvider"}
_ON_DEVICES = {
    "CANNExecutionProvider",
    "CUDAExecutionProvider",
    "MIGraphXExecutionProvider",
    "ROCMExecutionProvider",
    "TensorrtExecutionProvider",
}
_OF_ASCEND = ("op_select_impl_mode", "precision_mode")
_SESSION, _PROVIDERS = "session", "providers"


@dataclass(frozen=True, slots=True)
class OnnxSettings:
    """Where and how a model runs.

    Attributes:
        threads: Threads that compute one operator.
        parallel: Whether operators run side by side.
        providers: Execution providers with their options, the first choice first.
        options: What `runtime_options` says, checked.
        session: Entries of ONNX Runtime's session configuration, by key.
    """

    threads: int
    parallel: bool
    providers: tuple[tuple[str, Mapping[str, str]], ...]
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)


def settings_of(request: LoadRequest) -> OnnxSettings:
    """Translate a request. By default a model computes with as many threads as the calling thread has cores.

    Args:
        request: Its threads, its device, the options for that, `runtime_options` and `config_file`.

    Raises:
        StartUpError: An option or the configuration file is not right; names what is, and what is expected.
    """
    options = check_options(request.options, OPTIONS, LIBRARY)
    if "inter_op_threads" in options and request.enable_parallel != 1:
        raise StartUpError(
            f"runtime_options of {LIBRARY} has inter_op_threads, expected with it Context(enable_parallel=True), "
            "without which operators run one after the other"
        )
    config = _config_of(request.config_file)
    settings = OnnxSettings(
        threads=request.thread_num if request.thread_num > 0 else len(os.sched_getaffinity(0)),
        parallel=request.enable_parallel == 1,
        providers=_providers(request, options, config[_PROVIDERS]),
        options=options,
        session=config[_SESSION],
    )
    _warn_of_unused(request)
    return settings


def _providers(
    request: LoadRequest, options: Mapping[str, OptionValue], configured: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """The providers in order; the CPU is the last, for operators that the others do not have."""
    names = words_of(options["providers"]) if "providers" in options else [_PROVIDER_OF[request.device_type]]
    if CPU_PROVIDER not in names:
        names.append(CPU_PROVIDER)
    for name in configured:
        if name not in names:
            raise StartUpError(
                f"config_file '{request.config_file}' has options of the provider '{name}', which the model does not "
                f"use, expected one of {', '.join(names)}; runtime_options={{'providers': ...}} chooses others"
            )
    return tuple((name, {**_own_options(name, request), **configured.get(name, {})}) for name in names)


def _own_options(provider: str, request: LoadRequest) -> dict[str, str]:
    """What a `LoadRequest` says of a provider."""
    if provider not in _ON_DEVICES or request.device_type == "cpu":
        return {}
    own = {"device_id": str(request.device_id)}
    if provider == _PROVIDER_OF["ascend"]:
        own |= {name: request.context[name] for name in _OF_ASCEND if name in request.context}
    return own


def _warn_of_unused(request: LoadRequest) -> None:
    used = ("device_type", *(_OF_ASCEND if request.device_type == "ascend" else ()))
    unused = [name for name, value in request.context.items() if name not in used and value != "origin"]
    if unused:
        log.warning("Options without effect in %s, model %s: %s", LIBRARY, request.path, ", ".join(unused))


def _config_of(path: str | None) -> dict[str, Any]:
    """The two parts of a configuration file; empty where there is none.

    Raises:
        StartUpError: It cannot be read, or is not what is expected.
    """
    empty: dict[str, Any] = {_SESSION: {}, _PROVIDERS: {}}
    if path is None:
        return empty
    try:
        config = load_json(Path(path).read_bytes())
    except OSError as cause:
        raise StartUpError(f"config_file '{path}' cannot be read: {cause.strerror}") from cause
    except orjson.JSONDecodeError as cause:
        raise StartUpError(f"config_file '{path}' is no JSON: {cause}; {_EXPECTED_CONFIG}") from cause
    if (
        not isinstance(config, dict)
        or not config.keys() <= empty.keys()
        or not _is_text_by_name(config.get(_SESSION, {}))
        or not isinstance(config.get(_PROVIDERS, {}), dict)
        or not all(map(_is_text_by_name, config.get(_PROVIDERS, {}).values()))
    ):
        raise StartUpError(f"config_file '{path}' is not what {LIBRARY} models take; {_EXPECTED_CONFIG}")
    return {**empty, **config}


def _is_text_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


_EXPECTED_CONFIG = (
    'expected {"session": {"session.use_env_allocators": "1"}, "providers": {"CUDAExecutionProvider": '
    '{"gpu_mem_limit": "2147483648"}}}, any part may be left out, all values are text'
)
