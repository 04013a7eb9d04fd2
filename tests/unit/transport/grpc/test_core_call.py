"""Calls of the C core without it: what they ask of it, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mindspore_serving.server.transport.grpc.core_call import CoreCall
from mindspore_serving.server.transport.grpc.core_surface import core
from mindspore_serving.server.transport.grpc.library import CallHandler, CallOver, ServerCall


class FakeCoreCall:
    """A call as the core has it, which notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tags: list[Callable[[Any], None]] = []

    def peer(self) -> bytes:
        return b"ipv4:127.0.0.1:1"

    def start_server_batch(self, operations: Any, tag: Callable[[Any], None]) -> int:
        self.asked += [type(operation).__name__ for operation in operations]
        self.tags.append(tag)
        return 0

    def cancel(self) -> None:
        self.asked.append("cancel")


class FakePoller:
    """A `Poller` without a thread: what the loop is told of is done when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.expecting: dict[CoreCall, float] = {}
        self.open: set[CoreCall] = set()
        self.is_ending = False
        self.loop = loop
        self.unwatched: set[CoreCall] = set()
        self.told: list[tuple[Callable[[Any], None], object]] = []

    def tell(self, function: Callable[[Any], None], argument: object = None) -> None:
        self.told.append((function, argument))

    def is_to_watch(self, call: CoreCall) -> bool:
        if call not in self.unwatched:
            return False
        self.unwatched.remove(call)
        return True


END = core.ReceiveCloseOnServerOperation.__name__


async def answer(call: ServerCall) -> bytes | None:
    return b""


def new_call(poller: FakePoller) -> tuple[CoreCall, FakeCoreCall]:
    asked = FakeCoreCall()
    call = CoreCall(poller, asked, None, (), CallHandler(answer))
    poller.expecting[call] = 0.0
    poller.unwatched.add(call)
    return call, asked


async def answered(call: CoreCall, poller: FakePoller) -> None:
    call.start(None)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert not poller.open


def test_the_end_of_a_call_is_asked_for_once() -> None:
    async def scene() -> None:
        poller = FakePoller(asyncio.get_running_loop())
        for watches in (0, 1, 2):
            call, asked = new_call(poller)
            for _ in range(watches):
                call.watch()
            await answered(call, poller)
            assert asked.asked.count(END) == 1

    asyncio.run(scene())


def test_a_call_that_ends_before_its_message_comes_is_never_answered() -> None:
    async def scene() -> None:
        poller = FakePoller(asyncio.get_running_loop())
        call, asked = new_call(poller)
        call.watch()
        asked.tags[0](SimpleNamespace(batch_operations=[SimpleNamespace(cancelled=lambda: True)]))
        assert (poller.expecting, poller.told) == ({}, [])

    asyncio.run(scene())


def test_who_writes_is_told_that_it_has_failed() -> None:
    async def scene() -> None:
        poller = FakePoller(asyncio.get_running_loop())
        call, asked = new_call(poller)
        writing = asyncio.create_task(call.write(b"a"))
        await asyncio.sleep(0)
        asked.tags[0](SimpleNamespace(success=False))
        for function, argument in poller.told:
            function(argument)
        with pytest.raises(CallOver):
            await writing

    asyncio.run(scene())


def test_nothing_is_asked_of_the_core_once_it_is_about_to_end() -> None:
    """That would abort the process."""

    async def scene() -> None:
        poller = FakePoller(asyncio.get_running_loop())
        call, asked = new_call(poller)
        poller.is_ending = True
        call.watch()
        await answered(call, poller)
        assert asked.asked == []

    asyncio.run(scene())
