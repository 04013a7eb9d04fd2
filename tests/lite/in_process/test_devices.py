"""What a model asks for in its Context reaches Lite: read back from the objects of Lite itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.lite.library import LiteError
from mindspore_serving.server.backend.families import supported_device_types
from mindspore_serving.server.backend.lite.backend import LiteBackend
from mindspore_serving.server.backend.lite.runtime import CompiledRuntime, context_of
from mindspore_serving.server.backend.lite.settings import LiteSettings, settings_of
from mindspore_serving.server.register import AscendDeviceInfo, Context, CPUDeviceInfo, GPUDeviceInfo
from tests.lite import models as made
from tests.lite.conftest import request_for
from tests.lite.models import Models

CPU = {"device": "cpu", "precision_mode": "origin"}
ASCEND_OPTIONS = {
    "insert_op_cfg_path": "/some/aipp.cfg",
    "input_format": "NCHW",
    "input_shape": "x:1,3,224,224",
    "output_type": "FP16",
    "op_select_impl_mode": "high_precision",
    "fusion_switch_config_path": "/some/fusion.cfg",
    "buffer_optimize_mode": "l2_optimize",
}


def held_by_lite(context: Context, device_type: str, device_id: int = 0) -> list[dict[str, str]]:
    """A registered Context as Lite holds it, by the way of a worker."""
    settings = context.model_context
    request = request_for(
        Path("model.mindir"),
        device_type=device_type,
        device_id=device_id,
        context=context.device_info(device_type),
        thread_num=settings.thread_num,
        thread_affinity_core_list=tuple(settings.thread_affinity_core_list),
        enable_parallel=settings.enable_parallel,
    )
    return context_of(settings_of(request)).describe()


@pytest.mark.parametrize("device_type", ["cpu", "gpu", "ascend"])
def test_threads(device_type: str) -> None:
    context = Context(thread_num=3, thread_affinity_core_list=[0, 1], enable_parallel=True)
    common, *devices = held_by_lite(context, device_type)
    assert common == {"thread_num": "3", "thread_affinity_core_list": "0 1", "parallel_num": "2"}
    assert [device["device"] for device in devices] == list(dict.fromkeys([device_type, "cpu"]))


@pytest.mark.parametrize(
    ("settings", "parallel"),
    [
        ({"thread_num": 1, "enable_parallel": True}, "1"),
        ({"thread_num": 4, "enable_parallel": True}, "2"),
        ({"thread_num": 4, "enable_parallel": False}, "1"),
        ({"enable_parallel": True}, "2"),
    ],
)
def test_operators_side_by_side_are_no_more_than_threads(settings: dict[str, Any], parallel: str) -> None:
    assert held_by_lite(Context(**settings), "cpu")[0]["parallel_num"] == parallel


def test_cpu_precision() -> None:
    context = Context()
    context.append_device_info(CPUDeviceInfo(precision_mode="fp16"))
    context.append_device_info(GPUDeviceInfo(precision_mode="origin"))
    assert held_by_lite(context, "cpu")[1:] == [{"device": "cpu", "precision_mode": "fp16"}]


@pytest.mark.parametrize(
    ("mode", "in_lite", "fp16"), [("fp16", "preferred_fp16", "1"), ("origin", "enforce_fp32", "0")]
)
def test_gpu_comes_before_cpu(mode: str, in_lite: str, fp16: str) -> None:
    context = Context()
    context.append_device_info(GPUDeviceInfo(precision_mode=mode))
    gpu = {"device": "gpu", "device_id": "3", "precision_mode": in_lite, "enable_fp16": fp16}
    assert held_by_lite(context, "gpu", device_id=3)[1:] == [gpu, CPU]


@pytest.mark.parametrize(
    ("mode", "in_lite"),
    [
        ("force_fp16", "enforce_fp16"),
        ("allow_fp32_to_fp16", "preferred_fp32"),
        ("must_keep_origin_dtype", "enforce_origin"),
        ("allow_mix_precision", "preferred_optimal"),
    ],
)
def test_ascend_with_all_options(mode: str, in_lite: str) -> None:
    context = Context()
    context.append_device_info(AscendDeviceInfo(precision_mode=mode, **ASCEND_OPTIONS))
    ascend = {"device": "ascend", "device_id": "5", "precision_mode": in_lite, **ASCEND_OPTIONS}
    assert held_by_lite(context, "ascend", device_id=5)[1:] == [ascend, CPU]


@pytest.mark.parametrize("device_type", ["gpu", "ascend"])
def test_a_device_that_lite_lacks_here_is_the_reason(models: Models, device_type: str) -> None:
    if device_type in supported_device_types({"SERVING_BACKEND": "lite"}):
        pytest.skip("there is such a device here")
    with pytest.raises(
        StartUpError, match=r"dlopen .* failed, error: lib\w+\.so.*: cannot open shared object"
    ):
        LiteBackend(CompiledRuntime()).load(request_for(models.get(made.add), device_type=device_type))


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (("npu", {}), "unknown device type npu"),
        (("cpu", {"device_id": "1"}), "unknown option device_id"),
        (("gpu", {"input_format": "ND"}), "unknown option input_format"),
    ],
)
def test_what_lite_does_not_know_is_refused(device: tuple[str, dict[str, str]], text: str) -> None:
    with pytest.raises(LiteError, match=text):
        context_of(LiteSettings(0, 0, (), (device,)))
