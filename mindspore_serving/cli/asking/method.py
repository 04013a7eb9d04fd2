"""What a server says of what it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType

READY = "READY"
TEXT_OR_BYTES = "text or bytes"
"""`TensorType.content` of BYTES of the Open Inference Protocol, which says no more."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a servable, or a model of another server.

    Attributes:
        servable: Name of the servable, or of the model.
        method: Name of the method; "" for a model of another server.
        version: A number, or what another server has for one; "" for the newest one.
        state: `READY` or another state of the Open Inference Protocol.
        reason: Why it is not ready.
        inputs: What it takes, each with the shape of one instance.
        outputs: What it gives, likewise.
        rows: Whether tensors of the Open Inference Protocol have a dimension of rows in front.
        typed: Whether the server has reported the inputs; otherwise `inputs` is empty.
        description: In words.
        example: An instance as `instances` of REST has it; None where the server has none.
    """

    servable: str
    method: str = ""
    version: str = ""
    state: str = READY
    reason: str = ""
    inputs: tuple[TensorType, ...] = ()
    outputs: tuple[TensorType, ...] = ()
    rows: bool = False
    typed: bool = True
    description: str = ""
    example: Mapping[str, Any] | None = None

    @property
    def model(self) -> str:
        """What the Open Inference Protocol and v1 call it."""
        return f"{self.servable}.{self.method}" if self.method else self.servable

    def input_named(self, name: str) -> TensorType | None:
        """An input; None where there is none of this name."""
        return next((one for one in self.inputs if one.name == name), None)


def type_text(one: TensorType) -> str:
    """An input or output as people read it, as `float32[2,-1]`."""
    if one.content:
        return one.content
    if one.dtype.is_text:
        return "text" if one.dtype is DataType.STRING else "bytes"
    name = "any type" if one.dtype is DataType.UNKNOWN else one.dtype.name.lower()
    if one.shape is None:
        return name
    return f"{name}[{','.join('?' if dim == -1 else str(dim) for dim in one.shape)}]" if one.shape else name


def types_document(types: Sequence[TensorType]) -> list[dict[str, Any]]:
    """Inputs or outputs for `--json`."""
    return [
        {
            "name": one.name,
            "type": "text" if one.dtype is DataType.STRING else one.dtype.name.lower(),
            "shape": None if one.shape is None else list(one.shape),
            **({"content": one.content} if one.content else {}),
            **({"description": one.description} if one.description else {}),
        }
        for one in types
    ]
