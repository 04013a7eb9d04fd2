"""Connections of clients, one for each process, and for asyncio one for each event loop.

A connection belongs to the process that made it: its threads are not in a forked child, and its socket is the parent's.
A child makes one of its own. It leaves the parent's alone, and never ends it: that could wait for threads which are not
there.
"""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

import grpc
import grpc.aio

from mindspore_serving.client.python.proxy import Proxy, route_to
from mindspore_serving.forked_grpc import check_usable, note_use
from mindspore_serving.proto import ms_service_pb2_grpc

PREDICT_PATH = "/mindspore.serving.proto.MSService/Predict"
MAX_MESSAGE_BYTES = 512 * 1024 * 1024

# Channels with equal options share one connection, and its waiting time after a failed attempt, unless each has a
# pool of its own: a new client must not be told "unavailable" because an older one once found no server.
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
)

FIRST_PROCESS = os.getpid()
"""The one that imported the client; in others, which were forked, grpc.aio may lack its thread."""
_open_channels: WeakSet[Any] = WeakSet()
_channels_of_ancestors: list[Any] = []


class Connection:
    """A channel to a server.

    Args:
        address: Where the server listens.
        credentials: For TLS; None for a connection without.
        for_asyncio: Whether the channel is one of grpc.aio, which belongs to the event loop that runs.

    Attributes:
        for_asyncio: As given.
        channel: The channel of gRPC.
        stub: The generated stub of the service, on the channel.
        predict: Sends a serialized request.
        proxy: The proxy between; None for none.

    Raises:
        ServingError: gRPC cannot be used in this process, which was forked.
    """

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None, *, for_asyncio: bool = False
    ) -> None:
        check_usable()
        note_use()
        route = route_to(address)
        options = CHANNEL_OPTIONS + route.options
        self.for_asyncio = for_asyncio
        kind: Any = grpc.aio if for_asyncio else grpc
        self.proxy: Proxy | None = route.proxy
        self.channel: Any = (
            kind.insecure_channel(address, options)
            if credentials is None
            else kind.secure_channel(address, credentials, options)
        )
        self.stub = ms_service_pb2_grpc.MSServiceStub(self.channel)
        self.predict: Any = self.channel.unary_unary(PREDICT_PATH)
        _open_channels.add(self.channel)


def _keep_channels_of_parent() -> None:
    _channels_of_ancestors.extend(_open_channels)


os.register_at_fork(after_in_child=_keep_channels_of_parent)
