"""The bytes of a stranger at the port of a cluster: it is let in with the token only, and nothing it sends raises."""

from __future__ import annotations

import asyncio
import atexit
import re
from functools import cache

from mindspore_serving.server.channel.cluster_messages import Challenge, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import TO_MEMBER, FrameSplitter, message_of
from mindspore_serving.server.cluster.master_port import MasterPort
from mindspore_serving.server.cluster.token import proof
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.service import Service
from tests.fuzz.oracle import demand
from tests.support.wire import Wire

TOKEN = "the token of the tests"
NONCE = "0" * 64


def one_input(data: bytes) -> None:
    """Connect, send in two pieces, and leave."""
    loop, port = _listening()
    loop.run_until_complete(_connect(port, data))


@cache
def _listening() -> tuple[asyncio.AbstractEventLoop, MasterPort]:
    loop = asyncio.new_event_loop()
    port = MasterPort(Service.of(Dispatcher(loop)), "127.0.0.1", 0, TOKEN, None, 1.0)
    loop.run_until_complete(port.start())
    atexit.register(lambda: loop.run_until_complete(port.stop()))
    return loop, port


async def _connect(port: MasterPort, data: bytes) -> None:
    link, wire = port.make_link(), Wire()
    link.nonce = NONCE
    link.connection_made(wire)
    for half in (data[: len(data) // 2], data[len(data) // 2 :]):
        if not wire.closed:
            link.data_received(half)
    told = [type(message_of(*frame, TO_MEMBER)) for frame in FrameSplitter().feed(bytes(wire.sent))]
    demand(told[:1] == [Challenge], "a peer is asked for a proof", told)
    demand(set(told[1:]) <= {Welcome, JoinRefused}, "a peer is let in or not", told)
    demand(link.joined == (Welcome in told), "who is let in is told so", told)
    demand(not link.joined or _has_proof(data), "nobody is let in without the proof")
    link.connection_lost(None)
    demand(link not in port.links, "a connection that has ended is forgotten")


def _has_proof(data: bytes) -> bool:
    """Whether a stream holds the proof for one of the nonces in it."""
    nonces = [text.decode() for text in re.findall(rb'"nonce":"([ -~]*?)"', data)]
    return any(proof(TOKEN, "worker", NONCE, nonce).encode() in data for nonce in nonces)
