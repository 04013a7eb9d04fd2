"""Calls whose replies are read and judged one by one, where no single reply is the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

import grpc.aio
import numpy as np

from benchmarks.messages import GRPC_PATH
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.tensor import NUMPY_OF, DataType

RIGHT = b"right"
"""What `run_clients` is to expect of senders that judge replies themselves."""
WRONG = b"wrong"
_MOST_CHANNELS = 8
_LARGEST_MESSAGE = 64 << 20


class GrpcCalls:
    """Calls of one gRPC server.

    Args:
        address: `host:port`.
        clients: How many will call at a time; they share at most eight connections.
    """

    def __init__(self, address: str, clients: int) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        ]
        self._channels = [
            grpc.aio.insecure_channel(address, options=options) for _ in range(min(clients, _MOST_CHANNELS))
        ]
        self._calls = [channel.unary_unary(GRPC_PATH) for channel in self._channels]
        self._turn = 0

    async def send(self, body: bytes) -> bytes:
        """Send a serialized request; returns the serialized reply."""
        self._turn += 1
        return bytes(await self._calls[self._turn % len(self._calls)](body))

    async def __aenter__(self) -> GrpcCalls:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()


class RestReply(NamedTuple):
    """Status and body of an HTTP reply."""

    status: int
    body: bytes


class RestCalls:
    """Calls of one REST server, over as many kept-alive connections as there are calls at a time.

    Args:
        address: `host:port`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, path: str, body: bytes) -> RestReply:
        """POST a body."""
        if not self._idle:
            host, _, port = self._address.rpartition(":")
            self._idle.append(await asyncio.open_connection(host, int(port)))
        reader, writer = connection = self._idle.pop()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._address}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        reply_head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(reply_head.split(b"content-length:")[1].split(b"\r\n")[0])
        reply = RestReply(int(reply_head.split(b" ", 2)[1]), await reader.readexactly(length))
        self._idle.append(connection)
        return reply

    async def __aenter__(self) -> RestCalls:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writer in self._idle:
            writer.close()


def columns_of(reply: bytes) -> dict[str, np.ndarray] | None:
    """The numeric outputs of all instances of a reply, each [N, ...]; None if it tells an error, or has none."""
    message = ms_service_pb2.PredictReply.FromString(reply)
    if message.error_msg or not message.instances:
        return None
    names = message.instances[0].items.keys()
    return {name: _column([instance.items[name] for instance in message.instances]) for name in names}


def _column(tensors: Sequence[ms_service_pb2.Tensor]) -> np.ndarray:
    dtype = NUMPY_OF[DataType(int(tensors[0].dtype))]
    data = b"".join(tensor.data for tensor in tensors)
    return np.frombuffer(data, dtype).reshape(len(tensors), *tensors[0].shape.dims)


def first_error_of(reply: bytes) -> str:
    """The first error that a reply tells; empty if all instances succeeded."""
    errors: Sequence[ms_service_pb2.ErrorMsg] = ms_service_pb2.PredictReply.FromString(reply).error_msg
    return next((error.error_msg.decode() for error in errors if error.error_code), "")
