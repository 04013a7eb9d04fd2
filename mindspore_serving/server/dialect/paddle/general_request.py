"""Requests of GeneralModelService: JSON, or `Request` of protobuf.

    {"tensor": [{"float_data": [...], "elem_type": 1, "name": "x", "alias_name": "x", "shape": [1, 13]}],
     "fetch_var_names": ["price"], "log_id": 0, "profile_server": false}

Keys that are not known are left out, as by Paddle Serving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mindspore_serving.errors import InvalidInput
from mindspore_serving.json_text import load_json_with_nan
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as general_pb2
from mindspore_serving.server.dialect.paddle.json_tensor import (
    integer_of,
    json_tensor,
    kind_of,
    list_of,
    texts_at,
)
from mindspore_serving.server.dialect.paddle.messages import Known, SentTensor
from mindspore_serving.server.dialect.paddle.tensor_message import TensorFields, cut, decode, sent_tensor
from mindspore_serving.server.dialect.paddle.tensors import instances_of
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat

_TENSORS_TAG: Final = 0x0A
_FIELDS: Final = TensorFields(general_pb2.Tensor, "alias_name", "tensor_content", "data")
_WHERE: Final = "the request"


@dataclass(slots=True)
class GeneralRequest:
    """A request.

    Attributes:
        tensors: As they were sent.
        fetch: Outputs that are asked for; nothing for all.
        log_id: Given by the client, and sent back.
        profile: Whether the client wants times.
    """

    tensors: Sequence[SentTensor]
    fetch: Sequence[str] = ()
    log_id: int = 0
    profile: bool = False

    def content(self, known: Known) -> BodyContent:
        """Its instances, and the rest as a JSON document.

        Raises:
            InvalidInput: The tensors are not what the method takes.
        """
        rest = {"fetch": list(self.fetch), "log_id": self.log_id, "profile": self.profile}
        return BodyContent([instances_of(self.tensors, known)], rest)


def read_json(body: bytes, argument: Known) -> BodyContent:
    """The instances of a body of JSON.

    Args:
        body: UTF-8.
        argument: What is known of the method.

    Raises:
        InvalidInput: It is no request, or not what the method takes; the text says why.
    """
    return json_request(body).content(argument)


def read_message(body: bytes, argument: Known) -> BodyContent:
    """The instances of a body that is a `Request` of protobuf; as `read_json`."""
    try:
        request = message_request(body)
        for tensor in request.tensors:
            decode(tensor)
    except UNDECODABLE as cause:
        raise InvalidInput(f"The body is no Request of protobuf: {cause}") from cause
    return request.content(argument)


def json_request(body: bytes) -> GeneralRequest:
    """A request of JSON.

    Raises:
        InvalidInput: It is none.
    """
    document = load_json_with_nan(body)
    if not isinstance(document, dict):
        raise InvalidInput(f"The body should be a JSON object with 'tensor', but is {kind_of(document)}")
    tensors = list_of(document, "tensor", _WHERE)
    profile: Any = document.get("profile_server", False)
    return GeneralRequest(
        [json_tensor(tensor, f"tensor {at}") for at, tensor in enumerate(tensors)],
        texts_at(document, "fetch_var_names", _WHERE),
        integer_of(document, "log_id", _WHERE),
        profile is True,
    )


def message_request(message: bytes) -> GeneralRequest:
    """A request of protobuf, of which integers are yet to be decoded.

    Raises:
        DecodeError, UnicodeDecodeError: It is none.
        InvalidInput: It has too many fields.
    """
    rest, tensors = cut(message, _TENSORS_TAG)
    read = general_pb2.Request.FromString(rest)
    return GeneralRequest(
        [sent_tensor(tensor, _FIELDS) for tensor in tensors],
        list(read.fetch_var_names),
        read.log_id,
        read.profile_server,
    )


def _is_never_quick(body: bytes) -> bool:
    return False


JSON: Final = BodyFormat(read_json)
MESSAGE: Final = BodyFormat(read_message, _is_never_quick)
