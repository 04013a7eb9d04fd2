"""Where and how a model runs: the settings of a declared model, for each type of device.

Everything here is data. The worker takes the part for its own device type and hands it to the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from mindspore_serving import log
from mindspore_serving.check_type import check_bool, check_int, check_int_tuple_list, check_str
from mindspore_serving.errors import InvalidParameter

_Options: TypeAlias = Mapping[str, tuple[str, ...]]


class DeviceInfo:
    """Settings for one type of device; base of the classes for users.

    Attributes:
        <option>: Each option of the class by its name; "" where it was not set.
    """

    device_type: ClassVar[str]
    # Option name to the values it may have; none listed allows any str.
    _options: ClassVar[_Options]

    def __init__(self, **kwargs: str) -> None:
        for option in self._options:
            setattr(self, option, "")
        for option, value in kwargs.items():
            self._set(option, value)

    @property
    def context_map(self) -> dict[str, str]:
        """The options that were set, with their values, and "device_type"."""
        return self._as_context_map()

    def _set(self, option: str, value: str) -> None:
        if option not in self._options:
            raise InvalidParameter(self._unsupported(option))
        check_str(option, value)
        choices = self._options[option]
        if choices and value not in choices:
            raise InvalidParameter(self._no_choice(option, choices, value))
        setattr(self, option, value)

    def _unsupported(self, option: str) -> str:
        return f"Set {self.device_type} device info failed, unsupported option {option}"

    def _no_choice(self, option: str, choices: tuple[str, ...], value: str) -> str:
        listed = ", ".join(f"'{choice}'" for choice in choices)
        return f"{self.device_type.capitalize()} device info '{option}' can only be {listed}. given '{value}'"

    def _as_context_map(self) -> dict[str, str]:
        return {"device_type": self.device_type} | self._set_options()

    def _set_options(self) -> dict[str, str]:
        return {option: value for option in self._options if (value := getattr(self, option))}

    def __repr__(self) -> str:
        options = ", ".join(f"{option}={value!r}" for option, value in self._set_options().items())
        return f"{type(self).__name__}({options})"


class CPUDeviceInfo(DeviceInfo):
    """Settings for models on CPU.

    Keyword Args:
        precision_mode (str): "origin" computes as the model says, "fp16" in float16 where that is possible.

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.
    """

    precision_mode: str

    device_type = "cpu"
    _options: ClassVar[_Options] = {"precision_mode": ("origin", "fp16")}


class GPUDeviceInfo(DeviceInfo):
    """Settings for models on GPU.

    Keyword Args:
        precision_mode (str): "origin" computes as the model says, "fp16" in float16 where that is possible.

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.
    """

    precision_mode: str

    device_type = "gpu"
    _options: ClassVar[_Options] = {"precision_mode": ("origin", "fp16")}


class AscendDeviceInfo(DeviceInfo):
    """Settings for models on Ascend.

    Keyword Args:
        insert_op_cfg_path (str): Configuration file of AIPP, the preprocessing on the device.
        input_format (str): "ND", "NCHW", "NHWC", "CHWN", "NC1HWC0" or "NHWC1C0".
        input_shape (str): Shapes of the inputs, for example "input_op_name1:n1,c2,h3,w4;input_op_name2:n4,c3,h2,w1".
        output_type (str): "FP32", "FP16" or "UINT8".
        precision_mode (str): "force_fp16", "allow_fp32_to_fp16", "must_keep_origin_dtype" or "allow_mix_precision".
        op_select_impl_mode (str): "high_performance" or "high_precision".
        fusion_switch_config_path (str): Configuration file of operator fusion.
        buffer_optimize_mode (str): "l1_optimize", "l2_optimize", "off_optimize" or "l1_and_l2_optimize".

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.
    """

    insert_op_cfg_path: str
    input_format: str
    input_shape: str
    output_type: str
    precision_mode: str
    op_select_impl_mode: str
    fusion_switch_config_path: str
    buffer_optimize_mode: str

    device_type = "ascend"
    _options: ClassVar[_Options] = {
        "insert_op_cfg_path": (),
        "input_format": ("ND", "NCHW", "NHWC", "CHWN", "NC1HWC0", "NHWC1C0"),
        "input_shape": (),
        "output_type": ("FP32", "FP16", "UINT8"),
        "precision_mode": (
            "force_fp16",
            "allow_fp32_to_fp16",
            "must_keep_origin_dtype",
            "allow_mix_precision",
        ),
        "op_select_impl_mode": ("high_performance", "high_precision"),
        "fusion_switch_config_path": (),
        "buffer_optimize_mode": ("l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"),
    }

    def _unsupported(self, option: str) -> str:
        return f"Set ascend device info failed, unsupported parameter {option}"

    def _no_choice(self, option: str, choices: tuple[str, ...], value: str) -> str:
        *most, last = (f"'{choice}'" for choice in choices)
        listed = f"{', '.join(most)} or {last}"
        return f"Ascend device info '{option}' can only be {listed}, actually given '{value}'"


@dataclass
class ModelContext:
    """The settings that a `Context` holds.

    Attributes:
        thread_num: Threads of a model; -1 leaves it to the backend.
        thread_affinity_core_list: Cores that these threads are bound to; empty for no binding.
        enable_parallel: 1 or 0 for operators side by side or not; -1 leaves it to the backend.
        device_list: Settings by device type, in the order in which they were appended.
    """

    thread_num: int = -1
    thread_affinity_core_list: list[int] = field(default_factory=list)
    enable_parallel: int = -1
    device_list: list[dict[str, str]] = field(default_factory=list)


class Context:
    """Settings of a declared model.

    Attributes:
        model_context: What was set.

    Keyword Args:
        thread_num (int): Threads of the model, at least 1.
        thread_affinity_core_list (tuple[int] or list[int]): Cores that these threads are bound to.
        enable_parallel (bool): Whether operators may run side by side.

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.

    Examples:
        >>> context = Context(thread_num=2)
        >>> context.append_device_info(CPUDeviceInfo(precision_mode="fp16"))
    """

    def __init__(self, **kwargs: Any) -> None:
        self.model_context = ModelContext()
        setters: dict[str, Callable[[Any], None]] = {
            "thread_num": self._set_thread_num,
            "thread_affinity_core_list": self._set_thread_affinity_core_list,
            "enable_parallel": self._set_enable_parallel,
        }
        for option, value in kwargs.items():
            if option not in setters:
                raise InvalidParameter(f"Set context failed, unsupported option {option}")
            setters[option](value)

    @property
    def device_types(self) -> list[str]:
        """Types of the devices that settings were appended for: "cpu", "gpu", "ascend"."""
        return [info["device_type"] for info in self.model_context.device_list]

    def append_device_info(self, device_info: DeviceInfo) -> None:
        """Add the settings for one type of device.

        Args:
            device_info: A CPUDeviceInfo, GPUDeviceInfo or AscendDeviceInfo; one of each type at most. Only the one
                of the device that the model is loaded on has an effect.

        Raises:
            InvalidParameter: It is none of these, or one of its type is there already.
        """
        if not isinstance(device_info, DeviceInfo):
            raise InvalidParameter(
                "Parameter 'device_info' should instance of CPUDeviceInfo, GPUDeviceInfo, or AscendDeviceInfo, "
                f"but actually {type(device_info)}"
            )
        if device_info.device_type in self.device_types:
            raise InvalidParameter(f"Device info of type {device_info.device_type} has already been appended")
        self.model_context.device_list.append(device_info.context_map)

    def device_info(self, device_type: str) -> dict[str, str]:
        """The settings for one type of device.

        Args:
            device_type: "cpu", "gpu" or "ascend", case ignored.

        Returns:
            Option to value, "device_type" among them; empty where nothing was appended for this type.
        """
        for info in self.model_context.device_list:
            if info["device_type"] == device_type.lower():
                return dict(info)
        return {}

    def _set_thread_num(self, value: int) -> None:
        check_int("thread_num", value, 1)
        self.model_context.thread_num = value

    def _set_thread_affinity_core_list(self, value: Sequence[int]) -> None:
        check_int_tuple_list("thread_affinity_core_list", value, 0)
        self.model_context.thread_affinity_core_list = list(value)

    def _set_enable_parallel(self, value: bool) -> None:
        check_bool("enable_parallel", value)
        self.model_context.enable_parallel = int(value)

    def __str__(self) -> str:
        held = self.model_context
        return (
            f"thread_num: {held.thread_num}, thread_affinity_core_list: {held.thread_affinity_core_list}, "
            f"enable_parallel: {held.enable_parallel}, device_list: {held.device_list}"
        )


class AclOptions:
    """Settings for models on Ascend, as `declare_servable` takes them; `AscendDeviceInfo` says the same.

    Keyword Args:
        insert_op_cfg_path (str): Configuration file of AIPP, the preprocessing on the device.
        input_format (str): "ND", "NCHW", "NHWC", "CHWN", "NC1HWC0" or "NHWC1C0".
        input_shape (str): Shapes of the inputs, for example "input_op_name1:n1,c2,h3,w4;input_op_name2:n4,c3,h2,w1".
        output_type (str): "FP32", "FP16" or "UINT8".
        precision_mode (str): "force_fp16", "allow_fp32_to_fp16", "must_keep_origin_dtype" or "allow_mix_precision".
        op_select_impl_mode (str): "high_performance" or "high_precision".

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.
    """

    def __init__(self, **kwargs: str) -> None:
        self._info = AscendDeviceInfo(**kwargs)

    @property
    def context(self) -> Context:
        """These settings as a new Context."""
        return _context_of(self._info)

    def set_insert_op_cfg_path(self, val: str) -> None:
        """Set the configuration file of AIPP."""
        self._info._set("insert_op_cfg_path", val)

    def set_input_format(self, val: str) -> None:
        """Set the format of the inputs, for example "NCHW"."""
        self._info._set("input_format", val)

    def set_input_shape(self, val: str) -> None:
        """Set the shapes of the inputs."""
        self._info._set("input_shape", val)

    def set_output_type(self, val: str) -> None:
        """Set the data type of the outputs: "FP32", "FP16" or "UINT8"."""
        self._info._set("output_type", val)

    def set_precision_mode(self, val: str) -> None:
        """Set how far float16 may stand for float32, for example "allow_mix_precision"."""
        self._info._set("precision_mode", val)

    def set_op_select_impl_mode(self, val: str) -> None:
        """Set what operators are chosen for: "high_performance" or "high_precision"."""
        self._info._set("op_select_impl_mode", val)


class GpuOptions:
    """Settings for models on GPU, as `declare_servable` takes them; `GPUDeviceInfo` says the same.

    Keyword Args:
        precision_mode (str): "origin" computes as the model says, "fp16" in float16 where that is possible.
        enable_trt_infer (bool): Accepted for older scripts; without effect.

    Raises:
        InvalidParameter: An option is unknown or has a value that it cannot have.
    """

    def __init__(self, **kwargs: Any) -> None:
        if "enable_trt_infer" in kwargs:
            check_bool("enable_trt_infer", kwargs.pop("enable_trt_infer"))
            log.warning("Option 'enable_trt_infer' of GpuOptions has no effect and is ignored")
        self._info = GPUDeviceInfo(**kwargs)

    @property
    def context(self) -> Context:
        """These settings as a new Context."""
        return _context_of(self._info)


def _context_of(info: DeviceInfo) -> Context:
    context = Context()
    context.append_device_info(info)
    return context
