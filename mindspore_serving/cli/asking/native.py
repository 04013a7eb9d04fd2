"""The protocol of MindSpore Serving, over REST and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pybase64

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.session import WireReply, WireRequest
from mindspore_serving.cli.asking.wire import Instance, Result, Value, refused, unreadable
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.client.python.connection import PREDICT_PATH
from mindspore_serving.client.python.reply import ReplyReader
from mindspore_serving.client.python.request import encode_request
from mindspore_serving.errors import ServingError
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, DataType

_PLAIN = (DataType.BOOL, DataType.INT32, DataType.FLOAT32)
"""Types that numbers of JSON are read as where nothing else is said."""
_MOST_PLAIN = 1024
"""Elements of an array that is written as numbers; a larger one as base64, which is quicker on both sides."""
JSON = {"content-type": "application/json"}


class NativeRest:
    """`POST /model/NAME[/version/N]:METHOD`."""

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """One request for all instances; errors as of `Wire`."""
        body = {"instances": [{name: json_value(one) for name, one in each.items()} for each in instances]}
        _check_method(method)
        version = f"/version/{method.version}" if method.version else ""
        path = f"/model/{quote(method.servable, safe='')}{version}:{quote(method.method, safe='')}"
        return [WireRequest(path, json.dumps(body).encode(), JSON)]

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """The instances of a reply; errors as of `Wire`."""
        document = json_of(reply)
        if not reply.ok:
            raise refused(method, reply, error_text(document, "error_msg") or _first_error(document))
        try:
            return [_result_of(one, method.outputs) for one in document["instances"]]
        except (KeyError, TypeError, ValueError) as cause:
            raise unreadable(method, f"'instances' was expected, got {str(document)[:200]}") from cause


class NativeGrpc:
    """`MSService/Predict`."""

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """One request for all instances; errors as of `Wire`."""
        _check_method(method)
        version = int(method.version or 0)
        try:
            body = encode_request(
                method.servable, method.method, version, [dict(instance) for instance in instances]
            )
        except ServingError as cause:
            raise CommandError(str(cause), exit_code=USAGE) from cause
        return [WireRequest(PREDICT_PATH, body)]

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """The instances of a reply; errors as of `Wire`."""
        if not reply.ok:
            raise refused(method, reply, reply.details)
        try:
            results = ReplyReader().read(reply.body)
        except ServingError as cause:
            raise unreadable(method, cause) from cause
        if isinstance(results, dict):  # the request as a whole
            raise refused(method, WireReply("error"), str(results["error"]))
        return results


def _check_method(method: Method) -> None:
    """Check that the method is known by its name.

    Raises:
        CommandError: It is not, or its version is no number.
    """
    if not method.method:
        raise CommandError(
            f"The native protocol needs the name of a method of '{method.servable}'",
            f"Write {method.servable}.METHOD, or take --protocol oip.",
            USAGE,
        )
    if method.version and not method.version.isdecimal():
        raise CommandError(
            f"Version '{method.version}' is no number, as the native protocol needs it", exit_code=USAGE
        )


def json_value(value: Value) -> Any:
    """A value as REST takes it: plain where that says all, else in base64."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"b64": pybase64.b64encode_as_string(value)}
    dtype = DATA_TYPE_OF[value.dtype]
    if dtype in _PLAIN and 0 < value.size <= _MOST_PLAIN and np.isfinite(value).all():
        return value.tolist()
    data = pybase64.b64encode_as_string(np.ascontiguousarray(value).tobytes())
    return {"b64": data, "type": dtype.name.lower(), "shape": list(value.shape)}


def json_of(reply: WireReply) -> Any:
    """The document of a reply; its text where it is none."""
    try:
        return json.loads(reply.body)
    except ValueError:
        return reply.body.decode(errors="replace")


def error_text(document: Any, key: str) -> str:
    """What a reply says that is an error, shortened."""
    text = document.get(key, "") if isinstance(document, dict) else document
    return str(text).strip()[:2000]


def _first_error(document: Any) -> str:
    instances = document.get("instances") if isinstance(document, dict) else None
    errors = [one["error_msg"] for one in instances or () if isinstance(one, dict) and "error_msg" in one]
    return str(errors[0]) if errors else str(document)[:2000]


def _result_of(instance: Any, outputs: Sequence[TensorType]) -> Result:
    if "error_msg" in instance:
        return {"error": instance["error_msg"]}
    dtypes = {one.name: one.dtype for one in outputs}
    return {name: value_of_json(one, dtypes.get(name, DataType.UNKNOWN)) for name, one in instance.items()}


def value_of_json(value: Any, dtype: DataType) -> Any:
    """A value of JSON as the gRPC client has it: an array, a text, bytes, or a list of texts or bytes.

    Args:
        value: From a reply.
        dtype: What the server says that it is; UNKNOWN where it says nothing.
    """
    if isinstance(value, dict):
        return pybase64.b64decode(value["b64"])
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, list) and any(isinstance(one, (str, dict)) for one in value):
        return [value_of_json(one, dtype) for one in value]
    array = np.asarray(value)
    wanted = NUMPY_OF.get(dtype, np.dtype(np.float32) if array.dtype == np.float64 else array.dtype)
    if array.dtype == object:  # null stands for what JSON has no number for
        return np.asarray(value, dtype=np.float64).astype(wanted)
    return array.astype(wanted)
