"""Paddle Serving's own clients, asking a server; run with the Python of `environments.PADDLE_SERVING`.

    python paddle_session.py ADDRESS CONFIGURATION

Prints a JSON document: what each client has got.
"""

import contextlib
import json
import sys

import numpy as np
from paddle_serving_client.httpclient import HttpClient
from paddle_serving_server.pipeline import PipelineClient

HOUSE = np.array(
    [
        0.0137,
        -0.1136,
        0.2553,
        -0.0692,
        0.0582,
        -0.0727,
        -0.1583,
        -0.0584,
        0.6283,
        0.4919,
        0.1856,
        0.0795,
        -0.0332,
    ],
    "float32",
)
HOUSES = np.stack([HOUSE] * 40)


def http_client(address, configuration, *, proto=False, grpc=False, gzip=False):
    """A client that is connected."""
    client = HttpClient()
    client.load_client_config(configuration)
    client.set_http_proto(proto)
    client.set_use_grpc_client(grpc)
    client.set_request_compress(gzip)
    client.set_response_compress(gzip)
    client.connect([address])
    return client


def prices(reply):
    """The prices in a reply of either form, and its log_id."""
    if isinstance(reply, dict):
        [tensor] = reply["outputs"][0]["tensor"]
        assert tensor["alias_name"] == "price"
        return tensor["float_data"], tensor["shape"], reply.get("log_id", 0)
    [tensor] = reply.outputs[0].tensor
    assert tensor.alias_name == "price"
    return list(tensor.float_data), list(tensor.shape), reply.log_id


def ask_http(address, configuration):
    """What HttpClient gets in each of its ways."""
    found = {}
    for name, way in {
        "json": {},
        "proto": {"proto": True},
        "grpc": {"grpc": True},
        "json_gzip": {"gzip": True},
        "proto_gzip": {"proto": True, "gzip": True},
    }.items():
        client = http_client(address, configuration, **way)
        found[name] = prices(client.predict(feed={"x": HOUSE}, fetch=["price"], log_id=7))
        found[name + "_list"] = prices(client.predict(feed={"x": HOUSE.tolist()}, fetch=["price"]))
        found[name + "_batch"] = prices(client.predict(feed={"x": HOUSES}, fetch=[], batch=True))
        found[name + "_wrong"] = client.predict(feed={"x": HOUSE[:5]}, fetch=["price"])
    return found


def ask_pipeline(address):
    """What PipelineClient gets in each of its ways."""
    client = PipelineClient()
    client.connect([address])
    one = HOUSE.reshape(1, 13)
    text = ", ".join(map(str, HOUSE.tolist()))
    replies = {
        "text": client.predict({"x": text}),
        "array": client.predict({"x": one}, log_id=3),
        "list": client.predict({"x": one.tolist()}),
        "tensor": client.predict({"x": one}, pack_tensor_format=True),
        "bytes": client.predict({"x": one}, pack_tensor_format=True, use_tensor_bytes=True, profile=True),
        "profile": client.predict({"x": one}, profile=True),
        "future": client.predict({"x": one}, asyn=True).result(),
        "wrong": client.predict({"y": "1"}),
    }
    return {name: [reply.err_no, list(reply.key), list(reply.value)] for name, reply in replies.items()}


def main():
    """Ask, and print what came."""
    address, configuration = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # the clients print what they do
        found = {"http": ask_http(address, configuration), "pipeline": ask_pipeline(address)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
