"""Connections of our own load generator: requests that are ready to be sent, and the replies that they should get."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.http2 import GrpcConnection, grpc_frame
from mindspore_serving.cli.load.connections import Connection, RestConnection, http_request

__all__ = [
    "JSON_HEADERS",
    "Connection",
    "Exchange",
    "RefusableRestConnection",
    "RestConnection",
    "connect",
    "grpc_exchange",
    "rest_exchange",
]

JSON_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
"""Of a request over REST that does not say otherwise."""


@dataclass(frozen=True)
class Exchange:
    """A request, the right reply, and what a full server replies, all as a connection sends and gives them.

    Without a refusal, one that comes is a wrong reply.
    """

    request: bytes
    reply: bytes
    refusal: bytes = b""


class RefusableRestConnection(RestConnection):
    """A connection whose refusals are replies, too."""

    statuses = (b"200", b"429")


def grpc_exchange(body: bytes, expected: bytes) -> Exchange:
    """A serialized request and the serialized reply to it."""
    return Exchange(grpc_frame(body), grpc_frame(expected))


def rest_exchange(
    address: str, path: str, body: bytes, expected: bytes, headers: Mapping[str, str] = JSON_HEADERS
) -> Exchange:
    """A POST of a body, and the body of the reply; `headers` come beside `Host` and `Content-Length`."""
    return Exchange(http_request(address, path, body, headers), expected)


async def connect(interface: str, address: str, path: str) -> Connection:
    """Open a connection.

    Args:
        interface: `grpc` or `rest`.
        address: `host:port`.
        path: For gRPC, of the method.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    if interface == "grpc":
        _, connection = await loop.create_connection(lambda: GrpcConnection(address, path), host, int(port))
        return connection
    _, plain = await loop.create_connection(RestConnection, host, int(port))
    return plain
