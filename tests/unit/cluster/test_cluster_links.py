"""The connections of a cluster: a peer says what belongs to its conversation, and when it belongs there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mindspore_serving.server.channel.cluster_messages import Challenge, Join, JoinRefused, Welcome
from mindspore_serving.server.channel.frames import (
    FROM_MEMBER,
    TO_MEMBER,
    FrameSplitter,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.messages import Alive, Batch, Exiting, Result, Stop
from mindspore_serving.server.cluster.link import ALIVE_EVERY_S
from mindspore_serving.server.cluster.master_port import MasterPort
from mindspore_serving.server.cluster.member import MasterLink, Membership
from mindspore_serving.server.cluster.token import proof
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.service import Service
from mindspore_serving.signature import MethodSignature
from tests.support.channel import foreign_frames
from tests.support.rows import numbered
from tests.support.wire import Wire
from tests.unit.dispatch.dispatching import pumped

TOKEN = "the token of the tests"
METHOD = MethodSignature("m", ("x",), 64)


def play(scene: Callable[[Any, Wire], None], joined: bool, make: Callable[[], Any], join: Any) -> Wire:
    """Let a peer say something to one end of a connection; returns what came back."""

    async def whole() -> Wire:
        link, wire = make(), Wire()
        link.connection_made(wire)
        if joined:
            join(link, wire)
            assert link.joined
            assert not wire.closed
        scene(link, wire)
        link.connection_lost(None)
        return wire

    return asyncio.run(whole())


class Master:
    """The master's end of a connection, and a worker that joins there."""

    expected = FROM_MEMBER
    join_frame: bytes

    @staticmethod
    def make() -> Any:
        port = MasterPort(
            Service.of(Dispatcher(asyncio.get_running_loop())), "127.0.0.1", 0, TOKEN, None, 1.0
        )
        port._server = object()  # type: ignore[assignment]  # it listens
        return port.make_link()

    @staticmethod
    def join(link: Any, wire: Wire) -> None:
        shown = proof(TOKEN, "worker", link.nonce, "n")
        link.data_received(frame_of(Join("n", shown, "10.0.0.9:1", "m", 1, "add", 1, (METHOD,))))


class Worker:
    """The worker's end, and a master that takes it in."""

    expected = TO_MEMBER

    @staticmethod
    def make() -> Any:
        dispatcher = Dispatcher(asyncio.get_running_loop())
        membership = Membership("10.0.0.9", 4711, "10.0.0.1:1", "m", TOKEN, None, 1.0)
        link = MasterLink(membership, dispatcher, dispatcher.servable("add", 1), lambda: None)
        # Nobody waits for it here, and asyncio would say so.
        link.decided.add_done_callback(lambda decided: decided.exception())
        return link

    @staticmethod
    def join(link: Any, wire: Wire) -> None:
        link.data_received(frame_of(Challenge("c")))
        [(kind, body)] = FrameSplitter().feed(bytes(wire.sent))
        answer = message_of(kind, body, FROM_MEMBER)
        assert isinstance(answer, Join)
        link.data_received(frame_of(Welcome(proof(TOKEN, "master", "c", answer.nonce))))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("end", "name"), [(end, name) for end in (Master, Worker) for name in foreign_frames(end.expected)]
)
def test_a_message_of_another_conversation_ends_the_connection(end: Any, name: str, joined: bool) -> None:
    def scene(link: Any, wire: Wire) -> None:
        link.data_received(foreign_frames(end.expected)[name])
        assert wire.closed
        assert link.fault == f"Channel got a {name}, expected one of {end.expected.names}"

    play(scene, joined, end.make, end.join)


@pytest.mark.parametrize(
    ("end", "message", "joined"),
    [
        (Master, Exiting(), False),
        (Master, Result(0, 0, 0, (numbered(1),), True), False),
        (Master, Join("n", "p", "10.0.0.9:1", "m", 1, "add", 1, ()), True),
        (Worker, Stop(), False),
        (Worker, Batch(0, 0, "m", (numbered(1),)), False),
        (Worker, Welcome("p"), False),
        (Worker, Challenge("c"), True),
        (Worker, JoinRefused("no"), True),
    ],
)
def test_a_message_at_another_time_ends_the_connection(end: Any, message: Any, joined: bool) -> None:
    def scene(link: Any, wire: Wire) -> None:
        link.data_received(frame_of(message))
        assert wire.closed
        assert f"sent a {type(message).__name__}, which is not expected now" in link.fault

    play(scene, joined, end.make, end.join)


def test_a_worker_tells_the_master_how_long_a_batch_took_where_it_ran() -> None:
    async def scene() -> tuple[float, Result]:
        loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(loop)
        batches: list[Batch] = []
        copy = ServableCopy("add", [METHOD], batches.append)
        dispatcher.servable("add", 1).add_copy(copy)
        membership = Membership("10.0.0.9", 4711, "10.0.0.1:1", "m", TOKEN, None, 1.0)
        link, wire = MasterLink(membership, dispatcher, dispatcher.servable("add", 1), lambda: None), Wire()
        link.connection_made(wire)
        Worker.join(link, wire)
        begun = loop.time()
        link.data_received(frame_of(Batch(5, 0, "m", (numbered(2),))))
        await pumped()
        wire.sent.clear()
        copy.take_result(
            Result(batches[0].batch_id, batches[0].slot, 0, batches[0].groups, True, 3, 1, 8, 5, (7, 0))
        )
        await pumped()
        [(kind, body)] = FrameSplitter().feed(bytes(wire.sent))
        result = message_of(kind, body, FROM_MEMBER)
        assert isinstance(result, Result)
        return loop.time() - begun, result

    whole_s, result = asyncio.run(scene())
    assert (result.batch_id, result.final, result.run_us) == (5, True, 1)
    assert 3 <= result.wait_us <= whole_s * 1e6
    assert (result.model_rows, result.padding_rows, result.steps) == (8, 5, (7, 0))


@pytest.mark.parametrize("end", [Master, Worker])
def test_beats_without_a_word_of_the_peer_are_counted(end: Any) -> None:
    def scene(link: Any, wire: Wire) -> None:
        silent = [link.beat() for _ in range(3)]
        link.data_received(frame_of(Alive()))
        assert silent + [link.beat() for _ in range(2)] == [
            beats * ALIVE_EVERY_S for beats in (0, 1, 2, 0, 1)
        ]

    play(scene, True, end.make, end.join)
