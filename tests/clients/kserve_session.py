"""Asks a server through KServe's own clients; a program for their environment, which prints what each check found.

Arguments are the addresses of REST and gRPC. A line of JSON maps the name of each check to "" or to what was wrong.
"""

import asyncio
import json
import logging
import sys
import traceback

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROW = np.array([[1.5, -2.0, 3.0, 0.25]], np.float32)
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


class Clients:
    """Connected to the server that is checked."""

    def __init__(self, rest, grpc_address):
        self.url = f"http://{rest}"
        self.v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
        self.v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
        self.grpc = InferenceGRPCClient(grpc_address)

    async def close(self):
        for client in (self.v1, self.v2, self.grpc):
            await client.close()


def request(model, *, binary=True, outputs=None, identity="id-1", **arrays):
    inputs = []
    for name, array in arrays.items():
        datatype = {"float32": "FP32", "int64": "INT64", "object": "BYTES", "float16": "FP16"}[
            array.dtype.name
        ]
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model, inputs, request_id=identity, request_outputs=outputs)


def same(response, name, expected):
    found = response.get_output_by_name(name)
    assert list(found.shape) == list(expected.shape), found.shape
    np.testing.assert_array_equal(found.as_numpy(), expected)


@check
async def v2_server_live_and_ready(clients):
    assert await clients.v2.is_server_live(clients.url) is True
    assert await clients.v2.is_server_ready(clients.url) is True


@check
async def v2_model_ready(clients):
    assert await clients.v2.is_model_ready(clients.url, "echo.scores") is True
    assert await clients.v2.is_model_ready(clients.url, "echo.nothing") is False


@check
async def v2_infer_json(clients):
    response = await clients.v2.infer(clients.url, request("echo.scores", binary=False, x=ROW), "echo.scores")
    assert (response.model_name, response.id) == ("echo.scores", "id-1")
    same(response, "y", ROW)


@check
async def v2_infer_dict(clients):
    data = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW.tolist()}]}
    same(await clients.v2.infer(clients.url, data, "echo.scores"), "y", ROW)


@check
async def v2_infer_binary_in(clients):
    same(await clients.v2.infer(clients.url, request("echo.scores", x=ROW), "echo.scores"), "y", ROW)


@check
async def v2_infer_binary_out(clients):
    for binary in (True, False):
        outputs = [RequestedOutput("y", {"binary_data": binary})]
        asked = request("echo.scores", x=ROW, outputs=outputs)
        same(await clients.v2.infer(clients.url, asked, "echo.scores"), "y", ROW)


@check
async def v2_infer_float16(clients):
    sent = np.array([[1, 2, 65504]], np.float16)
    outputs = [RequestedOutput("y", {"binary_data": True})]
    asked = request("echo.identity_float16", x=sent, outputs=outputs)
    same(await clients.v2.infer(clients.url, asked, "echo.identity_float16"), "y", sent)


@check
async def v2_infer_texts(clients):
    sent = np.array(["one", "你好"], np.object_)
    for binary in (True, False):
        asked = request("echo.identity_text", binary=binary, x=sent)
        response = await clients.v2.infer(clients.url, asked, "echo.identity_text")
        assert texts_of(response) == list(sent), response


def texts_of(response):
    found = response.get_output_by_name("y").as_numpy()
    return [one.decode() if isinstance(one, bytes) else str(one) for one in found]


@check
async def v2_two_inputs_and_outputs(clients):
    a, b = np.full((3, 3), 4, np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    response = await clients.v2.infer(clients.url, request("echo.add_sub", a=a, b=b), "echo.add_sub")
    same(response, "total", a + b)
    same(response, "difference", a - b)


@check
async def v2_errors_have_their_text(clients):
    for model, array, status, text in (
        ("echo.nothing", ROW, 404, "nothing"),
        ("echo.scores", ROW[:, :3], 400, "x"),
        ("echo.scores", ROW.astype(np.int64), 400, "INT64"),
    ):
        try:
            await clients.v2.infer(clients.url, request(model, binary=False, x=array), model)
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == status, error
            assert text in str(error).split(", '")[0], error
        else:
            raise AssertionError(f"{model} was not refused")


@check
async def v1_model_ready(clients):
    assert await clients.v1.is_model_ready(clients.url, "add") is True


@check
async def v1_predict(clients):
    data = {"instances": [{"x1": [1.5, 2.5], "x2": [1.0, 1.0]}]}
    assert await clients.v1.infer(clients.url, data, "add") == {"predictions": [[2.5, 3.5]]}


@check
async def v1_errors_have_their_text(clients):
    try:
        await clients.v1.infer(clients.url, {"instances": [1]}, "nothing")
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == 404, error
        assert "nothing" in str(error).split(", '")[0], error
    else:
        raise AssertionError("it was not refused")


@check
async def grpc_live_and_ready(clients):
    assert await clients.grpc.is_server_live() is True
    assert await clients.grpc.is_server_ready() is True
    assert await clients.grpc.is_model_ready("echo.scores") is True


@check
async def grpc_infer_raw(clients):
    response = await clients.grpc.infer(request("echo.scores", x=ROW))
    assert (response.model_name, response.id) == ("echo.scores", "id-1")
    same(response, "y", ROW)


@check
async def grpc_infer_typed(clients):
    """Values in fields of their type instead of bytes."""
    response = await clients.grpc.infer(request("echo.scores", binary=False, x=ROW))
    same(response, "y", ROW)
    whole = np.array([[1, -(2**62)]], np.int64)
    same(await clients.grpc.infer(request("echo.identity_int64", binary=False, x=whole)), "y", whole)


@check
async def grpc_infer_texts(clients):
    sent = np.array(["one", "你好"], np.object_)
    for binary in (True, False):
        response = await clients.grpc.infer(request("echo.identity_text", binary=binary, x=sent))
        assert texts_of(response) == list(sent), response


@check
async def grpc_errors(clients):
    for model, array, code, text in (
        ("echo.nothing", ROW, grpc.StatusCode.NOT_FOUND, "nothing"),
        ("echo.scores", ROW[:, :3], grpc.StatusCode.INVALID_ARGUMENT, "x"),
    ):
        try:
            await clients.grpc.infer(request(model, x=array))
        except grpc.RpcError as error:
            assert error.code() is code, error
            assert text in error.details(), error
        else:
            raise AssertionError(f"{model} was not refused")


@check
async def many_at_once(clients):
    async def ask(client, number):
        sent = np.full((1 + number % 3, 4), number, np.float32)
        asked = request("echo.scores", x=sent, identity=str(number))
        if client is clients.grpc:
            response = await client.infer(asked)
        else:
            response = await client.infer(clients.url, asked, "echo.scores")
        assert response.id == str(number)
        same(response, "y", sent)

    await asyncio.gather(*(ask(client, n) for n in range(40) for client in (clients.grpc, clients.v2)))


async def main(rest, grpc_address):
    clients = Clients(rest, grpc_address)
    found = {}
    for name, function in CHECKS.items():
        try:
            await asyncio.wait_for(function(clients), 20)
            found[name] = ""
        except Exception:  # whatever it is, the test shows it
            found[name] = traceback.format_exc()
    await clients.close()
    print(json.dumps(found))


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(*sys.argv[1:]))
