"""The servables that the clients ask, and the server that runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.support.gate import Gate
from tests.support.serving import RunningServer, add_servable, serving

DATA_TYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
"""Names on the wire of all data types that numpy has, without texts and bytes."""

_HEAD = """\
import numpy as np

from mindspore_serving.server import register


def same(x):
    return x
"""

_IDENTITY = """

@register.register_method(output_names=["y"], inputs={{"x": {spec}}}, outputs={{"y": {spec}}})
def {name}(x):
    return register.add_stage(same, x, outputs_count=1)
"""

_MORE = """

def sum_and_difference(a, b):
    return a + b, a - b


@register.register_method(
    output_names=["total", "difference"],
    inputs={"a": register.TensorSpec("float32", [3]), "b": register.TensorSpec("float32", [3])},
    outputs={"total": register.TensorSpec("float32", [3]), "difference": register.TensorSpec("float32", [3])},
)
def add_sub(a, b):
    return register.add_stage(sum_and_difference, a, b, outputs_count=2)


def root_of(x):
    if x == -2:
        raise ValueError("-2 breaks it")
    if x < 0:
        raise register.InvalidInput(f"{float(x)} has no root")
    return np.sqrt(x)


@register.register_method(
    output_names=["y"],
    inputs={"x": register.TensorSpec("float32", [])},
    outputs={"y": register.TensorSpec("float32", [])},
)
def root(x):
    return register.add_stage(root_of, x, outputs_count=1)


@register.register_method(output_names=["y"])
def as_sent(x):
    return register.add_stage(same, x, outputs_count=1)
"""

_ADD = """\
from mindspore_serving.server import register

batched = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=True)
whole = register.declare_model("tensor_sub.mindir", "MindIR", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(batched, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def subtract(x1, x2):
    return register.add_stage(whole, x1, x2, outputs_count=1)
"""

_HELD = """

def wait(x):
    pass_gate()
    return x


@register.register_method(
    output_names=["y"],
    inputs={"x": register.TensorSpec("float32", [])},
    outputs={"y": register.TensorSpec("float32", [])},
)
def held(x):
    return register.add_stage(wait, x, outputs_count=1)
"""


def _echo() -> str:
    """The source of a servable with a method for each data type that gives back what it gets."""
    specs = {
        f"identity_{np.dtype(kind).name}": f'register.TensorSpec("{np.dtype(kind).name}", [-1])'
        for kind in DATA_TYPES.values()
    }
    specs["identity_text"] = "register.Text()"
    specs["identity_bytes"] = "register.Bytes()"
    specs["scores"] = 'register.TensorSpec("float32", [4])'
    methods = (_IDENTITY.format(name=name, spec=spec) for name, spec in specs.items())
    return _HEAD + "".join(methods) + _MORE


ECHO = _echo()
FIRST_OF_ECHO = "echo.identity_bool"
"""The method that is meant where a client names the servable alone."""

MODELS = (
    *(f"echo.identity_{np.dtype(kind).name}" for kind in DATA_TYPES.values()),
    *(f"echo.{name}" for name in ("identity_text", "identity_bytes", "scores", "add_sub", "root", "as_sent")),
    "add.add",
    "add.subtract",
)


@contextlib.contextmanager
def clients_server(folder: Path, **options: str) -> Iterator[RunningServer]:
    """A server of `echo`, which is Python only, and `add`, which has models.

    Args:
        folder: Where the servables and the start script are written.
        options: Further arguments of `serving`.
    """
    add_servable(folder, "echo", ECHO, ())
    add_servable(folder, "add", _ADD, ("1/tensor_add.mindir", "1/tensor_sub.mindir"))
    with serving(folder, ['".", "echo", device_ids=0', '".", "add", device_ids=1'], **options) as running:
        yield running


@contextlib.contextmanager
def held_server(folder: Path, gate: Gate) -> Iterator[RunningServer]:
    """A server of `held`, whose only method waits at the gate."""
    add_servable(folder, "held", gate.source + "\n" + _HEAD.replace("import numpy as np\n\n", "") + _HELD, ())
    with serving(folder, ['".", "held", device_ids=0']) as running:
        yield running
