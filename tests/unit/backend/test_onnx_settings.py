"""What ONNX Runtime is told of a request."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.onnx.settings import OnnxSettings, settings_of


def settings(**fields: Any) -> OnnxSettings:
    request: dict[str, Any] = {
        "path": Path("model.onnx"),
        "with_batch_dim": True,
        "without_batch_dim_inputs": (),
        "max_batch_size": 64,
        "device_type": "cpu",
        "device_id": 3,
    }
    return settings_of(LoadRequest(**(request | fields)))


def test_defaults() -> None:
    cores = len(os.sched_getaffinity(0))
    assert settings() == OnnxSettings(cores, False, (("CPUExecutionProvider", {}),))


def test_threads() -> None:
    assert settings(thread_num=7).threads == 7
    assert settings(enable_parallel=1).parallel is True
    assert settings(enable_parallel=0).parallel is False
    assert settings(enable_parallel=1, options={"inter_op_threads": 2}).parallel is True
    for parallel in (-1, 0):
        with pytest.raises(
            StartUpError, match=r"has inter_op_threads, expected with it Context\(enable_parallel=True"
        ):
            settings(enable_parallel=parallel, options={"inter_op_threads": 2})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"device_type": "gpu"}, [("CUDAExecutionProvider", {"device_id": "3"})]),
        ({"device_type": "ascend"}, [("CANNExecutionProvider", {"device_id": "3"})]),
        (
            {
                "device_type": "ascend",
                "context": {"device_type": "ascend", "precision_mode": "force_fp16", "output_type": "FP16"},
            },
            [("CANNExecutionProvider", {"device_id": "3", "precision_mode": "force_fp16"})],
        ),
        (
            {
                "device_type": "gpu",
                "options": {"providers": "TensorrtExecutionProvider, CUDAExecutionProvider"},
            },
            [
                ("TensorrtExecutionProvider", {"device_id": "3"}),
                ("CUDAExecutionProvider", {"device_id": "3"}),
            ],
        ),
        ({"options": {"providers": "OpenVINOExecutionProvider"}}, [("OpenVINOExecutionProvider", {})]),
        ({"options": {"providers": "CPUExecutionProvider"}}, []),
    ],
)
def test_providers(fields: dict[str, Any], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert settings(**fields).providers == (*expected, ("CPUExecutionProvider", {}))


def test_config_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"session": {"a.b": "1"}, "providers": {"CUDAExecutionProvider": {"gpu_mem_limit": "9"}}}'
    )
    found = settings(device_type="gpu", config_file=str(path))
    assert found.session == {"a.b": "1"}
    assert found.providers[0] == ("CUDAExecutionProvider", {"device_id": "3", "gpu_mem_limit": "9"})
    with pytest.raises(
        StartUpError, match="options of the provider 'CUDAExecutionProvider', which the model does not"
    ):
        settings(config_file=str(path))
    path.write_text("{}")
    assert settings(config_file=str(path)) == settings()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[ascend]", "is no JSON: "),
        ("[]", "is not what ONNX Runtime models take; expected {"),
        ('{"sessions": {}}', "is not what ONNX Runtime models take; expected {"),
        ('{"session": {"a": 1}}', "is not what ONNX Runtime models take; expected {"),
        ('{"session": []}', "is not what ONNX Runtime models take; expected {"),
        ('{"providers": []}', "is not what ONNX Runtime models take; expected {"),
        ('{"providers": {"A": {"b": 1}}}', "is not what ONNX Runtime models take; expected {"),
    ],
)
def test_config_files_that_are_none(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(StartUpError, match=re.escape(f"config_file '{path}' {text}")):
        settings(config_file=str(path))


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match=r"none\.json' cannot be read: No such file"):
        settings(config_file=str(tmp_path / "none.json"))
