"""Requests of pipelines: JSON, or `Request` of protobuf.

    {"key": ["x"], "value": ["[[1.5, 2]]"], "tensors": [], "logid": 7, "clientip": "10.0.0.1"}

Each input is a key with its value, or a tensor. Keys of JSON that are not known are left out, as by Paddle Serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.json_text import load_json_with_nan
from mindspore_serving.proto.foreign import paddle_pipeline_pb2 as pipeline_pb2
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.paddle.json_tensor import json_tensor, kind_of, list_of, texts_at
from mindspore_serving.server.dialect.paddle.messages import Known, KnownInput, SentTensor
from mindspore_serving.server.dialect.paddle.tensor_message import TensorFields, cut, sent_tensor
from mindspore_serving.server.dialect.paddle.tensors import (
    column_of,
    expected_inputs,
    input_named,
    instances_in,
)
from mindspore_serving.server.dialect.paddle.value_text import value_column
from mindspore_serving.server.service.columns import Column
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat

MOST_VALUE_BYTES: Final = 1 << 23
"""Bytes of the values of one message: texts of numbers are read while nobody else has a turn, 0.2 s at most."""
_TENSORS_TAG: Final = 0x1A
_FIELDS: Final = TensorFields(pipeline_pb2.Tensor, "", "byte_data", "str_data")
_WHERE: Final = "the request"
_PROFILE: Final = "pipeline.profile"
"""A key by which Paddle Serving's client asks for times; it is no input."""
NO_JSON: Final = "no_json"
WRONG_COUNTS: Final = "wrong_counts"


@dataclass(slots=True)
class PipelineRequest:
    """A request.

    Attributes:
        keys: Names of inputs.
        values: A text for each key.
        tensors: Further inputs.
        name: Servable, or servable.method; "" where the path has it, or nothing does.
    """

    keys: Sequence[str]
    values: Sequence[str]
    tensors: Sequence[SentTensor] = ()
    name: str = ""

    @property
    def wrong_counts(self) -> str:
        """What is wrong with the numbers of keys and values; "" where nothing is."""
        if len(self.keys) == len(self.values):
            return ""
        return f"The request has {len(self.keys)} keys and {len(self.values)} values, expected one value for each key"

    def instances(self, known: Known) -> Rows:
        """Its instances.

        Args:
            known: What is known of the method.

        Raises:
            InvalidInput: They are not what the method takes; the text says why.
        """
        inputs = [KnownInput(*one) for one in known["inputs"]]
        rows = known["rows"]
        found: dict[str, Column] = {}
        for key, value in zip(self.keys, self.values, strict=True):
            if key != _PROFILE:
                wanted = _wanted(key, inputs, found)
                found[wanted.name] = value_column(value, wanted, rows)
        for tensor in self.tensors:
            wanted = _wanted(tensor.name, inputs, found)
            found[wanted.name] = column_of(tensor, wanted, rows)
        for one in inputs:
            if one.name not in found:
                raise InvalidInput(f"Input '{one.name}' is missing, {expected_inputs(inputs)}")
        return instances_in([found[one.name] for one in inputs])


def _wanted(name: str, inputs: Sequence[KnownInput], found: dict[str, Column]) -> KnownInput:
    wanted = input_named((name,), inputs)
    if wanted is None:
        raise InvalidInput(f"Key '{excerpt(name)}' is no input of the method, {expected_inputs(inputs)}")
    if wanted.name in found:
        raise InvalidInput(f"Input '{wanted.name}' is there more than once")
    return wanted


def read_pipeline(body: bytes, argument: Known) -> BodyContent:
    """The instances of a body of JSON.

    Args:
        body: UTF-8; nothing stands for a request without anything, as for Paddle Serving.
        argument: What is known of the method.

    Returns:
        The instances; or none, and as the rest what is wrong with the request as a whole: `NO_JSON` or `WRONG_COUNTS`,
        and a text.

    Raises:
        InvalidInput: It is not what the method takes; the text says why.
    """
    try:
        document = load_json_with_nan(body or b"{}")
    except InvalidInput as error:
        return BodyContent([], [NO_JSON, str(error)])
    if not isinstance(document, dict):
        return BodyContent([], [NO_JSON, f"The body should be a JSON object, but is {kind_of(document)}"])
    tensors = list_of(document, "tensors", _WHERE)
    request = PipelineRequest(
        texts_at(document, "key", _WHERE),
        texts_at(document, "value", _WHERE),
        [json_tensor(tensor, f"tensor {at}") for at, tensor in enumerate(tensors)],
    )
    wrong = request.wrong_counts
    return BodyContent([], [WRONG_COUNTS, wrong]) if wrong else BodyContent([request.instances(argument)])


def message_request(message: bytes) -> PipelineRequest:
    """A request of protobuf, of which integers are yet to be decoded.

    Raises:
        DecodeError, UnicodeDecodeError: It is none.
        InvalidInput: It has too many fields, or values that are too long.
    """
    rest, tensors = cut(message, _TENSORS_TAG)
    if len(rest) > MOST_VALUE_BYTES:
        raise InvalidInput(
            f"The request has {len(rest)} bytes of keys and values, expected at most {MOST_VALUE_BYTES}; send large "
            "inputs in tensors"
        )
    read = pipeline_pb2.Request.FromString(rest)
    sent = [sent_tensor(tensor, _FIELDS) for tensor in tensors]
    return PipelineRequest(list(read.key), list(read.value), sent, read.name)


JSON: Final = BodyFormat(read_pipeline)
