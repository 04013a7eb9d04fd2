"""`:predict` of TensorFlow Serving's REST and of KServe v1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pybase64

from mindspore_serving.cli.asking.method import Method
from mindspore_serving.cli.asking.native import JSON, error_text, json_of, value_of_json
from mindspore_serving.cli.asking.session import WireReply, WireRequest
from mindspore_serving.cli.asking.wire import Instance, Result, Value, refused, unreadable
from mindspore_serving.tensor import DataType


class PredictV1:
    """`POST /v1/models/NAME[/versions/V]:predict` with `instances`."""

    def requests(self, method: Method, instances: Sequence[Instance]) -> list[WireRequest]:
        """One request for all instances; errors as of `Wire`."""
        version = f"/versions/{quote(method.version, safe='')}" if method.version else ""
        path = f"/v1/models/{quote(method.model, safe='')}{version}:predict"
        values: list[Any] = [{name: _json(one) for name, one in each.items()} for each in instances]
        if len(instances[0]) == 1:
            values = [next(iter(each.values())) for each in values]
        return [WireRequest(path, json.dumps({"instances": values}).encode(), JSON)]

    def results(self, method: Method, reply: WireReply) -> list[Result]:
        """The predictions of a reply; errors as of `Wire`."""
        document = json_of(reply)
        if not reply.ok:
            raise refused(method, reply, error_text(document, "error"))
        try:
            return [_result_of(method, one) for one in document["predictions"]]
        except (KeyError, TypeError, ValueError) as cause:
            raise unreadable(method, f"'predictions' was expected, got {str(document)[:200]}") from cause


def _json(value: Value) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"b64": pybase64.b64encode_as_string(value)}
    return value.tolist()


def _result_of(method: Method, prediction: Any) -> Result:
    dtypes = {one.name: one.dtype for one in method.outputs}
    if isinstance(prediction, dict) and set(prediction) != {"b64"}:
        return {
            name: value_of_json(one, dtypes.get(name, DataType.UNKNOWN)) for name, one in prediction.items()
        }
    name = method.outputs[0].name if len(method.outputs) == 1 else "output"
    return {name: value_of_json(prediction, dtypes.get(name, DataType.UNKNOWN))}
