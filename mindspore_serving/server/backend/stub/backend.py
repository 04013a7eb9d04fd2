"""A backend without models, for tests of everything around it. It announces itself, since what it answers is made up.

The file name alone says what a "model" does; what is in the file does not matter:

- `tensor_sub*` subtracts all later inputs from the first, any other name adds its inputs;
- `tensor_add_{I}_{O}.mindir` and `tensor_sub_{I}_{O}.mindir` have I inputs and O outputs, where output k is the first
  output plus k; other names have two inputs and one output. All are float32 of shape [2, 2];
- `sequence*` has one input, float32 of shape [-1, -1], and gives its rows doubled, and their sums, of shape [-1];
- `text*` has one input of text, of shape [-1, 1], and gives it in capitals;
- a name that goes on with `@ms_{device type}` or `@lite_{device type}_{device type}` loads only where the device types
  that it is loaded for are these: with `ms` the worker's alone, with `lite` the worker's and CPU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest
from mindspore_serving.server.backend.families import STUB_NOTE
from mindspore_serving.server.backend.input_check import InputCheck
from mindspore_serving.server.backend.run_errors import model_closed
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec

_SHAPE = (2, 2)
_COUNTS = re.compile(r"tensor_(?:add|sub)_(?P<inputs>\d+)_(?P<outputs>\d+)(?=\.|@|$)")


class StubGraph:
    """Adds or subtracts float32 arrays of shape [2, 2].

    Args:
        inputs: Number of inputs, at least 1.
        outputs: Number of outputs, at least 1.
        subtract: Whether later inputs are subtracted.
    """

    dynamic_batch = False

    def __init__(self, inputs: int, outputs: int, subtract: bool) -> None:
        self.signature = GraphSignature(_specs("x", inputs), _specs("y", outputs))
        self._sign = np.float32(-1 if subtract else 1)
        self._check = InputCheck(self.signature, _SHAPE[0])
        self._closed = False

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Compute all outputs; errors as the contract has them."""
        if self._closed:
            raise model_closed()
        self._check.rows_of(arrays)
        first = arrays[0].copy()
        for array in arrays[1:]:
            first += self._sign * array
        return [first + np.float32(k) if k else first for k in range(len(self.signature.outputs))]

    def close(self) -> None:
        """Refuse further calls."""
        self._closed = True


class StubRows:
    """Runs any number of rows of any length.

    Args:
        signature: What it takes and gives.
        compute: From the input to the outputs.
        request: How it is declared.
    """

    dynamic_batch = True

    def __init__(
        self, signature: GraphSignature, compute: Callable[[Array], list[Array]], request: LoadRequest
    ) -> None:
        self.signature = signature
        self._compute = compute
        self._check = InputCheck(signature, request.max_batch_size, request.without_batch(1))

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Compute all outputs; errors as the contract has them."""
        self._check.rows_of(arrays)
        return self._compute(arrays[0])

    def close(self) -> None:
        """Nothing to unload."""


def _doubled_and_summed(x: Array) -> list[Array]:
    return [x + x, x.sum(axis=1)]


def _in_capitals(texts: Array) -> list[Array]:
    return [np.array([text.upper() for text in texts.flat], object).reshape(texts.shape)]


_ROWS = {
    "sequence": (
        GraphSignature(
            (TensorSpec("x1", DataType.FLOAT32, (-1, -1)),),
            (TensorSpec("y1", DataType.FLOAT32, (-1, -1)), TensorSpec("y2", DataType.FLOAT32, (-1,))),
        ),
        _doubled_and_summed,
    ),
    "text": (
        GraphSignature(
            (TensorSpec("x1", DataType.STRING, (-1, 1)),), (TensorSpec("y1", DataType.STRING, (-1, 1)),)
        ),
        _in_capitals,
    ),
}


class StubBackend:
    """Makes graphs from file names."""

    def __init__(self) -> None:
        log.warning("%s", STUB_NOTE)

    def load(self, request: LoadRequest) -> LoadedGraph:
        """Make the graph that the file's name stands for; the key of an encrypted file is not looked at.

        Raises:
            StartUpError: The file does not exist, or its name asks for no inputs or outputs, or for other device types.
        """
        if not request.path.is_file():
            raise StartUpError(f"Model file '{request.path}' does not exist. {STUB_NOTE}")
        name = request.path.name
        for beginning, (signature, compute) in _ROWS.items():
            if name.startswith(beginning):
                return StubRows(signature, compute, request)
        counts = _COUNTS.match(name)
        inputs, outputs = (2, 1) if counts is None else (int(counts["inputs"]), int(counts["outputs"]))
        if not inputs or not outputs:
            raise StartUpError(
                f"Model file '{name}' asks for {inputs} inputs and {outputs} outputs, expected 1 or more. {STUB_NOTE}"
            )
        _check_device_types(name, request.device_type)
        return StubGraph(inputs, outputs, name.startswith("tensor_sub"))


def _specs(prefix: str, count: int) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"{prefix}{i + 1}", DataType.FLOAT32, _SHAPE) for i in range(count))


def _check_device_types(name: str, device_type: str) -> None:
    _, at, wanted = name.partition("@")
    if not at:
        return
    library, *expected = wanted.split("_")
    given = [device_type, "cpu"] if library == "lite" and device_type != "cpu" else [device_type]
    if expected != given:
        raise StartUpError(
            f"Model file '{name}' expects device infos {expected}, but got {given}. {STUB_NOTE}"
        )
