"""One real server for all verbs that ask one, and a terminal to type them in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.command_line import Terminal
from tests.support.serving import RunningServer, add_servable, serving

KEY = "a-key-of-sixteen-characters"
"""What gRPC of the server asks for; REST asks for none."""

ADD = """\
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)


@register.register_method(output_names=["y"], examples=[{"x1": [1.0, 2.0], "x2": [10.0, 20.0]}])
def predict(x1, x2):
    \"\"\"Adds two vectors.\"\"\"
    return register.add_stage(model, x1, x2, outputs_count=1)
"""

PICTURES = """\
import numpy as np

from mindspore_serving.server import register


def looked(picture, label):
    if label == "nothing":
        raise register.InvalidInput("there is nothing to see")
    return f"{label}: {len(picture)} bytes", picture.tobytes(), np.arange(100, dtype=np.float32)


@register.register_method(
    output_names=["text", "same", "scores"],
    inputs={"picture": register.Image("any"), "label": register.Text()},
    outputs={
        "text": register.Text(),
        "same": register.Image(),
        "scores": register.TensorSpec("float32", [100]),
    },
)
def look(picture, label):
    return register.add_stage(looked, picture, label, outputs_count=3)


@register.register_method(output_names=["y"])
def anything(x):
    return x
"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of `add`, a model with one method, and `pictures`, functions with two."""
    folder = tmp_path_factory.mktemp("served")
    add_servable(folder, "add", ADD)
    add_servable(folder, "pictures", PICTURES, files=())
    configs = ['".", "add", device_ids=0', '".", "pictures", num_parallel_workers=1']
    with serving(folder, configs, grpc_options=f"api_keys=[{KEY!r}]") as server:
        yield server


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Where commands are typed."""
    return Terminal(capsys, monkeypatch)
