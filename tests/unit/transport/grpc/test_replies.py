"""What gRPC holds for clients that do not take their replies: when memory goes back to the system."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import cast

import pytest

from mindspore_serving.server.transport.grpc import replies
from mindspore_serving.server.transport.grpc.library import ServerCall
from mindspore_serving.server.transport.grpc.replies import SentReplies
from mindspore_serving.server.transport.grpc.tcp_connections import TcpConnections
from mindspore_serving.server.transport.untaken_replies import UntakenReplies


class FakeCall:
    """A call whose end the test decides."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.end: Callable[[], None] = lambda: None

    def when_done(self, callback: Callable[[], None]) -> None:
        self.end = callback


@pytest.mark.parametrize("peer", ["unix:", "ipv4:127.0.0.1:1"])
def test_memory_goes_back_when_replies_have_left_by_themselves(
    monkeypatch: pytest.MonkeyPatch, peer: str
) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(replies, "give_back_freed_memory", given_back.set)
    monkeypatch.setattr(replies, "_LOOK_EVERY_S", 0.001)

    async def answer() -> None:
        replies = SentReplies(UntakenReplies(100_000, 40_000), TcpConnections())
        call = FakeCall(peer)
        replies.add(cast("ServerCall", call), 30_000)
        await asyncio.sleep(0.01)
        assert not given_back.is_set()  # the client may take it yet
        call.end()  # it took it, gave the call up, or is gone
        assert await asyncio.to_thread(given_back.wait, 10)

    asyncio.run(answer())
