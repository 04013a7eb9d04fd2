"""Devices of the libraries that run on CPU always."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindspore_serving.server.backend.families import FAMILIES


@pytest.mark.parametrize("family", ["lite", "onnx", "paddle"])
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], ("cpu",)),
        (["nvidia0"], ("cpu", "gpu")),
        (["davinci0"], ("cpu", "ascend")),
        (["nvidiactl", "davinci_manager"], ("cpu",)),
        (["nvidia1", "davinci3"], ("cpu", "ascend", "gpu")),
    ],
)
def test_device_types(tmp_path: Path, family: str, files: list[str], expected: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).touch()
    devices = FAMILIES[family].devices
    assert devices.device_types({}, tmp_path) == expected
    assert not any(devices.takes_one_worker(kind, tmp_path) for kind in expected)
