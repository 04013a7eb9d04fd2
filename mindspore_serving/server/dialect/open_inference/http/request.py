"""The body of a request over HTTP: a JSON document, and the raw tensors that may stand behind it.

    JSON | data of the first input that has `binary_data_size` | data of the next | ...

The header `Inference-Header-Content-Length` says how long the JSON is. Without it, all of the body is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.json_text import load_json
from mindspore_serving.server.dialect.open_inference.messages import (
    InferRequest,
    InputTensor,
    Parameter,
    RequestedOutput,
)
from mindspore_serving.server.dialect.open_inference.shared_data import REGION

MOST_TENSORS: Final = 1024
"""Inputs of a request, and outputs that it names. Each costs far more time to pass on than its bytes to read."""
LENGTH_FIELD: Final = "inference-header-content-length"
BINARY_SIZE: Final = "binary_data_size"
BINARY_DATA: Final = "binary_data"
BINARY_OUTPUT: Final = "binary_data_output"
_NOTHING: Final[Mapping[str, Parameter]] = MappingProxyType({})
_SCALARS: Final = frozenset((str, int, float, bool))
_FLAGS: Final = (BINARY_DATA, BINARY_OUTPUT)


def header_length(headers: Mapping[str, str]) -> int | None:
    """Bytes of the JSON in front of raw tensors; None where all of the body is JSON, 0 for a body that has none.

    Args:
        headers: Of the request.

    Raises:
        InvalidInput: The header that says so holds no length.
    """
    value = headers.get(LENGTH_FIELD)
    if value is None:
        return None
    text = value.strip(" \t")
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise InvalidInput(
        f"Header Inference-Header-Content-Length should be a number of bytes, but is {excerpt(repr(value))}"
    )


def read_request(body: bytes, length: int | None, model: str, version: str) -> InferRequest:
    """A request for inference; raw tensors are views of the body.

    Args:
        body: All of it, decompressed.
        length: From `header_length`, not 0.
        model: Name of the model.
        version: As it was sent.

    Raises:
        InvalidInput: The body holds no request.
    """
    if length is None:
        asked = _request_of(read_document(body), model, version)
        for tensor in asked.inputs:
            if BINARY_SIZE in tensor.parameters:
                raise InvalidInput(
                    f"Input '{excerpt(tensor.name)}' has {BINARY_SIZE}, but the request has no header "
                    "Inference-Header-Content-Length"
                )
        return asked
    if length > len(body):
        raise InvalidInput(
            f"Header Inference-Header-Content-Length is {length}, but the body has only {len(body)} bytes"
        )
    view = memoryview(body)
    asked = _request_of(read_document(view[:length]), model, version)
    _take_raw_tensors(asked, view[length:])
    return asked


def read_document(text: bytes | memoryview) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        InvalidInput: It is no JSON object.
        MemoryError: There is no memory to read it.
    """
    try:
        document = load_json(text)
    except orjson.JSONDecodeError as cause:
        raise InvalidInput(f"The request is no JSON: {cause}") from cause
    if type(document) is not dict:
        raise InvalidInput(f"The request should be a JSON object, but is {kind_of(document)}")
    return document


def request_id_of(document: Mapping[str, Any]) -> str:
    """The id of a request; "" where it has none.

    Raises:
        InvalidInput: It is no string.
    """
    given = document.get("id")
    if given is None:
        return ""
    if type(given) is not str:
        raise InvalidInput(f"id should be a string, but is {kind_of(given)}")
    return given


def parameters_of(document: Mapping[str, Any], what: str) -> Mapping[str, Parameter]:
    """The parameters of a request or a tensor.

    Args:
        document: Of the request or the tensor.
        what: What that is, for errors.

    Raises:
        InvalidInput: They are no object, or one is neither string, number nor bool.
    """
    found = document.get("parameters")
    if not found and (found is None or type(found) is dict):
        return _NOTHING
    if type(found) is not dict:
        raise InvalidInput(f"{what}: parameters should be an object, but is {kind_of(found)}")
    for name, value in found.items():
        if type(value) not in _SCALARS:
            raise InvalidInput(
                f"{what}: parameter '{excerpt(name)}' should be a string, a number or a bool, but is {kind_of(value)}"
            )
    for flag in _FLAGS:
        if flag in found and type(found[flag]) is not bool:
            raise InvalidInput(
                f"{what}: parameter {flag} should be true or false, but is {kind_of(found[flag])}"
            )
    return found


def _request_of(document: dict[str, Any], model: str, version: str) -> InferRequest:
    inputs = document.get("inputs")
    if type(inputs) is not list:
        raise InvalidInput(f"inputs should be a list of tensors, but is {kind_of(inputs)}")
    outputs = document.get("outputs")
    if outputs is not None and type(outputs) is not list:
        raise InvalidInput(f"outputs should be a list, but is {kind_of(outputs)}")
    for what, named in (("inputs", inputs), ("outputs", outputs or ())):
        if len(named) > MOST_TENSORS:
            raise InvalidInput(f"The request has {len(named)} {what}, expected are at most {MOST_TENSORS}")
    return InferRequest(
        model,
        version,
        request_id_of(document),
        [_input_of(tensor) for tensor in inputs],
        [_output_of(output) for output in outputs] if outputs else (),
        parameters_of(document, "The request"),
    )


def _input_of(document: Any) -> InputTensor:
    if type(document) is not dict:
        raise InvalidInput(f"An input should be an object, but is {kind_of(document)}")
    name, datatype, shape = document.get("name"), document.get("datatype"), document.get("shape")
    data = document.get("data")
    if type(name) is not str:
        raise InvalidInput(f"name of an input should be a string, but is {kind_of(name)}")
    if type(datatype) is not str:
        raise InvalidInput(
            f"datatype of input '{excerpt(name)}' should be a string, but is {kind_of(datatype)}"
        )
    if type(shape) is not list or not set(map(type, shape)) <= {int}:
        raise InvalidInput(
            f"shape of input '{excerpt(name)}' should be a list of whole numbers, but is {_shape_kind(shape)}"
        )
    if type(data) is not list and data is not None:
        raise InvalidInput(f"data of input '{excerpt(name)}' should be a list, but is {kind_of(data)}")
    parameters = document.get("parameters")
    if parameters is not None:
        parameters = parameters_of(document, f"Input '{excerpt(name)}'")
        _check_one_place(name, data, parameters)
    return InputTensor(name, datatype, tuple(shape), data, parameters or _NOTHING)


def _shape_kind(shape: Any) -> str:
    if type(shape) is list and all(type(size) in _SCALARS for size in shape):
        return excerpt(str(shape))
    return kind_of(shape)


def _check_one_place(name: str, data: list[Any] | None, parameters: Mapping[str, Parameter]) -> None:
    """Check that the data of an input is in one place alone.

    Raises:
        InvalidInput: It is in two.
    """
    places = ["data"] if data is not None else []
    places += [place for place in (BINARY_SIZE, REGION) if place in parameters]
    if len(places) > 1:
        raise InvalidInput(f"Input '{excerpt(name)}' has both {' and '.join(places)}, expected one of them")


def _output_of(document: Any) -> RequestedOutput:
    if type(document) is not dict or type(document.get("name")) is not str:
        raise InvalidInput("An output should be an object with a name")
    name = document["name"]
    return RequestedOutput(name, parameters_of(document, f"Output '{excerpt(name)}'"))


def _take_raw_tensors(asked: InferRequest, rest: memoryview) -> None:
    """Give inputs their data out of what stands behind the JSON.

    Raises:
        InvalidInput: There is less or more than the inputs say.
    """
    at = 0
    for tensor in asked.inputs:
        size = tensor.parameters.get(BINARY_SIZE)
        if size is None:
            continue
        if type(size) is not int or size < 0:
            raise InvalidInput(
                f"Input '{excerpt(tensor.name)}': {BINARY_SIZE} should be a number of bytes, but is "
                f"{excerpt(repr(size))}"
            )
        if size > len(rest) - at:
            raise InvalidInput(
                f"Input '{excerpt(tensor.name)}' has {BINARY_SIZE} {size}, but only {len(rest) - at} bytes are left of "
                "the body"
            )
        tensor.data = rest[at : at + size]
        at += size
    if at != len(rest):
        raise InvalidInput(
            f"{len(rest)} bytes stand behind the JSON of the request, but its inputs have {at} in their {BINARY_SIZE}"
        )


def kind_of(value: Any) -> str:
    """What something of JSON is, in words. What it holds may be nested too deeply to be shown."""
    if value is None:
        return "missing"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    return excerpt(repr(value))
