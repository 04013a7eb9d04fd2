"""Paddle and MindSpore in one process: both bring a library oneDNN, of which the first one is used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paddle.conftest import Saved
from tests.support.serving import REPOSITORY

RUN_WITHIN_S = 110
MODELS = """
import sys
from pathlib import Path
import numpy as np
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadRequest

mindir, program, arrays = map(Path, sys.argv[1:])


def load(family, path):
    return create_backend(family).load(LoadRequest(path, True, (), 64, "cpu", 0, model_format=family))


saved = dict(np.load(arrays))


def check_paddle(graph):
    np.testing.assert_allclose(graph.predict([saved["image"]])[0], saved["output0"], rtol=1e-4, atol=1e-5)
"""
MINDSPORE_FIRST = f"""{MODELS}
import mindspore as ms

ms.set_device("CPU", 0)

class Network(ms.nn.Cell):
    def __init__(self):
        super().__init__()
        self.conv = ms.nn.Conv2d(3, 4, 3)

    def construct(self, x):
        return ms.ops.relu(self.conv(x))


x = saved["image"]
network = Network()
expected = network(ms.Tensor(x)).asnumpy()
ms.export(network, ms.Tensor(x), file_name=str(mindir), file_format="MINDIR")
one = load("mindspore", mindir)
other = load("paddle", program)
for _ in range(3):
    np.testing.assert_allclose(one.predict([x])[0], expected, rtol=1e-4, atol=1e-5)
    check_paddle(other)
print("both are right")
"""
PADDLE_FIRST = f"""{MODELS}
other = load("paddle", program)
check_paddle(other)
try:
    load("mindspore", mindir)
except StartUpError as error:
    print(error)
check_paddle(other)
"""


def run(script: str, *arguments: Path) -> str:
    file = arguments[0].with_name("script.py")  # MindSpore compiles source code of files only
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file), *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=RUN_WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(3 * RUN_WITHIN_S)
@pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed")
def test_in_one_process(both: dict[str, Saved], tmp_path: Path) -> None:
    files = (tmp_path / "conv.mindir", both["json"].path("conv"), both["json"].folder / "conv.npz")
    assert "both are right" in run(MINDSPORE_FIRST, *files)
    assert "declare the models of MindSpore first" in run(PADDLE_FIRST, *files)
