"""How Paddle is to run a model: the table of its `runtime_options`, and what they and a `LoadRequest` say to Paddle.

The names are those of Paddle Serving: of `local_service_conf` in its config.yml, and for GPUs of its command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.paddle.library import LIBRARY
from mindspore_serving.server.backend.paddle.model_files import JSON, ModelFiles
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

OPTIONS: dict[str, OptionKind] = {
    "outputs": Words(),
    "thread_num": Number(1),
    "precision": Choice(("fp32", "fp16", "bf16", "int8")),
    "ir_optim": Flag(),
    "mem_optim": Flag(),
    "use_mkldnn": Flag(),
    "mkldnn_cache_capacity": Number(0),
    "mkldnn_op_list": Words(),
    "mkldnn_bf16_op_list": Words(),
    "gpu_memory_mb": Number(0),
    "use_trt": Flag(),
    "trt_workspace_size": Number(0),
    "trt_use_static": Flag(),
    "min_subgraph_size": Number(1),
    "use_calib": Flag(),
}
"""All options, with the values that they take."""
_MKLDNN_ONLY = ("mkldnn_cache_capacity", "mkldnn_op_list", "mkldnn_bf16_op_list")
_GPU_ONLY = (
    "gpu_memory_mb",
    "use_trt",
    "trt_workspace_size",
    "trt_use_static",
    "min_subgraph_size",
    "use_calib",
)
_TRT_ONLY = ("trt_workspace_size", "trt_use_static", "min_subgraph_size", "use_calib")
_DEVICE_OF = {"gpu": "gpu", "ascend": "npu"}
_GPU_MEMORY_MB = 50
_TRT_WORKSPACE_SIZE = 32 << 20
_MIN_SUBGRAPH_SIZE = 3


@dataclass(frozen=True, slots=True)
class PaddleSettings:
    """Where and how a model runs.

    Attributes:
        threads: Threads that compute one operator on CPU.
        device_type: `ascend`, `gpu` or `cpu`.
        device_id: Number of the device.
        max_batch_size: Most rows of a batch, which TensorRT has to know.
        options: What `runtime_options` says, checked.
    """

    threads: int
    device_type: str
    device_id: int
    max_batch_size: int
    options: Mapping[str, OptionValue]

    @property
    def precision(self) -> str:
        """The precision to compute with."""
        return str(self.options.get("precision", "fp32"))

    @property
    def uses_mkldnn(self) -> bool:
        """Whether operators run with oneDNN, which earlier was MKL-DNN."""
        return self.device_type == "cpu" and bool(self.options.get("use_mkldnn", True))


def settings_of(request: LoadRequest) -> PaddleSettings:
    """Translate a request. By default a model computes with as many threads as the calling thread has cores.

    Args:
        request: Its threads, its device and `runtime_options`; `thread_num` of its context wins over the option.

    Raises:
        StartUpError: An option is not right; names it and what is expected.
    """
    options = check_options(request.options, OPTIONS, LIBRARY)
    settings = PaddleSettings(
        threads=_threads(request, options),
        device_type=request.device_type,
        device_id=request.device_id,
        max_batch_size=request.max_batch_size,
        options=options,
    )
    _check_together(settings)
    _warn_of_unused(request, settings)
    return settings


def configured(paddle: Any, files: ModelFiles, settings: PaddleSettings) -> Any:
    """A configuration for a predictor.

    Args:
        paddle: The module.
        files: The model.
        settings: Where and how it runs.

    Raises:
        StartUpError: The installed Paddle does not run models on the device.
    """
    _check_device(paddle, settings)
    if files.parameters is None:
        config = paddle.inference.Config(str(files.program.parent))
    else:
        config = paddle.inference.Config(
            str(files.program), str(files.parameters) if files.parameters.exists() else ""
        )
    config.disable_glog_info()
    config.switch_ir_optim(settings.options.get("ir_optim", True))
    if not files.is_json:  # Paddle 3 frees memory by itself there, and refuses the option
        config.enable_memory_optim(settings.options.get("mem_optim", True))
    config.set_cpu_math_library_num_threads(settings.threads)
    if settings.device_type == "cpu":
        _set_cpu(paddle, config, settings)
    elif settings.device_type == "gpu":
        _set_gpu(paddle.inference.PrecisionType, config, settings)
    else:
        device = _DEVICE_OF[settings.device_type]
        config.enable_custom_device(
            device, settings.device_id, _precision_of(paddle.inference.PrecisionType, settings)
        )
    return config


def _threads(request: LoadRequest, options: Mapping[str, OptionValue]) -> int:
    if request.thread_num > 0:
        return request.thread_num
    return int(options.get("thread_num", 0)) or len(os.sched_getaffinity(0))


def _check_together(settings: PaddleSettings) -> None:
    """Refuse options that ask for oneDNN on CPU, where it is off.

    Raises:
        StartUpError: There is one.
    """
    if settings.device_type != "cpu" or settings.uses_mkldnn:
        return
    asking = [name for name in _MKLDNN_ONLY if name in settings.options]
    if settings.precision in ("bf16", "int8"):
        asking.append(f"precision={settings.precision!r}")
    if asking:
        raise StartUpError(
            f"runtime_options of {LIBRARY} has use_mkldnn=False, but also {', '.join(asking)}, which needs oneDNN on "
            "CPU; leave one of them out"
        )


def _warn_of_unused(request: LoadRequest, settings: PaddleSettings) -> None:
    unused = [name for name, value in request.context.items() if name != "device_type" and value != "origin"]
    if request.config_file is not None:
        unused.append("config_file")
    if request.enable_parallel != -1:
        unused.append("enable_parallel")
    if request.thread_num > 0 and "thread_num" in settings.options:
        unused.append("runtime_options thread_num, since the context has one")
    idle = _idle_options(request, settings)
    unused += [name for name in OPTIONS if name in idle and name in settings.options]
    if settings.device_type == "cpu" and settings.precision == "fp16":
        unused.append("precision='fp16'")
    if unused:
        log.warning("Options without effect in %s, model %s: %s", LIBRARY, request.path, ", ".join(unused))


def _idle_options(request: LoadRequest, settings: PaddleSettings) -> set[str]:
    """Options that have no effect on this device or this format."""
    idle = {"mem_optim"} if request.path.suffix == JSON else set()
    if settings.device_type != "cpu":
        idle |= {"use_mkldnn", *_MKLDNN_ONLY}
    if settings.device_type != "gpu":
        idle |= set(_GPU_ONLY)
    elif not settings.options.get("use_trt"):
        idle |= set(_TRT_ONLY)
    return idle


def _check_device(paddle: Any, settings: PaddleSettings) -> None:
    """Check that the installed Paddle is one for the device; it would else compute on CPU, or end the process.

    Raises:
        StartUpError: It is not.
    """
    kind = settings.device_type
    there = {
        "cpu": lambda: True,
        "gpu": paddle.is_compiled_with_cuda,
        "ascend": lambda: paddle.is_compiled_with_custom_device(_DEVICE_OF["ascend"]),
    }
    if not there[kind]():
        raise StartUpError(
            f"The installed package paddlepaddle {paddle.__version__} runs no models on device type '{kind}'; install "
            "the package of Paddle for that device, or start the servable on 'cpu'"
        )


def _set_cpu(paddle: Any, config: Any, settings: PaddleSettings) -> None:
    options = settings.options
    if not settings.uses_mkldnn:
        config.disable_onednn()
        return
    config.enable_onednn()
    if "mkldnn_cache_capacity" in options:
        config.set_onednn_cache_capacity(options["mkldnn_cache_capacity"])
    if "mkldnn_op_list" in options:
        config.set_onednn_op(set(words_of(options["mkldnn_op_list"])))
    if settings.precision == "bf16":
        if not paddle.base.core.supports_bfloat16():
            log.warning(
                "Option precision='bf16' has no effect: this CPU has no AVX-512, which Paddle wants for it"
            )
        config.enable_onednn_bfloat16()
    if "mkldnn_bf16_op_list" in options:
        config.set_bfloat16_op(set(words_of(options["mkldnn_bf16_op_list"])))
    if settings.precision == "int8":
        config.enable_onednn_int8()


def _set_gpu(precisions: Any, config: Any, settings: PaddleSettings) -> None:
    options = settings.options
    precision = _precision_of(precisions, settings)
    config.enable_use_gpu(options.get("gpu_memory_mb", _GPU_MEMORY_MB), settings.device_id, precision)
    if options.get("use_trt", False):
        config.enable_tensorrt_engine(
            workspace_size=options.get("trt_workspace_size", _TRT_WORKSPACE_SIZE),
            max_batch_size=settings.max_batch_size,
            min_subgraph_size=options.get("min_subgraph_size", _MIN_SUBGRAPH_SIZE),
            precision_mode=precision,
            use_static=options.get("trt_use_static", False),
            use_calib_mode=options.get("use_calib", False),
        )


def _precision_of(precisions: Any, settings: PaddleSettings) -> Any:
    names = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16", "int8": "Int8"}
    return getattr(precisions, names[settings.precision])
