"""Requests through a dispatcher to copies whose workers are the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mindspore_serving.errors import Failure, StatusCode
from mindspore_serving.rows import FailedRows, Group, Reply
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.running_servables import RunningServables
from mindspore_serving.signature import MethodSignature
from tests.support.rows import numbered

METHOD = MethodSignature("m", ("x",), 8)
OTHER = MethodSignature("other", ("x",), 8)
_NOT_AVAILABLE = "Request servable(s) method(m)  version(1) , servable is not available"


class Worker:
    """A copy whose worker is the test: it sees the batches, and answers when asked to."""

    def __init__(
        self,
        dispatcher: Dispatcher | RunningServables,
        name: str = "s",
        version: int = 1,
        *,
        label: str = "",
        methods: Sequence[MethodSignature] = (METHOD,),
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.batches: list[Batch] = []
        self._on_batch = on_batch
        self.servable = dispatcher.servable(name, version)
        self.copy = ServableCopy(label or f"{name}:{version}", methods, self._take)
        self.servable.add_copy(self.copy)

    def _take(self, batch: Batch) -> None:
        self._on_batch()
        self.batches.append(batch)

    def answer(
        self, batch: Batch, start: int = 0, groups: tuple[Group, ...] = (), final: bool = True
    ) -> None:
        """Give instances back as they came, or as `groups`."""
        self.copy.take_result(Result(batch.batch_id, batch.slot, start, groups or batch.groups, final))

    def answer_all(self) -> None:
        """Give everything back as it came."""
        while self.batches:
            self.answer(self.batches.pop(0))

    def free_slots(self) -> int:
        return self.copy.free_slots(METHOD)

    def die(self) -> None:
        self.servable.remove_copy(self.copy)


def submit(
    dispatcher: Dispatcher, count: int, start: int = 0, servable: str = "s", timeout_s: float | None = None
) -> asyncio.Future[Reply]:
    """Admit a request of instances with the numbers from `start` on, without an early look."""
    return dispatcher.admit(dispatcher.resolve(servable, "m", 0), [numbered(count, start)], timeout_s)


async def pumped() -> None:
    """Let the loop form batches."""
    for _ in range(3):
        await asyncio.sleep(0)


def untouched(count: int) -> FailedRows:
    """What instances get that no worker has held: they can be sent again."""
    return FailedRows(Failure(StatusCode.SERVABLE_UNAVAILABLE, _NOT_AVAILABLE), count)


def may_have_run(count: int) -> FailedRows:
    """What instances get that a worker has held."""
    text = f"{_NOT_AVAILABLE}: a worker had this instance, which may have been run"
    return FailedRows(Failure(StatusCode.SYSTEM_ERROR, text), count)
