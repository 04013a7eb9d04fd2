"""Raw binary requests: all of the body is the only input of a model, without any JSON."""

from __future__ import annotations

from math import prod

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.datatypes import BYTES, NAME_OF
from mindspore_serving.server.dialect.open_inference.http.request import BINARY_OUTPUT
from mindspore_serving.server.dialect.open_inference.messages import InferRequest, InputTensor
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import ITEM_SIZE


def raw_request(body: bytes, model: str, version: str, method: MethodSignature) -> InferRequest:
    """A body as one instance of a method; all outputs are binary.

    Args:
        body: All of it, decompressed: an array, or the only element of BYTES.
        model: Name of the model.
        version: As it was sent.
        method: What is asked for.

    Raises:
        InvalidInput: The method has not one input, or more than one size of it is not known.
    """
    types = method.inputs
    if len(types) != 1:
        names = ", ".join(one.name for one in types) or "none"
        raise InvalidInput(
            f"A body without JSON is the only input of a model, but the inputs of '{model}' are {names}"
        )
    [wanted] = types
    first = (1,) if method.rows and not wanted.shared else ()
    parameters = {BINARY_OUTPUT: True}
    if wanted.dtype.is_text or not wanted.dtype:
        tensor = InputTensor(wanted.name, BYTES, (1,), [body])
        return InferRequest(model, version, "", [tensor], (), parameters)
    if wanted.shape is None or wanted.shape.count(-1) > 1:
        raise InvalidInput(
            f"A body without JSON needs a shape with at most one size that is not known, but input '{wanted.name}' has "
            f"{'any' if wanted.shape is None else list(wanted.shape)}"
        )
    row_bytes = prod(abs(size) for size in wanted.shape) * ITEM_SIZE[wanted.dtype]
    rest = len(body) // row_bytes if row_bytes else 0
    shape = (*first, *(rest if size < 0 else size for size in wanted.shape))
    tensor = InputTensor(wanted.name, NAME_OF[wanted.dtype], shape, body)
    return InferRequest(model, version, "", [tensor], (), parameters)
