"""Context and the device settings of declared models."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mindspore_serving.errors import InvalidParameter
from mindspore_serving.server.register.context import (
    AclOptions,
    AscendDeviceInfo,
    Context,
    CPUDeviceInfo,
    DeviceInfo,
    GPUDeviceInfo,
    GpuOptions,
)

ASCEND_VALUES = {
    "insert_op_cfg_path": ["aipp.cfg"],
    "input_format": ["ND", "NCHW", "NHWC", "CHWN", "NC1HWC0", "NHWC1C0"],
    "input_shape": ["x:1,2"],
    "output_type": ["FP32", "FP16", "UINT8"],
    "precision_mode": ["force_fp16", "allow_fp32_to_fp16", "must_keep_origin_dtype", "allow_mix_precision"],
    "op_select_impl_mode": ["high_performance", "high_precision"],
    "fusion_switch_config_path": ["fusion.cfg"],
    "buffer_optimize_mode": ["l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"],
}
ASCEND_CASES = [(option, value) for option, values in ASCEND_VALUES.items() for value in values]
ACL_OPTIONS = [option for option in ASCEND_VALUES if not option.startswith(("fusion", "buffer"))]


def refusal(build: Any, *args: Any, **kwargs: Any) -> str:
    """The text with which a call is refused."""
    with pytest.raises(InvalidParameter) as refused:
        build(*args, **kwargs)
    return str(refused.value)


def test_context_without_options_leaves_all_to_the_backend() -> None:
    held = Context().model_context
    assert (held.thread_num, held.thread_affinity_core_list, held.enable_parallel) == (-1, [], -1)
    assert held.device_list == []


@pytest.mark.parametrize(("enable", "number"), [(True, 1), (False, 0)])
def test_context_holds_what_was_set(enable: bool, number: int) -> None:
    context = Context(thread_num=3, thread_affinity_core_list=(2, 0), enable_parallel=enable)
    context.append_device_info(GPUDeviceInfo(precision_mode="fp16"))
    held = context.model_context
    assert (held.thread_num, held.thread_affinity_core_list, held.enable_parallel) == (3, [2, 0], number)
    assert held.device_list == [{"device_type": "gpu", "precision_mode": "fp16"}]
    for fact in ("thread_num: 3", "core_list: [2, 0]", f"enable_parallel: {number}", "'device_type': 'gpu'"):
        assert fact in str(context)


def test_contexts_share_no_list() -> None:
    first, second = Context(), Context()
    first.append_device_info(CPUDeviceInfo())
    first.model_context.thread_affinity_core_list.append(1)
    assert second.model_context.device_list == []
    assert second.model_context.thread_affinity_core_list == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 1}, "Set context failed, unsupported option threads"),
        ({"thread_num": 0}, "Parameter 'thread_num' should be >= 1"),
        ({"thread_num": True}, "Parameter 'thread_num' should be int, but actually <class 'bool'>"),
        (
            {"thread_affinity_core_list": 1},
            "Parameter 'thread_affinity_core_list' should be tuple/list of int, but actually <class 'int'>",
        ),
        (
            {"thread_affinity_core_list": [0, -1]},
            "The item value '-1' in parameter 'thread_affinity_core_list' should be >= 0",
        ),
        ({"enable_parallel": 1}, "Parameter 'enable_parallel' should be bool, but actually <class 'int'>"),
    ],
)
def test_context_refuses(options: dict[str, Any], text: str) -> None:
    assert refusal(Context, **options) == text


@pytest.mark.parametrize("not_info", [None, "cpu", {"device_type": "cpu"}, CPUDeviceInfo])
def test_append_refuses_other_types(not_info: Any) -> None:
    assert refusal(Context().append_device_info, not_info) == (
        "Parameter 'device_info' should instance of CPUDeviceInfo, GPUDeviceInfo, or AscendDeviceInfo, "
        f"but actually {type(not_info)}"
    )


@pytest.mark.parametrize(
    ("info", "name"), [(CPUDeviceInfo(), "cpu"), (GPUDeviceInfo(), "gpu"), (AscendDeviceInfo(), "ascend")]
)
def test_append_refuses_a_second_of_a_type(info: DeviceInfo, name: str) -> None:
    context = Context()
    context.append_device_info(info)
    assert (
        refusal(context.append_device_info, info) == f"Device info of type {name} has already been appended"
    )


def test_device_info_is_chosen_by_type() -> None:
    context = Context()
    context.append_device_info(CPUDeviceInfo(precision_mode="origin"))
    context.append_device_info(AscendDeviceInfo(input_format="ND"))
    assert context.device_info("cpu") == {"device_type": "cpu", "precision_mode": "origin"}
    assert context.device_info("Ascend") == {"device_type": "ascend", "input_format": "ND"}
    assert context.device_info("gpu") == {}


def test_device_types_are_those_that_were_appended() -> None:
    context = Context()
    assert context.device_types == []
    context.append_device_info(AscendDeviceInfo())
    context.append_device_info(CPUDeviceInfo())
    assert context.device_types == ["ascend", "cpu"]


def test_device_info_is_a_copy() -> None:
    context = Context()
    context.append_device_info(CPUDeviceInfo())
    context.device_info("cpu")["precision_mode"] = "fp16"
    assert context.device_info("cpu") == {"device_type": "cpu"}


@pytest.mark.parametrize(("kind", "name"), [(CPUDeviceInfo, "cpu"), (GPUDeviceInfo, "gpu")])
@pytest.mark.parametrize("mode", ["origin", "fp16"])
def test_cpu_and_gpu_options(kind: type[DeviceInfo], name: str, mode: str) -> None:
    assert (kind().context_map, kind().precision_mode) == ({"device_type": name}, "")
    info = kind(precision_mode=mode)
    assert info.context_map == {"device_type": name, "precision_mode": mode}
    assert info.precision_mode == mode


@pytest.mark.parametrize(("option", "value"), ASCEND_CASES)
def test_ascend_options(option: str, value: str) -> None:
    info = AscendDeviceInfo(**{option: value})
    assert info.context_map == {"device_type": "ascend", option: value}
    assert {name: getattr(info, name) for name in ASCEND_VALUES} == dict.fromkeys(ASCEND_VALUES, "") | {
        option: value
    }


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (CPUDeviceInfo, {"mode": "x"}, "Set cpu device info failed, unsupported option mode"),
        (GPUDeviceInfo, {"mode": "x"}, "Set gpu device info failed, unsupported option mode"),
        (AscendDeviceInfo, {"mode": "x"}, "Set ascend device info failed, unsupported parameter mode"),
        (
            CPUDeviceInfo,
            {"precision_mode": "fp64"},
            "Cpu device info 'precision_mode' can only be 'origin', 'fp16'. given 'fp64'",
        ),
        (
            GPUDeviceInfo,
            {"precision_mode": "fp64"},
            "Gpu device info 'precision_mode' can only be 'origin', 'fp16'. given 'fp64'",
        ),
        (
            CPUDeviceInfo,
            {"precision_mode": 1},
            "Parameter 'precision_mode' should be str, but actually <class 'int'>",
        ),
        (AscendDeviceInfo, {"input_shape": ""}, "Parameter 'input_shape' should not be empty str"),
    ],
)
def test_device_info_refuses(kind: type[DeviceInfo], options: dict[str, Any], text: str) -> None:
    assert refusal(kind, **options) == text


@pytest.mark.parametrize("option", [option for option, values in ASCEND_VALUES.items() if len(values) > 1])
def test_ascend_refusal_names_the_option_and_each_value(option: str) -> None:
    text = refusal(AscendDeviceInfo, **{option: "bad"})
    assert re.fullmatch(
        rf"Ascend device info '{option}' can only be '.*' or '.*', actually given 'bad'", text
    )
    assert all(f"'{value}'" in text for value in ASCEND_VALUES[option])


def test_acl_options_are_an_ascend_context() -> None:
    context = AclOptions(output_type="FP16", input_format="NHWC").context
    assert context.model_context.device_list == [
        {"device_type": "ascend", "output_type": "FP16", "input_format": "NHWC"}
    ]


@pytest.mark.parametrize("option", ACL_OPTIONS)
def test_acl_setters(option: str) -> None:
    options, value = AclOptions(), ASCEND_VALUES[option][-1]
    setter = getattr(options, f"set_{option}")
    setter(value)
    assert options.context.device_info("ascend") == {"device_type": "ascend", option: value}
    assert refusal(setter, 1) == f"Parameter '{option}' should be str, but actually <class 'int'>"


def test_acl_options_refuse_the_unknown() -> None:
    assert refusal(AclOptions, foo="x") == "Set ascend device info failed, unsupported parameter foo"


def test_gpu_options_are_a_gpu_context() -> None:
    assert GpuOptions(precision_mode="fp16").context.device_info("gpu")["precision_mode"] == "fp16"
    assert refusal(GpuOptions, foo="x") == "Set gpu device info failed, unsupported option foo"


def test_gpu_options_ignore_enable_trt_infer_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    options = GpuOptions(enable_trt_infer=True)
    assert options.context.device_info("gpu") == {"device_type": "gpu"}
    assert "'enable_trt_infer' of GpuOptions has no effect" in capsys.readouterr().err
    assert refusal(GpuOptions, enable_trt_infer="yes").startswith(
        "Parameter 'enable_trt_infer' should be bool"
    )
