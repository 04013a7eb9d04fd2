"""The thread that polls the C core, with events that a test makes up: when the loop is woken, and for how much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mindspore_serving.server.transport.grpc.core_poller import Poller
from mindspore_serving.server.transport.grpc.core_surface import core
from mindspore_serving.server.transport.grpc.library import CallHandler, Metadata, ServerCall

COMPLETE = core.CompletionType.operation_complete
TIMEOUT = SimpleNamespace(completion_type=core.CompletionType.queue_timeout)
SHUTDOWN = SimpleNamespace(completion_type=core.CompletionType.queue_shutdown)
PATH = "/a.Service/Ask"


class FakeLoop:
    """A loop that notes for what it is woken, and does it when a test says so."""

    def __init__(self) -> None:
        self.woken: list[Callable[[], None]] = []
        self.soon: list[Callable[[], None]] = []

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.woken.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def create_task(self, coroutine: Any) -> Any:
        coroutine.close()
        return SimpleNamespace(cancel=lambda: None)

    def turn(self) -> None:
        """Do what it was woken for, and what follows from that."""
        for ready in (self.woken, self.soon):
            while ready:
                ready.pop(0)()


class FakeQueue:
    """Gives the events of a test, and notes with which deadlines it is asked.

    Args:
        events: In order; one that can be called is called first, as something that happens in between.
    """

    def __init__(self, *events: Any) -> None:
        self.events = list(events)
        self.deadlines: list[float | None] = []

    def poll(self, deadline: float | None) -> Any:
        self.deadlines.append(deadline)
        event = self.events.pop(0) if self.events else SHUTDOWN
        if callable(event):
            event()
            return self.poll(deadline)
        return event


class FakeServer:
    """Counts the calls that it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def request_call(self, *_: Any) -> None:
        self.asked += 1


class Scene:
    """A poller whose thread is the test's.

    Args:
        events: What the core says.
        find: Finds what answers a call.
    """

    def __init__(
        self, *events: Any, find: Callable[[str, Metadata], CallHandler | None] | None = None
    ) -> None:
        self.loop = FakeLoop()
        self.queue = FakeQueue(*events)
        self.server = FakeServer()
        self.failures: list[BaseException] = []
        loop: Any = self.loop
        self.poller = Poller(
            self.server, self.queue, find or (lambda path, _: HANDLER), self.failures.append, loop
        )


async def answer(call: ServerCall) -> bytes | None:
    return b""


HANDLER = CallHandler(answer)


class Arriving:
    """A call that comes, and its message.

    Args:
        scene: Where; set before its events come.
    """

    def __init__(self, scene: list[Scene], path: str = PATH) -> None:
        self.tags: list[Callable[[Any], None]] = []
        self.asked: list[str] = []
        self.event = SimpleNamespace(
            completion_type=COMPLETE,
            success=True,
            tag=lambda event: scene[0].poller._note_call(event),
            call=self,
            call_details=SimpleNamespace(method=path.encode(), deadline=1e18),
            invocation_metadata=(),
        )
        self.message = SimpleNamespace(
            completion_type=COMPLETE,
            success=True,
            tag=lambda event: self.tags[1](event),
            batch_operations=[SimpleNamespace(message=lambda: b"a")],
        )

    def peer(self) -> bytes:
        return b"ipv4:127.0.0.1:1"

    def start_server_batch(self, operations: Any, tag: Callable[[Any], None]) -> int:
        self.asked += [type(operation).__name__ for operation in operations]
        self.tags.append(tag)
        return 0


def test_the_loop_is_woken_once_for_all_that_has_come_before_it_looks() -> None:
    scenes: list[Scene] = []
    calls = [Arriving(scenes) for _ in range(3)]
    scenes.append(Scene(*(event for call in calls for event in (call.event, call.message))))
    scenes[0].poller.run()
    assert len(scenes[0].loop.woken) == 2  # the second says that the thread has ended
    scenes[0].loop.turn()
    assert len(scenes[0].poller.open) == 3
    assert scenes[0].server.asked == 3


def test_a_call_without_its_message_wakes_nobody() -> None:
    scenes: list[Scene] = []
    call = Arriving(scenes)
    scenes.append(Scene(call.event, lambda: woken.append(len(scenes[0].loop.woken)), TIMEOUT))
    woken: list[int] = []
    scenes[0].poller.run()
    assert woken == [0]
    assert scenes[0].queue.deadlines[0] is None
    assert scenes[0].queue.deadlines[1] is not None  # it is looked at again soon


def test_where_calls_come_together_the_loop_is_woken_when_there_is_no_event_left() -> None:
    scenes: list[Scene] = []
    calls = [Arriving(scenes) for _ in range(100)]
    scene = Scene()
    scenes.append(scene)
    for first in range(0, 100, 4):
        lot = calls[first : first + 4]
        scene.queue.events += [event for call in lot for event in (call.event, call.message)]
        scene.queue.events += [TIMEOUT, scene.loop.turn]  # the loop runs while the thread waits
    sizes: list[int] = []
    open_before = [0]

    def note() -> None:
        sizes.append(len(scene.poller.open) - open_before[0])
        open_before[0] = len(scene.poller.open)

    for at, event in reversed(list(enumerate(scene.queue.events))):
        if event == scene.loop.turn:
            scene.queue.events.insert(at + 1, note)
    scene.poller.run()
    assert sizes == [4] * 25
    assert 0.0 in scene.queue.deadlines  # it looks without waiting


@pytest.mark.parametrize("path", ["/a.Service/Other", "/"])
def test_a_call_of_no_method_is_refused_at_once(path: str) -> None:
    scenes: list[Scene] = []
    call = Arriving(scenes, path)
    scenes.append(Scene(call.event, find=lambda found, _: HANDLER if found == PATH else None))
    scenes[0].poller.run()
    assert "SendStatusFromServerOperation" in call.asked
    assert "ReceiveMessageOperation" not in call.asked
    assert not scenes[0].poller.expecting


def test_a_thread_that_fails_says_so_and_goes_on() -> None:
    def fail() -> None:
        raise SystemExit("a fault")

    scenes: list[Scene] = []
    call = Arriving(scenes)
    scenes.append(Scene(fail, call.event, call.message))
    scenes[0].poller.run()
    scenes[0].loop.turn()
    assert [str(failure) for failure in scenes[0].failures] == ["a fault"]
    assert len(scenes[0].poller.open) == 1


def test_a_thread_that_can_only_fail_ends() -> None:
    def fail() -> None:
        raise MemoryError

    scene = Scene(*[fail] * 1000)
    scene.poller.run()
    scene.loop.turn()
    assert len(scene.failures) == 1
    assert len(scene.queue.events) > 900
    assert scene.poller.ended.is_set()


def test_while_several_replies_are_sent_the_thread_waits_until_they_are() -> None:
    scene = Scene()
    poller = scene.poller
    for _ in range(2):
        poller.open.add(object())  # type: ignore[arg-type]
    poller.hold()
    assert scene.loop.soon == []  # two calls at a time: nobody waits
    poller.open.add(object())  # type: ignore[arg-type]
    poller.hold()
    poller.hold()
    assert len(scene.loop.soon) == 1
    scene.loop.turn()
    poller.hold()
    assert len(scene.loop.soon) == 1  # it can be held again


def test_the_core_is_asked_for_no_more_calls_than_the_loop_can_keep_up_with() -> None:
    scenes: list[Scene] = []
    calls = [Arriving(scenes) for _ in range(1500)]
    scene = Scene(*(event for call in calls for event in (call.event, call.message)))
    scenes.append(scene)
    scene.poller.run()
    assert 500 < scene.server.asked <= 1025  # a call whose message is slow is two entries of the inbox
    scene.loop.turn()
    assert scene.server.asked == 1500  # what was owed is asked for


def test_a_wait_for_the_end_is_over_when_the_loop_says_so() -> None:
    ended: list[str] = []
    scene = Scene()
    server: Any = scene.server
    queue: Any = scene.queue
    server.destroy = lambda: ended.append("server")
    queue.shutdown = lambda: ended.append("queue")
    closed = SimpleNamespace(completion_type=COMPLETE, tag=scene.poller.note_closed)

    before: list[Any] = []

    def end() -> None:
        scene.loop.turn()
        before.extend([scene.poller.closed.is_set(), *ended])
        scene.poller.is_ending = True

    scene.queue.events = [closed, TIMEOUT, end, TIMEOUT]
    scene.poller.run()
    assert before == [True]  # nothing has ended: the loop may still ask the core for something
    assert ended == ["server", "queue"]
    assert scene.failures == []
    scene.loop.turn()
    assert asyncio.run(asyncio.wait_for(scene.poller.ended.wait(), 1.0))
