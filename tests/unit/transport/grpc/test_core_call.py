"""Calls of the C core without it: what they ask of it, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mindspore_serving.server.transport.grpc.core_call import CoreCall
from mindspore_serving.server.transport.grpc.library import CallHandler, CallOver, ServerCall

LIMIT_S = 20.0


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
    """An `EventSource` without a thread: what the loop is told of is done when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.expecting: dict[CoreCall, float] = {}
        self.leaving: dict[CoreCall, float] = {}
        self.open: set[CoreCall] = set()
        self.is_ending = False
        self.loop = loop
        self.told: list[tuple[Callable[[Any], None], object]] = []

    def tell(self, function: Callable[[Any], None], argument: object = None) -> None:
        self.told.append((function, argument))

    def hold(self) -> None:
        pass

    def go_on(self) -> None:
        """Do on the loop what it was told."""
        told, self.told = self.told, []
        for function, argument in told:
            function(argument)


async def answer(call: ServerCall) -> bytes | None:
    return b""


def new_call(poller: FakePoller, reads: bool = True) -> tuple[CoreCall, FakeCoreCall]:
    asked = FakeCoreCall()
    call = CoreCall(poller, asked, None, (), CallHandler(answer, reads))
    call.begin()
    return call, asked


def ended(cancelled: bool) -> Any:
    return SimpleNamespace(batch_operations=[SimpleNamespace(cancelled=lambda: cancelled)])


def message(content: bytes | None) -> Any:
    return SimpleNamespace(success=True, batch_operations=[SimpleNamespace(message=lambda: content)])


def play(scene: Callable[[FakePoller], Awaitable[None]]) -> None:
    async def played() -> None:
        poller = FakePoller(asyncio.get_running_loop())
        await scene(poller)
        for _ in range(5):  # what was started ends
            await asyncio.sleep(0)
        assert not poller.open

    asyncio.run(asyncio.wait_for(played(), LIMIT_S))


def test_a_call_is_passed_on_with_its_message() -> None:
    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        assert asked.asked == ["ReceiveCloseOnServerOperation", "ReceiveMessageOperation"]
        assert (list(poller.expecting), poller.told) == ([call], [])
        asked.tags[1](message(b"a"))
        assert (poller.expecting, len(poller.told)) == ({}, 1)
        assert call.has_message
        poller.go_on()

    play(scene)


def test_a_call_whose_message_takes_long_is_passed_on_without_it() -> None:
    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        del poller.expecting[call]
        call.go_on()
        assert (len(poller.told), call.has_message) == (1, False)
        poller.go_on()
        asked.tags[1](message(b"a"))
        poller.go_on()
        assert call.has_message

    play(scene)


def test_a_message_that_may_not_be_read_is_not_asked_for() -> None:
    async def scene(poller: FakePoller) -> None:
        _, asked = new_call(poller, reads=False)
        assert asked.asked == ["ReceiveCloseOnServerOperation"]
        assert (poller.expecting, len(poller.told)) == ({}, 1)
        poller.go_on()

    play(scene)


@pytest.mark.parametrize("empty", ["never", "before", "after"])
def test_a_call_that_ends_before_its_message_comes_is_never_answered(empty: str) -> None:
    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        if empty == "before":  # the core says first that there is no message, and then why
            asked.tags[1](message(None))
            assert (poller.expecting, list(poller.leaving), poller.told) == ({}, [call], [])
        asked.tags[0](ended(cancelled=True))
        if empty == "after":
            asked.tags[1](message(None))
        assert (poller.expecting, poller.leaving, poller.told) == ({}, {}, [])

    play(scene)


@pytest.mark.parametrize("known", [False, True])
def test_a_side_that_has_ended_is_told_of_once_its_call_is_not_seen_to_end(known: bool) -> None:
    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        if known:
            del poller.expecting[call]
            call.go_on()
            poller.go_on()
        asked.tags[1](message(None))
        assert (list(poller.leaving), poller.told) == ([call], [])
        del poller.leaving[call]
        call.go_on()
        assert len(poller.told) == 1
        poller.go_on()
        assert call.has_message  # that there is none

    play(scene)


def test_a_call_that_was_answered_is_not_cancelled() -> None:
    async def scene(poller: FakePoller) -> None:
        _, asked = new_call(poller)
        asked.tags[1](message(b"a"))
        poller.go_on()
        asked.tags[0](ended(cancelled=False))
        assert poller.told == []

    play(scene)


def test_who_writes_is_told_that_it_has_failed() -> None:
    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        writing = asyncio.create_task(call.write(b"a"))
        await asyncio.sleep(0)
        asked.tags[2](SimpleNamespace(success=False))
        poller.go_on()
        with pytest.raises(CallOver):
            await writing

    play(scene)


def test_nothing_is_asked_of_the_core_once_it_is_about_to_end() -> None:
    """That would abort the process."""

    async def scene(poller: FakePoller) -> None:
        call, asked = new_call(poller)
        before = list(asked.asked)
        poller.is_ending = True
        asked.tags[1](message(b"a"))
        poller.go_on()
        await asyncio.sleep(0)
        assert asked.asked == before
        with pytest.raises(CallOver):
            await call.write(b"a")

    play(scene)
