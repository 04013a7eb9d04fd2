"""What is refused when an ONNX model is loaded, and what is said of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.onnx.model_header import read_header
from mindspore_serving.server.backend.onnx.session import check_started, open_session
from mindspore_serving.server.backend.onnx.settings import settings_of
from tests.onnx import models
from tests.onnx.conftest import Load, request_for
from tests.onnx.models import FLOAT, node

VERSION = re.escape(onnxruntime.__version__)


def test_operators_that_are_too_new(load: Load, tmp_path: Path) -> None:
    path = models.add(tmp_path / "model.onnx", opset=99)
    with pytest.raises(
        StartUpError,
        match=rf"the file has opset 99 of ai.onnx, and ONNX Runtime {VERSION} has up to (\d\d); export it with a lower "
        r"one, with PyTorch torch.onnx.export\(\.\.\., opset_version=\1\), or convert it: "
        r"onnx.version_converter.convert_version\(model, \1\)",
    ):
        load(path)


def test_a_format_that_is_too_new(load: Load, tmp_path: Path) -> None:
    path = models.add(tmp_path / "model.onnx", ir_version=99)
    with pytest.raises(
        StartUpError,
        match=rf"the file has IR version 99, and ONNX Runtime {VERSION} reads up to \d\d; export it",
    ):
        load(path)


def test_operators_that_are_not_there(load: Load, tmp_path: Path) -> None:
    for name, domain, text in (
        ("Frobnicate", "", "No Op registered for Frobnicate with domain_version of 17"),
        ("Frob", "my.ops", "my.ops:Frob.* is not a registered function/op"),
    ):
        path = models.write(
            tmp_path / "model.onnx",
            [node(name, "x", "y", domain=domain)],
            [("x", FLOAT, ("n", 2))],
            [("y", FLOAT, ("n", 2))],
            domains={domain: 1} if domain else None,
        )
        with pytest.raises(
            StartUpError, match=rf"{text}; ONNX Runtime {VERSION} has no such operator: export the"
        ):
            load(path)


def test_a_constant_that_is_not_there(load: Load, tmp_path: Path) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Add", "x w", "y")],
        [("x", FLOAT, ("n", 2))],
        [("y", FLOAT, ("n", 2))],
    )
    with pytest.raises(
        StartUpError, match=f"cannot load '{path}': Invalid model. Node input 'w' is not a graph input"
    ):
        load(path)


def test_a_graph_that_does_not_run(load: Load, tmp_path: Path) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Reshape", "x shape", "y", allowzero=1)],
        [("x", FLOAT, (4, 2)), ("shape", models.TensorProto.INT64, (2,))],
        [("y", FLOAT, (4, 2))],
    )
    with pytest.raises(
        StartUpError, match=f"cannot run '{path}': Non-zero status code .* running Reshape node"
    ):
        load(path)


def test_damage_anywhere_is_an_error_or_a_model(load: Load, tmp_path: Path) -> None:
    content = models.lenet(tmp_path / "model.onnx").read_bytes()
    damaged = tmp_path / "damaged.onnx"
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        bad = bytearray(content)
        bad[random.integers(min(2000, len(bad)))] ^= 1 << random.integers(8)
        damaged.write_bytes(bad)
        try:
            load(damaged).close()
        except StartUpError as error:
            assert str(damaged) in str(error) or "model " in str(error)
            refused += 1
    assert refused > 5


def test_a_key_is_refused(load: Load, tmp_path: Path) -> None:
    with pytest.raises(
        StartUpError, match="ONNX models are not encrypted, but dec_key was given; leave it out"
    ):
        load(models.add(tmp_path / "model.onnx"), dec_key=b"0123456789abcdef")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threads": 1}, "unknown name 'threads', expected 'graph_optimization', 'inter_op_threads', "),
        (
            {"graph_optimization": "most"},
            "graph_optimization='most', expected 'disable' or 'basic' or 'extended' or",
        ),
        ({"inter_op_threads": 0}, "inter_op_threads=0, expected an int from 1 on"),
        ({"spinning": 1}, "spinning=1, expected True or False"),
        ({"providers": "A,,B"}, "providers='A,,B', expected names separated by commas"),
    ],
)
def test_options(load: Load, tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(StartUpError, match="^runtime_options of ONNX Runtime has .*" + re.escape(text)):
        load(models.add(tmp_path / "model.onnx"), options=options)


@pytest.mark.parametrize(
    ("fields", "provider", "package"),
    [
        ({"device_type": "gpu"}, "CUDAExecutionProvider", "onnxruntime-gpu"),
        ({"device_type": "ascend"}, "CANNExecutionProvider", "onnxruntime-cann"),
        (
            {"options": {"providers": "OpenVINOExecutionProvider"}},
            "OpenVINOExecutionProvider",
            "onnxruntime-openvino",
        ),
    ],
)
def test_providers_that_are_not_installed(
    load: Load, tmp_path: Path, fields: dict[str, Any], provider: str, package: str
) -> None:
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"the installed package has {provider}")
    with pytest.raises(
        StartUpError,
        match=rf"The installed ONNX Runtime {VERSION} has no {provider}, it has .*CPUExecutionProvider; .*"
        f"pip install {package}$",
    ):
        load(models.add(tmp_path / "model.onnx"), **fields)


def test_a_provider_that_does_not_start(tmp_path: Path) -> None:
    """As that of CUDA where its libraries are missing."""
    session = onnxruntime.InferenceSession(str(models.add(tmp_path / "model.onnx")))
    check_started(session, settings_of(request_for(tmp_path)))
    with pytest.raises(StartUpError, match=r"^CUDAExecutionProvider of ONNX Runtime did not start"):
        check_started(session, settings_of(request_for(tmp_path, device_type="gpu")))


def test_options_reach_the_session(tmp_path: Path) -> None:
    path = models.add(tmp_path / "model.onnx")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"session": {"session.set_denormal_as_zero": "1"}}))

    def opened(**fields: Any) -> Any:
        request = request_for(path, **fields)
        return open_session(path, read_header(path), settings_of(request)).get_session_options()

    plain = opened()
    assert plain.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert plain.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert (plain.enable_cpu_mem_arena, plain.enable_mem_pattern) == (True, True)
    assert plain.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    given = {"graph_optimization": "basic", "memory_arena": False, "memory_pattern": False, "spinning": True}
    other = opened(options=given, thread_num=3, config_file=str(config))
    assert other.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert (other.enable_cpu_mem_arena, other.enable_mem_pattern) == (False, False)
    assert other.intra_op_num_threads == 3
    assert other.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert other.get_session_config_entry("session.set_denormal_as_zero") == "1"
    parallel = opened(enable_parallel=1, thread_num=2)
    assert parallel.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert parallel.inter_op_num_threads == 2
    assert opened(options={"inter_op_threads": 5}, enable_parallel=1).inter_op_num_threads == 5
