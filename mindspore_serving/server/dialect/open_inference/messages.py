"""A request for inference and its reply, whichever transport they came by.

Tensors keep the form in which they were sent, until it is known what the method takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

LISTING: Final = "GET /v2/models or RepositoryIndex"
"""Request that lists the models, for error texts."""
Parameter: TypeAlias = bool | int | float | str
"""Value of a parameter of a request or of a tensor."""
RawData: TypeAlias = bytes | memoryview
"""A tensor as raw bytes: little-endian, row-major, without padding. An element of BYTES is its length as uint32, and
that many bytes."""


@dataclass(slots=True)
class InputTensor:
    """One input, as it was sent.

    Attributes:
        name: Of the input.
        datatype: As the protocol calls it, for example `FP32`.
        shape: As it was sent: sizes may be negative, or not fit the data.
        data: Raw bytes, or the elements as a list, flat or nested like the shape: bool, int, float, str, or bytes. None
            where the data is in shared memory, as the parameters say.
        parameters: Of the tensor.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: RawData | list[Any] | None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class RequestedOutput:
    """One output that a request asks for.

    Attributes:
        name: Of the output.
        parameters: As `classification`, `binary_data`, or where in shared memory it is to be written.
    """

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class InferRequest:
    """A request for inference.

    Attributes:
        model: Name of the model: `servable`, or `servable.method`.
        version: Version, as it was sent; "" for the newest one that is ready.
        id: Given by the client, and sent back; "" where it has given none.
        inputs: In the order in which they were sent.
        outputs: Those that are asked for; empty for all.
        parameters: Of the request.
    """

    model: str
    version: str
    id: str
    inputs: Sequence[InputTensor]
    outputs: Sequence[RequestedOutput] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class OutputTensor:
    """One output of a reply.

    Attributes:
        name: Of the output.
        datatype: As the protocol calls it.
        shape: Sizes, that of the rows included.
        data: Raw bytes; None where they were written to shared memory, as the parameters say.
        parameters: Of the tensor.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: RawData | None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class InferReply:
    """The reply to a request for inference.

    Attributes:
        model: As it was asked for.
        version: The one that has answered.
        id: As of the request.
        outputs: In the order in which they were asked for; all in the order of the method where none were.
        parameters: Of the reply.
    """

    model: str
    version: str
    id: str
    outputs: Sequence[OutputTensor]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
