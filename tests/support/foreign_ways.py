"""Asks for doubled numbers in every dialect, over both transports, so that tests compare what comes back."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import grpc.aio
import numpy as np

from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from tests.support.grpc_stub import inference_stub
from tests.support.serving import RunningServer

LENGTH = "Inference-Header-Content-Length"
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
ANSWER_TIMEOUT_S = 60.0
OIP = ("grpc", "json", "binary")
V1 = ("row", "column")
NATIVE = ("native grpc", "native rest")
ALL = (*OIP, *V1, *NATIVE)

# The statuses of HTTP and those of gRPC that mean the same.
TWINS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_BUSY = (429, 503)

# Methods with one input `x` and one output `y`; rows are numbers. `batches` tells its batches, and waits at the gate.
SERVABLE = """\
import numpy as np

from mindspore_serving.server import register

NUMBER = register.TensorSpec("int64", [])


def method(name, function, output=NUMBER, batch_size=None):
    def one_stage(x):
        return register.add_stage(function, x, outputs_count=1, batch_size=batch_size)

    one_stage.__name__ = name
    register.register_method(output_names=["y"], inputs={"x": NUMBER}, outputs={"y": output})(one_stage)


def twice(x):
    return x * 2


def twice_all(instances):
    return [x * 2 for x, in instances]


def batches(instances):
    values = [int(x) for x, in instances]
    with open("batches", "a") as file:
        file.write(f"{values}\\n")
    pass_gate()
    return [x * 2 for x, in instances]


def large(x):
    return np.zeros(int(x), np.uint8)


method("twice", twice)
method("twice_all", twice_all, batch_size=16)
method("batches", batches, batch_size=8)
method("large", large, register.TensorSpec("uint8", [-1]))
"""


@dataclass(frozen=True)
class Told:
    """What a request was answered with.

    Attributes:
        values: The results; empty if it failed.
        status: Name of the gRPC status, or that of the HTTP status that means the same; empty if it succeeded.
        text: The error.
        retry_after: Whether a reply of HTTP that says "busy" says when to try again.
    """

    values: tuple[int, ...] = ()
    status: str = ""
    text: str = ""
    retry_after: bool = True


Ask = Callable[..., Awaitable[Told]]


def infer_request(
    model: str, values: Sequence[int], *, id: str = "", timeout_us: int = 0
) -> pb.ModelInferRequest:
    """A request of gRPC with one row for each value."""
    message = pb.ModelInferRequest(
        model_name=model, id=id, raw_input_contents=[np.array(values, "<i8").tobytes()]
    )
    message.inputs.add(name="x", datatype="INT64", shape=[len(values)])
    if timeout_us:
        message.parameters["timeout"].int64_param = timeout_us
    return message


def values_of(reply: pb.ModelInferResponse) -> tuple[int, ...]:
    """The numbers of a reply of gRPC."""
    [output] = reply.outputs
    found = np.frombuffer(reply.raw_output_contents[0], "<i8")
    assert (output.name, output.datatype, list(output.shape)) == ("y", "INT64", [len(found)]), output
    return tuple(found.tolist())


def json_body(values: Sequence[int], **parameters: Any) -> bytes:
    """The body of a request with JSON alone."""
    x = {"name": "x", "shape": [len(values)], "datatype": "INT64", "data": list(values)}
    return json.dumps({"inputs": [x], "parameters": parameters}).encode()


def binary_body(values: Sequence[int], **parameters: Any) -> tuple[bytes, bytes]:
    """The two parts of the body of a request with raw tensors, to be answered with raw tensors."""
    raw = np.array(values, "<i8").tobytes()
    x = {
        "name": "x",
        "shape": [len(values)],
        "datatype": "INT64",
        "parameters": {"binary_data_size": len(raw)},
    }
    return json.dumps({"inputs": [x], "parameters": {"binary_data_output": True, **parameters}}).encode(), raw


def head_of(model: str, length: int, json_length: int | None = None, more: str = "") -> bytes:
    """The head of a request for inference over HTTP."""
    binary = "" if json_length is None else f"{LENGTH}: {json_length}\r\n"
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    return f"{head}{binary}{more}\r\n".encode()


def binary_message(model: str, values: Sequence[int]) -> tuple[bytes, bytes, bytes]:
    """A whole request over HTTP: head, JSON, raw tensor."""
    document, raw = binary_body(values)
    return head_of(model, len(document) + len(raw), len(document)), document, raw


def values_of_binary(headers: Mapping[str, str], body: bytes) -> tuple[int, ...]:
    """The numbers of a reply with raw tensors."""
    length = int(headers[LENGTH])
    [output] = json.loads(body[:length])["outputs"]
    assert (output["name"], output["datatype"]) == ("y", "INT64"), output
    assert output["parameters"]["binary_data_size"] == len(body) - length == 8 * output["shape"][0]
    return tuple(np.frombuffer(body[length:], "<i8").tolist())


@contextlib.asynccontextmanager
async def asking(server: RunningServer, way: str, servable: str, connections: int = 0) -> AsyncIterator[Ask]:
    """A coroutine `ask(values, method, timeout_us=0)` that asks for twice the values.

    Args:
        server: Who is asked.
        way: One of `ALL`.
        servable: Which.
        connections: How many connections share the requests; 0: one of gRPC, up to 100 of HTTP.
    """
    if way == "grpc":
        async with _asking_grpc(server, servable, connections or 1) as ask:
            yield ask
    elif way == "native grpc":
        async with _asking_client(server, servable) as ask:
            yield ask
    else:
        connector = aiohttp.TCPConnector(limit=connections or 100)
        total = aiohttp.ClientTimeout(ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=total) as session:
            yield _asking_rest(session, server, servable, way)


@contextlib.asynccontextmanager
async def _asking_grpc(server: RunningServer, servable: str, connections: int) -> AsyncIterator[Ask]:
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with contextlib.AsyncExitStack() as opened:
        stubs: list[Any] = []
        for _ in range(connections):
            channel = await opened.enter_async_context(grpc.aio.insecure_channel(server.grpc, own))
            stubs.append(inference_stub(channel))

        async def ask(values: Sequence[int], method: str = "twice", timeout_us: int = 0) -> Told:
            message = infer_request(f"{servable}.{method}", values, timeout_us=timeout_us)
            try:
                reply = await stubs[values[0] % connections].ModelInfer(message, timeout=ANSWER_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                return Told((), error.code().name, error.details() or "")
            return Told(values_of(reply))

        yield ask


@contextlib.asynccontextmanager
async def _asking_client(server: RunningServer, servable: str) -> AsyncIterator[Ask]:
    async with contextlib.AsyncExitStack() as opened:
        clients: dict[str, AsyncClient] = {}

        async def ask(values: Sequence[int], method: str = "twice", timeout_us: int = 0) -> Told:
            assert not timeout_us
            if method not in clients:
                clients[method] = await opened.enter_async_context(AsyncClient(server.grpc, servable, method))
            replies = await clients[method].infer(
                [{"x": np.array(value, np.int64)} for value in values], timeout=ANSWER_TIMEOUT_S
            )
            if isinstance(replies, dict):
                return Told((), "UNKNOWN", str(replies["error"]))
            failed = [reply["error"] for reply in replies if "error" in reply]
            if failed:
                return Told((), "UNKNOWN", str(failed[0]))
            return Told(tuple(int(reply["y"]) for reply in replies))

        yield ask


def _asking_rest(session: aiohttp.ClientSession, server: RunningServer, servable: str, way: str) -> Ask:
    async def ask(values: Sequence[int], method: str = "twice", timeout_us: int = 0) -> Told:
        path, body, headers = _rest_request(way, f"{servable}.{method}", values, timeout_us)
        async with session.post(server.url(path), data=body, headers=headers) as reply:
            content = await reply.read()
            if reply.status != 200:
                document = json.loads(content)
                assert list(document) == ["error_msg" if way in NATIVE else "error"], document
                hinted = reply.status not in _BUSY or "Retry-After" in reply.headers
                status = TWINS.get(reply.status, str(reply.status))
                return Told((), status, next(iter(document.values())), hinted)
            if way == "binary":
                return Told(values_of_binary(reply.headers, content))
            return Told(_numbers_of(way, json.loads(content)))

    return ask


def _rest_request(
    way: str, model: str, values: Sequence[int], timeout_us: int
) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers."""
    headers: dict[str, str] = {}
    parameters: dict[str, int] = {}
    if way in OIP:
        parameters = {"timeout": timeout_us} if timeout_us else {}
    elif timeout_us:
        headers["X-Request-Timeout-Ms"] = f"{timeout_us / 1000:g}"
    infer, predict = f"/v2/models/{model}/infer", f"/v1/models/{model}:predict"
    if way == "binary":
        document, raw = binary_body(values, **parameters)
        return infer, document + raw, {**headers, LENGTH: str(len(document))}
    if way == "json":
        return infer, json_body(values, **parameters), headers
    if way == "row":
        return predict, json.dumps({"instances": list(values)}).encode(), headers
    if way == "column":
        return predict, json.dumps({"inputs": {"x": list(values)}}).encode(), headers
    coded = [base64.b64encode(np.int64(value).tobytes()).decode() for value in values]
    instances = [{"x": {"b64": text, "type": "int64", "shape": []}} for text in coded]
    return f"/model/{model.replace('.', ':')}", json.dumps({"instances": instances}).encode(), headers


def _numbers_of(way: str, document: Any) -> tuple[int, ...]:
    if way == "row":
        return tuple(document["predictions"])
    if way == "column":
        return tuple(document["outputs"])
    if way in NATIVE:
        return tuple(instance["y"] for instance in document["instances"])
    [output] = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "INT64", [len(output["data"])])
    return tuple(output["data"])
