"""A MindIR file: names, types and shapes are read, or it is refused; plain, and as an encrypted one."""

from __future__ import annotations

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.mindspore.mindir_metadata import read_signature
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import MAX_DIMENSIONS, DataType
from tests.fuzz.oracle import demand, demand_text, file_with

KEY = b"0123456789ABCDEF"


def one_input(data: bytes) -> None:
    """Read a file with and without a key."""
    path = file_with(data, "model.mindir")
    for key in (None, KEY):
        try:
            signature = read_signature(path, key)
        except StartUpError as error:
            demand(f"'{path}'" in demand_text(error), "the file is named", error)
        else:
            _check(signature)


def _check(signature: GraphSignature) -> None:
    demand(bool(signature.outputs), "a model has outputs", signature)
    for spec in (*signature.inputs, *signature.outputs):
        demand(isinstance(spec.name, str) and type(spec.dtype) is DataType, "a spec is one", spec)
        demand(len(spec.shape) <= MAX_DIMENSIONS, "a shape is one that arrays can have", spec)
        demand(all(dim > 0 for dim in spec.shape[1:]), "dimensions are above 0", spec)
        demand(not spec.shape or spec.shape[0] > 0 or spec.shape[0] == -1, "the first may be dynamic", spec)
