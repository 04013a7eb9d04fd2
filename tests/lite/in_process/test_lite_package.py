"""Lite through the Python part of its own package; see fake_wrapper for what is below it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, StartUpError
from mindspore_serving.server.backend.lite.backend import LiteBackend
from mindspore_serving.server.backend.lite.package import PackageRuntime
from mindspore_serving.server.backend.lite.runtime import CompiledRuntime, find_runtime
from mindspore_serving.server.backend.lite.settings import settings_of
from mindspore_serving.server.backend.lite.stderr_text import StderrText
from mindspore_serving.tensor import Array
from tests.lite import models as made
from tests.lite.conftest import request_for
from tests.lite.in_process.fake_wrapper import mindspore_lite
from tests.lite.models import Models


@pytest.fixture(scope="module")
def package() -> Iterator[ModuleType]:
    with mindspore_lite() as module:
        yield module


def floats(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_the_package_is_taken_where_it_can_be_imported(package: ModuleType) -> None:
    assert isinstance(find_runtime(), PackageRuntime)


def test_a_package_that_cannot_be_imported_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mindspore_lite.py").write_text("import no_such_native_module")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "mindspore_lite"]:
        monkeypatch.delitem(sys.modules, name)
    assert isinstance(find_runtime(), CompiledRuntime)


@pytest.mark.parametrize("ending", [".mindir", ".ms"])
def test_a_dynamic_model(models: Models, package: ModuleType, ending: str) -> None:
    graph = LiteBackend(PackageRuntime(package)).load(
        request_for(models.get(made.add_dynamic, ending=ending))
    )
    assert graph.signature.inputs[1].name == "y"
    assert graph.signature.outputs[0].shape == (-1, 2)
    for rows in (1, 5, 2):
        x = floats(rows, 2)
        np.testing.assert_array_equal(graph.predict([x, x])[0], x + x)
    with pytest.raises(InvalidInput):
        graph.predict([x])
    graph.close()


def test_fixed_models(models: Models, package: ModuleType) -> None:
    backend = LiteBackend(PackageRuntime(package))
    assert backend.load(request_for(models.get(made.add_of_eight))).dynamic_batch
    assert not backend.load(request_for(models.get(made.reshaped))).dynamic_batch


def test_settings(package: ModuleType) -> None:
    request = request_for(
        Path("x"),
        device_type="gpu",
        device_id=3,
        context={"device_type": "gpu", "precision_mode": "fp16"},
        thread_num=2,
        enable_parallel=1,
        thread_affinity_core_list=(0, 1),
    )
    inner = PackageRuntime(package).context_of(settings_of(request))._context._inner_context
    assert (inner.threads, inner.parallel, inner.cores) == (2, 2, [0, 1])
    assert [(device.kind, device.options) for device in inner.devices] == [
        ("gpu", {"device_id": "3", "precision_mode": "fp16"}),
        ("cpu", {}),
    ]


def test_settings_on_ascend(package: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    options = {"precision_mode": "force_fp16", "input_format": "NCHW"}
    request = request_for(Path("x"), device_type="ascend", device_id=1, context=options)
    inner = PackageRuntime(package).context_of(settings_of(request))._context._inner_context
    assert inner.devices[0].options == {"device_id": "1", "precision_mode": "enforce_fp16"}


def test_the_reason_comes_from_stderr(
    package: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mindir"
    bad.write_bytes(bytes(range(200)))
    with pytest.raises(StartUpError, match=r"ParseFromArray failed.*please check the validity of the model"):
        LiteBackend(PackageRuntime(package)).load(request_for(bad))
    assert "ParseFromArray failed" in capfd.readouterr().err


def test_stderr_is_whole_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", file=sys.stderr)
    stderr = StderrText()
    with stderr:
        os.write(2, b"native\n")
        subprocess.run([sys.executable, "-c", "import sys; print('child', file=sys.stderr)"], check=True)
    print("after", file=sys.stderr)
    assert stderr.text == "native\nchild\n"
    assert capfd.readouterr().err == "before\nnative\nchild\nafter\n"
