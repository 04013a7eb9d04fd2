"""The ways to send a request: one coroutine each, from a question to an answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import random
import socket
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
import httptools
import numpy as np

from mindspore_serving.client import Client
from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.client.python.connection import CHANNEL_OPTIONS
from mindspore_serving.proto import ms_service_pb2 as pb
from tests.soak.checking import NO_WISHES, Answer, Refused, Wishes, answer_of_client, answer_of_rest
from tests.soak.ledger import LOST_AFTER_S
from tests.soak.questions import Question, Values
from tests.soak.servables import API_KEY
from tests.support.grpc_messages import PREDICT, array_of, errors, instance, request, tensor, text_tensor

_SLOW_PAUSE_S = 0.02
_SLOW_PIECES = 20
_JSON_DTYPES = ("bool", "int32", "float32")
"""Types that JSON numbers of a request stand for."""


class ConnectionEnded(Exception):
    """The server ended a connection before it had answered."""


class UnreadableReply(Exception):
    """Bytes came back that are no reply."""


# ---- gRPC


class GrpcClients:
    """The project's clients, one per method, made when they are first used.

    Args:
        address: Of the gRPC server.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._async: dict[tuple[str, str], AsyncClient] = {}
        self._plain: dict[tuple[str, str], Client] = {}
        self._threads = ThreadPoolExecutor(8)

    async def ask_async(self, question: Question, timeout_s: float | None) -> Answer:
        """By `AsyncClient`."""
        target = question.servable, question.method
        client = self._async.get(target)
        if client is None:
            client = self._async[target] = AsyncClient(self._address, *target, api_key=API_KEY)
        return answer_of_client(await client.infer(question.instances, timeout=timeout_s))

    async def ask_in_thread(self, question: Question, timeout_s: float | None) -> Answer:
        """By `Client`, whose calls block; at the latest it gives up when the request counts as lost."""
        target = question.servable, question.method
        client = self._plain.get(target)
        if client is None:
            client = self._plain[target] = Client(self._address, *target, api_key=API_KEY)

        def infer() -> Any:
            return client.infer(question.instances, timeout=timeout_s or LOST_AFTER_S)

        return answer_of_client(await asyncio.get_running_loop().run_in_executor(self._threads, infer))

    async def close(self) -> None:
        """Close all connections."""
        for client in self._async.values():
            await client.close()
        for plain in self._plain.values():
            plain.close()
        self._threads.shutdown(wait=False)


class RawGrpc:
    """Messages of the generated classes on a channel of grpc.aio.

    Args:
        address: Of the gRPC server.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
        self._predict: Any = self._channel.unary_unary(
            PREDICT,
            request_serializer=pb.PredictRequest.SerializeToString,
            response_deserializer=pb.PredictReply.FromString,
        )

    async def ask(
        self,
        question: Question,
        timeout_s: float | None,
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> Answer:
        """Send one request."""
        instances = [
            instance(**{name: _message_of(value) for name, value in values.items()})
            for values in question.instances
        ]
        try:
            reply = await self._predict(
                request(question.servable, question.method, instances),
                timeout=timeout_s,
                metadata=(("x-api-key", API_KEY),),
                compression=compression,
            )
        except grpc.aio.AioRpcError as error:
            return Answer([], f"Grpc Error, {error.code().value}, {error.details()}")
        told = errors(reply)
        if len(told) == 1 and not reply.instances:
            return Answer([], told[0][1])
        codes = told or [(0, "")] * len(reply.instances)
        entries = zip(reply.instances, codes, strict=True)
        return Answer([Refused(text) if code else _values_of(entry) for entry, (code, text) in entries])

    async def ask_packed(self, question: Question, timeout_s: float | None) -> Answer:
        """Send one request, compressed."""
        return await self.ask(question, timeout_s, grpc.Compression.Gzip)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _message_of(value: Any) -> pb.Tensor:
    if isinstance(value, np.ndarray):
        return tensor(value)
    if isinstance(value, str):
        return text_tensor(value.encode())
    return text_tensor(value, dtype=pb.MS_BYTES)


def _values_of(message: pb.Instance) -> Values:
    return {name: _value_of(message.items[name]) for name in message.items}


def _value_of(message: pb.Tensor) -> Any:
    if message.dtype == pb.MS_STRING:
        return message.bytes_val[0].decode()
    return message.bytes_val[0] if message.dtype == pb.MS_BYTES else array_of(message)


# ---- REST


@dataclass(frozen=True)
class _RestReply:
    status: int
    retry_after: bool
    request_id: str
    body: bytes


class RestConnection(asyncio.Protocol):
    """One connection of HTTP/1.1; requests may be sent before earlier ones are answered.

    Args:
        on_unasked: Told of replies that belong to no request.
    """

    def __init__(self, on_unasked: Callable[[str], None]) -> None:
        self._on_unasked = on_unasked
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: deque[asyncio.Future[_RestReply]] = deque()
        self._body: list[bytes] = []
        self._retry_after = False
        self._request_id = ""
        self._ended: BaseException | None = None

    @classmethod
    async def open(cls, address: str, on_unasked: Callable[[str], None]) -> RestConnection:
        """Connect."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(on_unasked), host, int(port))
        return connection

    @property
    def closed(self) -> bool:
        """Whether no further request can be sent."""
        return self._ended is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def ask(self, message: bytes) -> Answer:
        """Send a request from `rest_message`, and wait for its reply; errors as `expect`."""
        reply = self.expect()
        self.transport.write(message)
        return await reply

    async def ask_slowly(self, message: bytes) -> Answer:
        """Send a request in pieces, and read the reply in pieces; errors as `expect`."""
        reply = asyncio.ensure_future(self.expect())
        size = -(-len(message) // _SLOW_PIECES)
        for at in range(0, len(message), size):
            if not self.closed:
                self.transport.write(message[at : at + size])
            await asyncio.sleep(_SLOW_PAUSE_S)
        for _ in range(_SLOW_PIECES):
            if reply.done():
                break
            self.transport.pause_reading()
            await asyncio.sleep(_SLOW_PAUSE_S)
            self.transport.resume_reading()
            await asyncio.sleep(0)
        return await reply

    def expect(self) -> asyncio.Future[Answer]:
        """The next reply that nobody waits for yet.

        Raises:
            ConnectionEnded: The connection ended before.
            UnreadableReply: Something else came.
        """
        waiting: asyncio.Future[_RestReply] = asyncio.get_running_loop().create_future()
        if self._ended is not None:
            waiting.set_exception(self._ended)
        else:
            self._waiting.append(waiting)

        async def answer() -> Answer:
            reply = await waiting
            try:
                return answer_of_rest(reply.status, reply.retry_after, reply.body, reply.request_id)
            except (ValueError, KeyError, TypeError) as cause:
                raise UnreadableReply(f"HTTP {reply.status}, {reply.body[:300]!r}: {cause!r}") from cause

        return asyncio.ensure_future(answer())

    def leave(self, *, hard: bool) -> None:
        """End the connection, with a reset if `hard`; nobody wants what is still under way."""
        for waiting in self._waiting:
            waiting.cancel()
        self._waiting.clear()
        self._ended = ConnectionEnded("this side has ended the connection")
        if hard:
            raw = self.transport.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(UnreadableReply(f"no HTTP: {error!r}, {data[:300]!r}"))
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(ConnectionEnded(f"the server ended the connection: {error!r}"))

    def _end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def on_message_begin(self) -> None:
        self._body, self._retry_after, self._request_id = [], False, ""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._retry_after |= name == b"retry-after" and value.isdigit()
        if name == b"x-request-id":
            self._request_id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        reply = _RestReply(status, self._retry_after, self._request_id, b"".join(self._body))
        if self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(reply)
        elif self._ended is None:
            self._on_unasked(f"REST reply that nobody asked for: HTTP {reply.status}, {reply.body[:300]!r}")


def rest_message(
    question: Question,
    draw: random.Random,
    wishes: Wishes = NO_WISHES,
    *,
    close: bool = False,
    packed: bool = False,
) -> bytes:
    """A request as bytes.

    Args:
        question: What is asked.
        draw: Chooses how values are written.
        wishes: What else the head says.
        close: Ask for the end of the connection after the reply.
        packed: Compress the body.
    """
    instances = [
        {name: _json_of(value, draw) for name, value in values.items()} for values in question.instances
    ]
    body = json.dumps({"instances": instances}, ensure_ascii=draw.random() < 0.5).encode()
    head = f"POST /model/{question.servable}:{question.method} HTTP/1.1\r\nHost: soak\r\n"
    head += draw.choice([f"Authorization: Bearer {API_KEY}\r\n", f"X-API-Key: {API_KEY}\r\n"])
    head += wishes.head()
    if packed:
        body = gzip.compress(body, 1)
        head += "Content-Encoding: gzip\r\n"
    if close:
        head += "Connection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _json_of(value: Any, draw: random.Random) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if value.dtype.name in _JSON_DTYPES and value.size and draw.random() < 0.7:
        return value.tolist()
    coded = base64.b64encode(value.tobytes()).decode()
    return {"b64": coded, "type": value.dtype.name, "shape": list(value.shape)}
