"""The texts of the files that `init` writes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mindspore_serving.cli.trial.jobs import ModelFound, Tensor
from mindspore_serving.options import DECLARED_FORMATS

_KEY_TEXT = """
# The key of the model. Let nobody but the server read this file.
KEY_FILE = Path({file})
"""
GRPC, REST = "127.0.0.1:5500", "127.0.0.1:1500"


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a model file is encrypted.

    Attributes:
        key_file: Absolute path of the file with the key.
        key_bytes: Length of the key; the file may end with a line end.
        mode: As `dec_mode` has it.
    """

    key_file: str
    key_bytes: int
    mode: str

    @property
    def options(self) -> str:
        """As options of a verb."""
        return f"--dec-key-file {shlex.quote(self.key_file)} --dec-mode {self.mode}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written.

    Attributes:
        name: Of the servable.
        file: Name of the model file.
        model_format: Of the file.
        model: What a trial has found of it.
        parameters: Names of the inputs as clients send them, in the order of the file.
        outputs: Names of the outputs in replies, each with the number of the model's output that it is.
        encryption: Of the file; None for a plain one.
    """

    name: str
    file: str
    model_format: str
    model: ModelFound
    parameters: Sequence[str]
    outputs: Sequence[tuple[str, int]]
    encryption: Encryption | None = None


def config_text(plan: Plan) -> str:
    """`servable_config.py`."""
    model, names = plan.model, ", ".join(plan.parameters)
    batch = (
        "The first dimension of its inputs and outputs is the batch. Clients send instances without it;\n"
        "# the server puts together what different clients send."
        if model.with_batch_dim
        else "It has no batch dimension: each instance runs by itself. With a dynamic first dimension, and\n"
        "# with_batch_dim=True, instances of different clients would run together."
    )
    renamed = [
        f"#     {parameter}: the file calls it {tensor.name!r}"
        for parameter, tensor in zip(plan.parameters, model.inputs, strict=True)
        if parameter != tensor.name
    ]
    note = "\n".join(
        ["# Names of parameters are the names that clients send. Not all of the file's can be one:", *renamed]
    )
    count = len(model.outputs)
    results = ["result"] if count == 1 else [f"result{i}" for i in range(1, count + 1)]
    model_format = _text(DECLARED_FORMATS[plan.model_format])
    declared = f"{_text(plan.file)}, {model_format}, with_batch_dim={model.with_batch_dim}"
    arguments = ", ".join(("model", *plan.parameters, f"outputs_count={count}"))
    return f'''"""Servable `{plan.name}`: what clients can call, and what happens before and after the model.

`mindspore-serving check {plan.name}` loads it without serving, and says how long batches take.
"""

from mindspore_serving.server import register

# The file lies in the folder of a version, `1`. A folder `2` beside it would be a newer version.
# {batch}
model = register.declare_model({declared})

# Python before or after the model is a function that takes the values of one instance and returns its outputs:
#
#     def preprocess(image):            # a register.Image() arrives as bytes, in a 1-D array of uint8
#         return decoded_and_scaled(image.tobytes())
#
# and one more line in the method:    x = register.add_stage(preprocess, image, outputs_count=1)
# The types in `inputs` are those of what clients send: then {{"image": register.Image()}}.
{f"{chr(10)}{note}{chr(10)}" if renamed else ""}

@register.register_method(
    output_names=[{_names(plan)}],
    inputs={{
{_types(plan.parameters, model.inputs, model)}
    }},
    outputs={{
{_types([name for name, _ in plan.outputs], _given(plan), model)}
    }},
)
def predict({names}):
    """What the model computes."""
    {", ".join(results)} = register.add_stage({arguments})
    return {", ".join(results[number] for _, number in plan.outputs)}
'''


def _names(plan: Plan) -> str:
    """Names of the outputs as source."""
    return ", ".join(_text(name) for name, _ in plan.outputs)


def _given(plan: Plan) -> list[Tensor]:
    """The outputs of the model that clients get."""
    return [plan.model.outputs[number] for _, number in plan.outputs]


def _types(names: Sequence[str], tensors: Sequence[Tensor], model: ModelFound) -> str:
    return "\n".join(
        f"        {_text(name)}: {_type(tensor, model)}," for name, tensor in zip(names, tensors, strict=True)
    )


def _shape(tensor: Tensor, model: ModelFound) -> list[int]:
    """Shape of one instance."""
    return list(tensor.shape[1:] if model.with_batch_dim else tensor.shape)


def _type(tensor: Tensor, model: ModelFound) -> str:
    if tensor.dtype == "string":
        return "register.Text()"
    if tensor.dtype == "bytes":
        return "register.Bytes()"
    return f"register.TensorSpec({_text(tensor.dtype)}, {_shape(tensor, model)})"


def _text(value: str) -> str:
    """A text as source, in double quotes where that needs no escapes."""
    return f'"{value}"' if value.isprintable() and not {'"', "\\"} & set(value) else repr(value)


def server_text(plan: Plan) -> str:
    """`serving_server.py`."""
    encryption = plan.encryption
    imports = "import sys" if encryption is None else "import sys\nfrom pathlib import Path"
    constants = "" if encryption is None else _KEY_TEXT.format(file=_text(encryption.key_file))
    config = f'".", "{plan.name}", device_ids=0'
    if encryption is not None:
        config += f', dec_key=KEY_FILE.read_bytes()[:{encryption.key_bytes}], dec_mode="{encryption.mode}"'
    return f'''"""Serves `{plan.name}` until Ctrl+C: python serving_server.py [GRPC_ADDRESS] [REST_ADDRESS]."""

{imports}

from mindspore_serving import server
{constants}

def main():
    addresses = sys.argv[1:] or ["{GRPC}", "{REST}"]
    # The folder that holds the servable, relative to this file, and its name. device_ids: a worker process for each.
    server.start_servables(server.ServableStartConfig({config}))
    server.start_grpc_server(addresses[0])
    server.start_restful_server(addresses[1])


if __name__ == "__main__":
    main()
'''


def client_text(plan: Plan) -> str:
    """`client.py`."""
    size = plan.model.size or 1
    dynamic = any(-1 in _shape(tensor, plan.model) for tensor in plan.model.inputs)
    constant = f"\nSIZE = {size}\n# Of dimensions that may have any size.\n" if dynamic else ""
    values = "\n".join(
        f"        {_text(name)}: {_value(tensor, plan.model)},"
        for name, tensor in zip(plan.parameters, plan.model.inputs, strict=True)
    )
    return f'''"""Asks `{plan.name}` with made-up values: python client.py [GRPC_ADDRESS]."""

import sys

import numpy as np

from mindspore_serving.client import Client
{constant}

def instance(seed=0):
    """One instance: the right types and shapes, and no meaning."""
    random = np.random.default_rng(seed)
    return {{
{values}
    }}


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "{GRPC}"
    with Client(address, "{plan.name}", "predict") as client:
        for result in client.infer([instance(seed=0), instance(seed=1)]):
            if "error" in result:
                sys.exit(result["error"])
            for name, value in result.items():
                print(name, getattr(value, "dtype", ""), getattr(value, "shape", ""))
                print(value)


if __name__ == "__main__":
    main()
'''


def _value(tensor: Tensor, model: ModelFound) -> str:
    shape = ", ".join("SIZE" if dim == -1 else str(dim) for dim in _shape(tensor, model))
    if tensor.dtype in ("string", "bytes"):
        return '"text"' if tensor.dtype == "string" else 'b"bytes"'
    shape = f"({shape},)" if "," not in shape and shape else f"({shape})"
    if tensor.dtype.startswith("float"):
        return f"np.asarray(random.random({shape})).astype(np.{tensor.dtype})"
    kind = "np.bool_" if tensor.dtype == "bool" else f"np.{tensor.dtype}"
    return f"np.zeros({shape}, {kind})"


def test_text(plan: Plan) -> str:
    """`test_NAME.py`."""
    numbers = [
        (name, tensor.dtype, _shape(tensor, plan.model))
        for (name, _), tensor in zip(plan.outputs, _given(plan), strict=True)
        if tensor.dtype not in ("string", "bytes")
    ]
    lines = "\n".join(
        f"    {_text(name)}: ({_text(dtype)}, {shape}),  # -1 is any size"
        if -1 in shape
        else f"    {_text(name)}: ({_text(dtype)}, {shape}),"
        for name, dtype, shape in numbers
    )
    expected = f"OUTPUTS = {{\n{lines}\n}}" if numbers else "OUTPUTS = {}"
    return f'''"""Starts the server on free ports, and asks it: python -m pytest test_{plan.name}.py."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from client import instance

from mindspore_serving.client import Client

FOLDER = Path(__file__).resolve().parent
START_S = 180
# Data type and shape of one instance's outputs.
{expected}
NAMES = [{_names(plan)}]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_it_listens(process, port):
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"the server has ended, its log is in {{FOLDER / 'serving_logs'}}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


@pytest.fixture(scope="module")
def client():
    grpc, rest = free_port(), free_port()
    command = [sys.executable, "serving_server.py", f"127.0.0.1:{{grpc}}", f"127.0.0.1:{{rest}}"]
    process = subprocess.Popen(command, cwd=FOLDER)
    try:
        wait_until_it_listens(process, rest)
        with Client(f"127.0.0.1:{{grpc}}", "{plan.name}", "predict") as connected:
            yield connected
    finally:
        process.terminate()
        process.wait(60)


def test_outputs_have_their_types(client):
    [result] = client.infer([instance()])
    assert list(result) == NAMES or set(result) == set(NAMES), result
    for name, (dtype, shape) in OUTPUTS.items():
        assert result[name].dtype == np.dtype(dtype)
        assert len(result[name].shape) == len(shape)
        assert all(want in (-1, got) for want, got in zip(shape, result[name].shape))


def test_equal_requests_have_equal_replies(client):
    [first], [second] = client.infer([instance()]), client.infer([instance()])
    for name in NAMES:
        np.testing.assert_array_equal(first[name], second[name])


def test_a_batch_has_a_result_for_each_instance(client):
    results = client.infer([instance(seed) for seed in range(5)])
    assert len(results) == 5
    assert all("error" not in result for result in results), results
'''
