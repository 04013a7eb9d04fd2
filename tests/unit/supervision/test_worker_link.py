"""What a worker may send that is no message, or not its to send: main goes on, and ends that connection alone."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from typing import Any

import pytest

from mindspore_serving.server.channel.frames import FROM_WORKER
from tests.support.channel import foreign_frames
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.supervised import Supervised


def frame(kind: int, content: bytes, length: int | None = None) -> bytes:
    """A frame as the channel has it: length, kind, three bytes of padding, body."""
    return struct.pack("<IB3x", len(content) if length is None else length, kind) + content


def control(kind: int, **fields: Any) -> bytes:
    return frame(kind, json.dumps(fields).encode())


METHOD = {
    "name": "twice",
    "input_names": ["x"],
    "batch_limit": 64,
    "fill": 1,
}
REGISTER, START_FAILED, EXITING, STOP, BATCH, RESULT = range(1, 7)

FRAMES = {
    "random bytes": random.Random(3).randbytes(4096),
    "kind 0": frame(0, b"{}"),
    "kind 99": frame(99, b"{}"),
    "kind 255": frame(255, b""),
    "huge length": frame(RESULT, b"", 0xFFFFFFFF),
    "half a head": frame(REGISTER, b"{}")[:5],
    "half a frame": frame(REGISTER, b"x" * 1000)[:500],
    "large and half": frame(RESULT, bytes(1 << 20), 1 << 29),
    "no json": frame(REGISTER, b"not json"),
    "empty": frame(REGISTER, b""),
    "list for fields": frame(REGISTER, b"[1, 2]"),
    "null for fields": frame(REGISTER, b"null"),
    "deep": frame(REGISTER, b"[" * 100_000),
    "no fields": control(REGISTER),
    "unknown field": control(REGISTER, worker=0, pid=1, methods=[], more=1),
    "text for a number": control(REGISTER, worker="0", pid="1", methods=[]),
    "number out of range": control(REGISTER, worker=10**18, pid=1, methods=[]),
    "negative number": control(REGISTER, worker=-1, pid=1, methods=[]),
    "foreign process": control(REGISTER, worker=0, pid=1, methods=[METHOD]),
    "number for methods": control(REGISTER, worker=0, pid=1, methods=5),
    "odd methods": control(REGISTER, worker=0, pid=1, methods=[{"name": 1, "input_names": None}]),
    "failure of nobody": control(START_FAILED, worker=7, reason="x"),
    "failure without reason": control(START_FAILED, worker=0),
    "text for a worker": control(START_FAILED, worker="zero", reason="x"),
    "exit of nobody": control(EXITING),
    "stop": control(STOP),
    "batch": frame(BATCH, bytes(64)),
    "result of nobody": frame(RESULT, struct.pack("<IIIII?I7x", 0, 0, 0, 0, 0, True, 0)),
    "short result": frame(RESULT, b"\x01"),
    "result that promises too much": frame(RESULT, struct.pack("<IIIII?I7x", 0, 0, 0, 0, 0, True, 60000)),
    "slot out of range": frame(RESULT, struct.pack("<IIIII?I7x", 0, 60000, 0, 0, 0, True, 1) + bytes(32)),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_garbage_of_a_worker(kind: str) -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.send_bytes(FRAMES[kind])
        starting = asyncio.ensure_future(scene.start())
        await scene.settle()
        [child] = scene.children.started
        assert child.was_hung_up_on == (kind not in ("half a head", "half a frame", "large and half"))
        assert scene.states() == ["starting"]
        assert not scene.dispatcher.servable("one", 1).copies
        starting.cancel()
        await scene.supervisor.stop()

    run_in_virtual_time(test())


@pytest.mark.parametrize("name", foreign_frames(FROM_WORKER))
def test_a_message_of_another_conversation(name: str, log_lines: list[str]) -> None:
    async def test() -> None:
        scene = Supervised()
        scene.children.on_start = lambda child: child.send_bytes(foreign_frames(FROM_WORKER)[name])
        starting = asyncio.ensure_future(scene.start())
        await scene.settle()
        [child] = scene.children.started
        assert child.was_hung_up_on
        starting.cancel()
        await scene.supervisor.stop()

    run_in_virtual_time(test())
    [line] = log_lines
    assert line.endswith(f"is closed: Channel got a {name}, expected one of {FROM_WORKER.names}")
