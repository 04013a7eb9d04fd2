"""`ModelInferRequest` bytes to a request.

A client sends the same kind of request again and again, in which only the data and the id differ. So the fields of a
message are cut apart here: raw data is viewed where it lies, and what the protobuf library has read of the rest is
remembered by its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.proto.foreign import open_inference_pb2
from mindspore_serving.server.dialect.open_inference.grpc.contents import data_of, uses_contents
from mindspore_serving.server.dialect.open_inference.messages import (
    InferRequest,
    InputTensor,
    Parameter,
    RawData,
    RequestedOutput,
)
from mindspore_serving.tensor import MAX_DIMENSIONS
from mindspore_serving.wire import field_at, read_varint

MOST_FIELDS: Final = 4096
"""Fields of a message; each input, output, parameter and piece of raw data is one. So is each field of an input and of
an output, where there are many bytes of them."""
MOST_BESIDE_RAW: Final = 1 << 23
"""Bytes of a message that are no raw data. A tensor in typed contents may need 16 times as much memory while the
protobuf library reads it, and nobody else has a turn then: 0.2 s at most."""
_FEW_BYTES = 1 << 14
"""Bytes that hold so few fields that nobody counts them."""
_MOST_SHAPE_BYTES = MAX_DIMENSIONS * 10
"""Each size is a number of at most ten bytes."""
_LONGEST_REMEMBERED = 4096
_MOST_REMEMBERED = 256
"""Descriptions that are remembered; the longest ones are of 2000 inputs without anything, and take 0.3 MB each."""
_MODEL_NAME = 0x0A
_MODEL_VERSION = 0x12
_ID = 0x1A
_INPUT = 0x2A
_OUTPUT = 0x32
_RAW_INPUT = 0x3A
_SHAPE = 0x1A
"""In an input: its sizes, in one field."""
_BYTES_TYPE = 2
"""Type of a field that has its length in front, in the last three bits of its tag."""
_REGION = "shared_memory_region"


class Heading(NamedTuple):
    """What a request is for, as it was sent.

    Attributes:
        model, version, id: As of `InferRequest`.
    """

    model: str
    version: str
    id: str


class _Fields(NamedTuple):
    """A message, cut apart.

    Attributes:
        described: All fields but the following.
        id: Field `id`.
        raw: Fields `raw_input_contents`.
    """

    described: bytes
    id: str
    raw: list[memoryview]


class _Input(NamedTuple):
    """What a message says of an input.

    Attributes:
        name, datatype, shape, parameters: As of `InputTensor`.
        is_shared: Whether its data is in shared memory.
        contents: Typed elements; None where there are none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Mapping[str, Parameter]
    is_shared: bool
    contents: open_inference_pb2.InferTensorContents | None


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """What a message says beside its raw data and its id; the same object for the messages that say the same.

    Attributes:
        model, version, outputs, parameters: As of `InferRequest`.
        inputs: In their order.
        wants_raw: Inputs of which the data is not in shared memory.
        typed: Name of the first input with contents; None where there is none.
    """

    model: str
    version: str
    outputs: tuple[RequestedOutput, ...]
    parameters: Mapping[str, Parameter]
    inputs: tuple[_Input, ...]
    wants_raw: int
    typed: str | None


class Message(NamedTuple):
    """A message, cut apart.

    Attributes:
        description: What it says.
        id: Of the request.
        raw: The pieces of raw data, views of the message.
        is_remembered: Whether messages that say the same have the same description.
        byte_size: Bytes of the message.
    """

    description: Description
    id: str
    raw: list[memoryview]
    is_remembered: bool
    byte_size: int


def read_message(message: bytes) -> Message:
    """Cut a message apart, and read what it says.

    Args:
        message: Serialised ModelInferRequest.

    Raises:
        DecodeError, UnicodeDecodeError: The bytes are no ModelInferRequest.
        InvalidInput: It is larger than one is read; a parameter has no value; or a tensor has two kinds of data.
    """
    described, id, raw = _cut(message)
    if len(described) > MOST_BESIDE_RAW:
        raise InvalidInput(
            f"The request has {len(described)} bytes beside raw_input_contents, expected are at most "
            f"{MOST_BESIDE_RAW}; send large tensors in raw_input_contents"
        )
    if len(described) > _FEW_BYTES:
        _check_fields(described)
    is_remembered = bool(raw) and len(described) <= _LONGEST_REMEMBERED
    found = _remembered(described) if is_remembered else _describe(described)
    return Message(found, id, raw, is_remembered, len(message))


async def request_in(message: Message) -> InferRequest:
    """The request that a message is.

    Others have their turns while many elements of typed contents are read.

    Raises:
        InvalidInput: A tensor has no data, or contents that do not fit its datatype or its shape; or there is not as
            much raw data as there are inputs.
    """
    found = message.description
    if message.raw:
        inputs = _with_raw(found, message.raw)
    elif found.typed is None:
        inputs = [_without_data(tensor) for tensor in found.inputs]
    else:
        inputs = await _with_contents(found)
    return InferRequest(found.model, found.version, message.id, inputs, found.outputs, found.parameters)


def heading_in(beginning: bytes) -> Heading | None:
    """What stands in a message of which the rest may be missing, or wrong; None where no model does.

    Args:
        beginning: First bytes of a ModelInferRequest.
    """
    found = {_MODEL_VERSION: b"", _ID: b""}
    at = 0
    try:
        for _ in range(MOST_FIELDS):
            tag, end = field_at(beginning, at)
            if tag in (_MODEL_NAME, _MODEL_VERSION, _ID):
                _, start = read_varint(beginning, at + 1)
                found[tag] = beginning[start:end]
            at = end
    except (IndexError, ValueError):
        pass  # the rest is missing
    try:
        return Heading(*(found[tag].decode() for tag in (_MODEL_NAME, _MODEL_VERSION, _ID)))
    except (KeyError, UnicodeDecodeError):
        return None


def _cut(message: bytes) -> _Fields:
    """Cut a message apart.

    Raises:
        DecodeError: The bytes are no message.
        InvalidInput: It has too many fields.
    """
    kept: list[bytes] = []
    raw: list[memoryview] = []
    id = ""
    view = memoryview(message)
    size = len(message)
    at = run = fields = 0
    try:
        while at < size:
            begin = at
            tag, length = message[at], message[at + 1]
            start = at + 2
            if tag & 0x87 == _BYTES_TYPE:  # nearly always: one byte of tag
                if length > 0x7F:
                    length, start = read_varint(message, at + 1)
                at = start + length
                if at > size:
                    raise DecodeError("a field is longer than the message")
            else:
                tag, at = field_at(message, begin)
                if tag & 7 == _BYTES_TYPE:
                    start = at - _size_of_field(message, begin)
            fields += 1
            if fields > MOST_FIELDS:
                raise InvalidInput(f"The request has more than {MOST_FIELDS} fields")
            if tag in (_RAW_INPUT, _ID):
                if run < begin:
                    kept.append(message[run:begin])
                run = at
                if tag == _RAW_INPUT:
                    raw.append(view[start:at])
                else:
                    id = message[start:at].decode()  # each of them: protobuf does so
    except (ValueError, IndexError) as cause:
        raise DecodeError(str(cause)) from cause
    if run < size:
        kept.append(message[run:])
    return _Fields(b"".join(kept), id, raw)


def _check_fields(described: bytes) -> None:
    """Check that inputs and outputs have not too many fields: each parameter is read one by one, and so is each size.

    Raises:
        DecodeError: The bytes are no message.
        InvalidInput: They have.
    """
    at = fields = 0
    size = len(described)
    try:
        while at < size:
            begin = at
            tag, at = field_at(described, begin)
            if tag not in (_INPUT, _OUTPUT):
                continue
            inner = at - _size_of_field(described, begin)
            while inner < at:
                start = inner
                kind, inner = field_at(described, start)
                fields += 1
                if kind == _SHAPE and tag == _INPUT and inner - start > _MOST_SHAPE_BYTES + 4:
                    raise InvalidInput(f"An input has more than {MAX_DIMENSIONS} dimensions")
                if fields > MOST_FIELDS:
                    raise InvalidInput(
                        f"The inputs and outputs of the request have more than {MOST_FIELDS} fields: names, sizes, "
                        "parameters"
                    )
    except (ValueError, IndexError) as cause:
        raise DecodeError(str(cause)) from cause


def _size_of_field(message: bytes, at: int) -> int:
    """Bytes of the content of the field at a position, which has its length in front."""
    _, at = read_varint(message, at)
    return read_varint(message, at)[0]


def _describe(described: bytes) -> Description:
    """What a message says, read by the protobuf library."""
    message = open_inference_pb2.ModelInferRequest.FromString(described)
    inputs = tuple([_input_of(tensor) for tensor in message.inputs])
    return Description(
        model=message.model_name,
        version=message.model_version,
        outputs=tuple([RequestedOutput(one.name, _values_of(one.parameters)) for one in message.outputs]),
        parameters=_values_of(message.parameters),
        inputs=inputs,
        wants_raw=sum(not tensor.is_shared for tensor in inputs),
        typed=next((tensor.name for tensor in inputs if tensor.contents is not None), None),
    )


_remembered = lru_cache(maxsize=_MOST_REMEMBERED)(_describe)


def _input_of(tensor: open_inference_pb2.ModelInferRequest.InferInputTensor) -> _Input:
    parameters = _values_of(tensor.parameters)
    has_contents = tensor.HasField("contents") and uses_contents(tensor.contents)
    is_shared = _REGION in parameters
    if has_contents and is_shared:
        raise InvalidInput(
            f"Input '{excerpt(tensor.name)}' has contents, and parameter {_REGION}; expected is one of them"
        )
    contents = tensor.contents if has_contents else None
    return _Input(tensor.name, tensor.datatype, tuple(tensor.shape), parameters, is_shared, contents)


def _values_of(parameters: Mapping[str, Any]) -> Mapping[str, Parameter]:
    """Parameters as values.

    Raises:
        InvalidInput: One has none.
    """
    values: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidInput(f"Parameter '{excerpt(name)}' has no value, expected one of InferParameter")
        values[name] = getattr(parameter, kind)
    return MappingProxyType(values)


def _with_raw(found: Description, raw: list[memoryview]) -> list[InputTensor]:
    """The inputs of a message without contents.

    Raises:
        InvalidInput: It has contents, or not as many pieces of raw data as inputs that need one.
    """
    if found.typed is not None:
        raise InvalidInput(
            f"Input '{excerpt(found.typed)}' has contents, but the request has raw_input_contents, too; expected is "
            "one of the two for all inputs"
        )
    if len(raw) != found.wants_raw:
        raise InvalidInput(
            f"The request has {len(raw)} raw_input_contents, expected {found.wants_raw}: one for each input that is "
            "not in shared memory, in the order of inputs"
        )
    pieces = iter(raw)
    return [
        InputTensor(name, datatype, shape, None if is_shared else next(pieces), parameters)
        for name, datatype, shape, parameters, is_shared, _ in found.inputs
    ]


def _without_data(tensor: _Input) -> InputTensor:
    """An input of a message that has no data: it needs none.

    Raises:
        InvalidInput: It does.
    """
    if not tensor.is_shared and 0 not in tensor.shape:
        raise InvalidInput(
            f"Input '{excerpt(tensor.name)}' has no data, expected are raw_input_contents or contents for each input"
        )
    data = None if tensor.is_shared else b""
    return InputTensor(tensor.name, tensor.datatype, tensor.shape, data, tensor.parameters)


async def _with_contents(found: Description) -> list[InputTensor]:
    """The inputs of a message with contents.

    Raises:
        InvalidInput: As `data_of`.
    """
    inputs = []
    for name, datatype, shape, parameters, is_shared, contents in found.inputs:
        data: RawData | list[Any] | None = None
        if not is_shared:
            data = await data_of(name, datatype, shape, contents)
        inputs.append(InputTensor(name, datatype, shape, data, parameters))
    return inputs
