"""Messages of the V2 protocol, by the classes that MLServer brings: one line of JSON in, one out.

- `{"method": NAME, "x1": [[..]], "x2": [[..]]}` is answered with a request's bytes, `{"request": HEX}`;
- `{"reply": HEX}` is answered with what the reply holds, `{"y": [[..]]}`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from mlserver.grpc.dataplane_pb2 import ModelInferRequest, ModelInferResponse


def request_of(document: dict[str, Any]) -> bytes:
    request = ModelInferRequest(model_name=document["method"], id="1")
    for name in ("x1", "x2"):
        array = np.array(document[name], np.float32)
        tensor = request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return request.SerializeToString()


def values_of(data: bytes) -> list[Any]:
    reply = ModelInferResponse.FromString(data)
    [tensor] = reply.outputs
    if reply.raw_output_contents:
        values = np.frombuffer(reply.raw_output_contents[0], np.float32)
    else:
        values = np.array(tensor.contents.fp32_contents, np.float32)
    return values.reshape(tuple(tensor.shape)).tolist()


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    if "reply" in given:
        print(json.dumps({"y": values_of(bytes.fromhex(given["reply"]))}))
    else:
        print(json.dumps({"request": request_of(given).hex()}))
