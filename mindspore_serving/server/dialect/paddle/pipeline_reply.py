"""Replies of pipelines: JSON, or `Response` of protobuf, with an error number where there is no result.

| number | what has failed |
|---|---|
| 3000 | the server has no room, or stops |
| 3002 | there is no such service |
| 5000 | the input is not what the method takes |
| 6000 | the time was too short |
| 8000 | keys and values are not of the same number |
| 10000 | the method |
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

import orjson

from mindspore_serving.errors import Failure
from mindspore_serving.proto.foreign import paddle_pipeline_pb2 as pipeline_pb2
from mindspore_serving.server.service.error_text import text_for_client

INTERNAL: Final = 3000
NO_SERVICE: Final = 3002
INPUT: Final = 5000
TIMEOUT: Final = 6000
COUNTS: Final = 8000
METHOD: Final = 10000
_NO_JSON_CODE: Final = 3
"""INVALID_ARGUMENT of gRPC, which the gateway of Paddle Serving tells."""
_BUSY: Final = frozenset((HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE))
_ANSWERED: Final = frozenset((HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR))


class PipelineReply(NamedTuple):
    """A reply.

    Attributes:
        err_no: 0 where all is well.
        err_msg: Why there is no result.
        keys: Names of outputs.
        values: A text for each of them.
    """

    err_no: int = 0
    err_msg: str = ""
    keys: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def json(self) -> bytes:
        """It as JSON, in which Paddle Serving leaves nothing out."""
        return orjson.dumps(
            {
                "err_no": self.err_no,
                "err_msg": self.err_msg,
                "key": self.keys,
                "value": self.values,
                "tensors": [],
            }
        )

    def message(self) -> bytes:
        """It as a `Response` of protobuf."""
        response = pipeline_pb2.Response(
            err_no=self.err_no, err_msg=self.err_msg, key=self.keys, value=self.values
        )
        return bytes(response.SerializeToString())


def failed(failure: Failure) -> PipelineReply:
    """The reply to a request that has failed."""
    return PipelineReply(error_number(failure), text_for_client(failure))


def error_number(failure: Failure) -> int:
    """`err_no` of a failure."""
    status = failure.status
    if status == HTTPStatus.NOT_FOUND:
        return NO_SERVICE
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return TIMEOUT
    if status in _BUSY:
        return INTERNAL
    return INPUT if status < HTTPStatus.INTERNAL_SERVER_ERROR else METHOD


def is_answered(failure: Failure) -> bool:
    """Whether Paddle Serving answers such a failure as it answers a result: with HTTP 200, and gRPC's OK.

    Where the server has no room, stops, or the client is not authenticated, proxies and clients should know that.
    """
    return failure.status in _ANSWERED


def no_json(text: str) -> bytes:
    """The body of a reply to what is no JSON."""
    return orjson.dumps({"error": text, "code": _NO_JSON_CODE, "message": text, "details": []})
