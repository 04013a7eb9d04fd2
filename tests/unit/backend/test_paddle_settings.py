"""What Paddle is told for a request: the calls of its configuration, on a stand-in that writes them down."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.mindspore.runtime import start_mindspore
from mindspore_serving.server.backend.paddle.library import reason_of
from mindspore_serving.server.backend.paddle.model_files import files_of
from mindspore_serving.server.backend.paddle.settings import OPTIONS, configured, settings_of


class Recorder:
    """A configuration that writes down what is called."""

    def __init__(self, *files: str) -> None:
        self.files = files
        self.calls: dict[str, tuple[Any, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> None:
            self.calls[name] = (*arguments, options) if options else arguments

        return call


def paddle(cuda: bool = True, npu: bool = True, bfloat16: bool = True) -> Any:
    return SimpleNamespace(
        __version__="3.3.1",
        is_compiled_with_cuda=lambda: cuda,
        is_compiled_with_custom_device=lambda kind: npu and kind == "npu",
        base=SimpleNamespace(core=SimpleNamespace(supports_bfloat16=lambda: bfloat16)),
        inference=SimpleNamespace(
            Config=Recorder,
            PrecisionType=SimpleNamespace(Float32=0, Half=1, Bfloat16=2, Int8=3),
        ),
    )


def request_for(path: str = "/m/inference.pdmodel", **fields: Any) -> LoadRequest:
    request: dict[str, Any] = {
        "path": Path(path),
        "with_batch_dim": True,
        "without_batch_dim_inputs": (),
        "max_batch_size": 8,
        "device_type": "cpu",
        "device_id": 2,
    }
    return LoadRequest(**(request | fields))


def told(request: LoadRequest, **has: bool) -> Recorder:
    config = configured(paddle(**has), files_of(request.path), settings_of(request))
    assert isinstance(config, Recorder)
    return config


def cpu(**options: Any) -> dict[str, tuple[Any, ...]]:
    return told(request_for(options=options)).calls


def test_by_default() -> None:
    threads = len(os.sched_getaffinity(0))
    assert cpu() == {
        "disable_glog_info": (),
        "switch_ir_optim": (True,),
        "enable_memory_optim": (True,),
        "set_cpu_math_library_num_threads": (threads,),
        "enable_onednn": (),
    }


@pytest.mark.parametrize(
    ("options", "call", "arguments"),
    [
        ({"ir_optim": False}, "switch_ir_optim", (False,)),
        ({"mem_optim": False}, "enable_memory_optim", (False,)),
        ({"thread_num": 3}, "set_cpu_math_library_num_threads", (3,)),
        ({"use_mkldnn": False}, "disable_onednn", ()),
        ({"mkldnn_cache_capacity": 5}, "set_onednn_cache_capacity", (5,)),
        ({"mkldnn_op_list": "conv2d, fc"}, "set_onednn_op", ({"conv2d", "fc"},)),
        ({"precision": "bf16"}, "enable_onednn_bfloat16", ()),
        ({"precision": "bf16", "mkldnn_bf16_op_list": "fc"}, "set_bfloat16_op", ({"fc"},)),
        ({"precision": "int8"}, "enable_onednn_int8", ()),
    ],
    ids=lambda value: None if isinstance(value, tuple) else str(value),  # a set has no order
)
def test_on_cpu(options: dict[str, Any], call: str, arguments: tuple[Any, ...]) -> None:
    calls = cpu(**options)
    assert calls[call] == arguments
    assert ("enable_onednn" in calls) == options.get("use_mkldnn", True)
    assert not [name for name in calls if "gpu" in name or "tensorrt" in name]


def test_a_context_wins_over_the_option() -> None:
    calls = told(request_for(thread_num=2, options={"thread_num": 3})).calls
    assert calls["set_cpu_math_library_num_threads"] == (2,)


@pytest.mark.parametrize(("precision", "number"), [("fp32", 0), ("fp16", 1), ("bf16", 2), ("int8", 3)])
def test_on_gpu(precision: str, number: int) -> None:
    options = {"precision": precision, "gpu_memory_mb": 70}
    calls = told(request_for(device_type="gpu", options=options)).calls
    assert calls["enable_use_gpu"] == (70, 2, number)
    assert not [name for name in calls if "onednn" in name or "tensorrt" in name]


def test_with_tensorrt() -> None:
    options = {
        "use_trt": True,
        "precision": "fp16",
        "min_subgraph_size": 4,
        "trt_use_static": True,
        "use_calib": True,
    }
    calls = told(request_for(device_type="gpu", options=options)).calls
    assert calls["enable_use_gpu"] == (50, 2, 1)
    assert calls["enable_tensorrt_engine"] == (
        {
            "workspace_size": 33554432,
            "max_batch_size": 8,
            "min_subgraph_size": 4,
            "precision_mode": 1,
            "use_static": True,
            "use_calib_mode": True,
        },
    )


def test_on_ascend() -> None:
    calls = told(request_for(device_type="ascend", options={"precision": "fp16"})).calls
    assert calls["enable_custom_device"] == ("npu", 2, 1)


@pytest.mark.parametrize("device_type", ["gpu", "ascend"])
def test_a_package_without_the_device(device_type: str) -> None:
    with pytest.raises(StartUpError, match=f"runs no models on device type '{device_type}'; install"):
        told(request_for(device_type=device_type), cuda=False, npu=False)


def test_bfloat16_that_the_cpu_has_not(caplog: pytest.LogCaptureFixture) -> None:
    told(request_for(options={"precision": "bf16"}))
    assert caplog.text == ""
    told(request_for(options={"precision": "bf16"}), bfloat16=False)
    assert "precision='bf16' has no effect" in caplog.text


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"options": {"use_trt": False}}, "use_trt"),
        ({"options": {"precision": "fp16"}}, "precision='fp16'"),
        ({"device_type": "gpu", "options": {"use_mkldnn": True}}, "use_mkldnn"),
        ({"device_type": "gpu", "options": {"use_calib": True}}, "use_calib"),
        ({"device_type": "ascend", "options": {"use_trt": True}}, "use_trt"),
        ({"config_file": "/some"}, "config_file"),
        ({"enable_parallel": 0}, "enable_parallel"),
        ({"context": {"precision_mode": "preferred_fp16"}}, "precision_mode"),
        ({"path": Path("/m/inference.json"), "options": {"mem_optim": True}}, "mem_optim"),
        ({"thread_num": 1, "options": {"thread_num": 1}}, "runtime_options thread_num"),
    ],
    ids=str,
)
def test_without_effect(fields: dict[str, Any], named: str, caplog: pytest.LogCaptureFixture) -> None:
    settings_of(request_for(**fields))
    suffix = "json" if "path" in fields else "pdmodel"
    assert f"Options without effect in Paddle Inference, model /m/inference.{suffix}: {named}" in caplog.text


def test_what_has_an_effect_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    settings_of(
        request_for(context={"device_type": "cpu", "precision_mode": "origin"}, options={"ir_optim": True})
    )
    settings_of(
        request_for(device_type="gpu", options={"use_trt": True, "use_calib": True, "precision": "fp16"})
    )
    assert caplog.text == ""


def test_a_json_program_is_not_told_of_memory() -> None:
    assert "enable_memory_optim" not in told(request_for("/m/inference.json")).calls


@pytest.mark.parametrize(
    ("path", "made", "files"),
    [
        ("inference.json", (), ("inference.json", "")),
        ("inference.json", ("inference.pdiparams",), ("inference.json", "inference.pdiparams")),
        ("a.b.pdmodel", ("a.b.pdiparams",), ("a.b.pdmodel", "a.b.pdiparams")),
        ("__model__", ("__params__",), ("__model__", "__params__")),
        ("__model__", (), ("",)),
    ],
)
def test_files(tmp_path: Path, path: str, made: tuple[str, ...], files: tuple[str, ...]) -> None:
    for name in made:
        (tmp_path / name).touch()
    found = told(request_for(str(tmp_path / path))).files
    expected = [str(tmp_path / name) if name else "" for name in files]
    assert list(found) == (expected if len(files) > 1 else [str(tmp_path)])


def test_all_options_are_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "paddle.md").read_text()
    assert [name for name in OPTIONS if f"\n| `{name}` |" not in page] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "(InvalidArgument) Broken, it is\n  [Hint: Expected a == true.] (at /paddle/x.cc:5)\n  [operator]",
            "InvalidArgument: Broken, it is",
        ),
        (
            "In user code:\n\n    InvalidArgumentError: Broken (at /paddle/x.cc:586)\n      [operator < a > error]",
            "InvalidArgument: Broken",
        ),
        (
            "C++ Traceback:\n0 paddle::f()\nError Message Summary:\n-----\nNotFoundError: No\n  file. (at /x.cc:1)",
            "NotFound: No file.",
        ),
        ("[json.exception]  some\ntext", "[json.exception] some text"),
        ("", "ValueError('')"),
    ],
)
def test_reason(text: str, reason: str) -> None:
    assert reason_of(ValueError(text)) == reason


def test_mindspore_is_not_loaded_after_paddle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddle", ModuleType("paddle"))
    monkeypatch.delitem(sys.modules, "mindspore", raising=False)
    with pytest.raises(
        StartUpError, match="cannot be loaded after it, only before: declare the models of MindSpore"
    ):
        start_mindspore("cpu", 0)
