"""Asks in the dialects of other servers: Open Inference Protocol over both transports and in streams, and v1."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from typing import Any

import aiohttp
import grpc
import grpc.aio
import numpy as np

from mindspore_serving.client.python.connection import CHANNEL_OPTIONS
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from tests.soak.checking import Answer
from tests.soak.ledger import LOST_AFTER_S
from tests.soak.questions import Question
from tests.soak.servables import API_KEY
from tests.support.foreign_ways import LENGTH
from tests.support.grpc_stub import inference_stub

ROUTES = ("OIP gRPC", "OIP stream", "OIP binary", "OIP JSON", "v1")
_KEY = {"x-api-key": API_KEY}
_DATATYPES = {"int64": "INT64", "float32": "FP32"}
_DTYPES = {name: dtype for dtype, name in _DATATYPES.items()}
_TOLD_WITH_CODE = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
)
_OK = 200


class ForeignClients:
    """Clients of all these dialects. Each request has rows, which are instances.

    Args:
        grpc_address: Of the gRPC server.
        rest: Address of the REST server.
    """

    def __init__(self, grpc_address: str, rest: str) -> None:
        self._rest = rest
        self._channel = grpc.aio.insecure_channel(grpc_address, CHANNEL_OPTIONS)
        self._stub: Any = inference_stub(self._channel)
        self._stream: _Stream | None = None
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, question: Question, route: str, timeout_s: float | None) -> Answer:
        """Send one request.

        Args:
            question: What is asked; its method has rows.
            route: One of `ROUTES`.
            timeout_s: Its parameter `timeout`; None for none.

        Raises:
            aiohttp.ClientError: The connection ended.
            ValueError: The reply is none.
        """
        timeout_us = int((timeout_s or 0) * 1e6)
        if route == "OIP gRPC":
            return await self._ask_grpc(_message(question, timeout_us))
        if route == "OIP stream":
            if self._stream is None or self._stream.ended:
                self._stream = _Stream(self._stub.ModelStreamInfer(metadata=tuple(_KEY.items())))
            return await self._stream.ask(_message(question, timeout_us))
        if route == "v1":
            return await self._ask_v1(question, timeout_us)
        return await self._ask_rest(question, timeout_us, binary=route == "OIP binary")

    async def close(self) -> None:
        """Close all connections."""
        if self._stream is not None:
            self._stream.end()
        if self._session is not None:
            await self._session.close()
        await self._channel.close()

    async def _ask_grpc(self, message: pb.ModelInferRequest) -> Answer:
        try:
            reply = await self._stub.ModelInfer(message, metadata=tuple(_KEY.items()), timeout=LOST_AFTER_S)
        except grpc.aio.AioRpcError as error:
            told = error.details() or ""
            code = f"Grpc Error, {error.code().value}, " if error.code() in _TOLD_WITH_CODE else ""
            return Answer([], code + told)
        return _answer_of_message(reply)

    async def _ask_rest(self, question: Question, timeout_us: int, *, binary: bool) -> Answer:
        inputs: list[dict[str, Any]] = []
        raw = b""
        for name, array in _columns(question).items():
            tensor = {"name": name, "shape": list(array.shape), "datatype": _DATATYPES[array.dtype.name]}
            if binary:
                tensor["parameters"] = {"binary_data_size": array.nbytes}
                raw += array.tobytes()
            else:
                tensor["data"] = array.ravel().tolist()
            inputs.append(tensor)
        parameters: dict[str, Any] = {"binary_data_output": True} if binary else {}
        if timeout_us:
            parameters["timeout"] = timeout_us
        document = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
        headers = {LENGTH: str(len(document))} if binary else {}
        path = f"/v2/models/{question.servable}.{question.method}/infer"
        status, got, body = await self._post(path, document + raw, headers)
        if status != _OK:
            return _failure(status, got, body)
        length = int(got.get(LENGTH, len(body)))
        outputs, rest = {}, body[length:]
        for output in json.loads(body[:length])["outputs"]:
            dtype = _DTYPES[output["datatype"]]
            if binary:
                size = output["parameters"]["binary_data_size"]
                array, rest = np.frombuffer(rest[:size], dtype), rest[size:]
            else:
                array = np.array(output["data"], dtype)
            outputs[output["name"]] = array.reshape(output["shape"])
        if rest:
            raise ValueError(f"{len(rest)} bytes too many")
        return _answer_of(outputs, status)

    async def _ask_v1(self, question: Question, timeout_us: int) -> Answer:
        rows = [{name: value.tolist() for name, value in row.items()} for row in question.instances]
        document = {"signature_name": question.method, "instances": rows}
        headers = {"X-Request-Timeout-Ms": f"{timeout_us / 1000:g}"} if timeout_us else {}
        path = f"/v1/models/{question.servable}:predict"
        status, got, body = await self._post(path, json.dumps(document).encode(), headers)
        if status != _OK:
            return _failure(status, got, body)
        return Answer([{"y": value} for value in json.loads(body)["predictions"]], "", status)

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            total = aiohttp.ClientTimeout(2 * LOST_AFTER_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=total)
        url = f"http://{self._rest}{path}"
        async with self._session.post(url, data=body, headers={**_KEY, **headers}) as reply:
            return reply.status, reply.headers, await reply.read()


class _Stream:
    """A stream that many requests share; their ids tell which reply is whose."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._unsent: asyncio.Queue[pb.ModelInferRequest] = asyncio.Queue()
        self._tasks = [asyncio.ensure_future(self._write()), asyncio.ensure_future(self._read())]

    @property
    def ended(self) -> bool:
        """Whether it takes no further request."""
        return any(task.done() for task in self._tasks)

    async def ask(self, message: pb.ModelInferRequest) -> Answer:
        """Send a request, and wait for its reply. A client that waits no longer lets the stream go on."""
        message.id = str(next(self._numbers))
        waiting = self._waiting[message.id] = asyncio.get_running_loop().create_future()
        self._unsent.put_nowait(message)
        return await waiting

    def end(self) -> None:
        """End it."""
        self._call.cancel()
        for task in self._tasks:
            task.cancel()

    async def _write(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the other task tells
            while True:
                await self._call.write(await self._unsent.get())

    async def _read(self) -> None:
        told = "the stream ended"
        try:
            while (reply := await self._call.read()) is not grpc.aio.EOF:
                waiting = self._waiting.pop(reply.infer_response.id)
                if not waiting.done():  # else its client has given it up
                    waiting.set_result(_answer_of_reply(reply))
        except grpc.aio.AioRpcError as error:
            told = str(error.details())
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(Answer([], f"Grpc Error, (14, 'unavailable'), {told}"))


def _answer_of_reply(reply: pb.ModelStreamInferResponse) -> Answer:
    return (
        Answer([], reply.error_message) if reply.error_message else _answer_of_message(reply.infer_response)
    )


def _columns(question: Question) -> dict[str, Any]:
    names = question.instances[0]
    return {name: np.stack([row[name] for row in question.instances]) for name in names}


def _message(question: Question, timeout_us: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=f"{question.servable}.{question.method}")
    for name, array in _columns(question).items():
        message.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    if timeout_us:
        message.parameters["timeout"].int64_param = timeout_us
    return message


def _answer_of_message(reply: pb.ModelInferResponse) -> Answer:
    outputs = {
        output.name: np.frombuffer(raw, _DTYPES[output.datatype]).reshape(tuple(output.shape))
        for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
    }
    return _answer_of(outputs)


def _answer_of(outputs: dict[str, Any], status: int = 0) -> Answer:
    """An answer by rows: arrays, or what JSON has for them where there is an HTTP status."""
    counts = {len(array) for array in outputs.values()}
    if len(counts) != 1:
        raise ValueError(f"outputs of {sorted(counts)} rows")
    rows = [{name: np.asarray(array[i]) for name, array in outputs.items()} for i in range(counts.pop())]
    if status:
        return Answer([{name: value.tolist() for name, value in row.items()} for row in rows], "", status)
    return Answer(list(rows))


def _failure(status: int, headers: Any, body: bytes) -> Answer:
    document = json.loads(body)
    if list(document) != ["error"]:
        raise ValueError(f"'error' alone was expected, got {list(document)}")
    return Answer([], document["error"], status, headers.get("Retry-After", "").isdigit())
