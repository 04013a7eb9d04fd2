"""Which servables run, and that what was found is found again once it may be another one."""

from __future__ import annotations

import asyncio

from mindspore_serving.server.dispatch.running_servables import RunningServables
from tests.unit.dispatch.dispatching import Worker


def test_what_was_found_is_kept_until_copies_come_or_go(loop: asyncio.AbstractEventLoop) -> None:
    changes: list[int] = []
    running = RunningServables(loop, 0, lambda: changes.append(running.generation))
    worker = Worker(running)
    kept = running.find_and_keep("s", "m", 0)
    assert running.found == {("s", "m", 0): kept}
    assert kept.generation == running.generation
    again = Worker(running, version=2)
    assert running.found == {}
    assert kept.generation != running.generation
    found = running.find_again(kept)
    assert (found.servable, found.version) == (again.servable, 0)
    assert running.found == {}
    assert list(running) == [worker.servable, again.servable]
    assert len(changes) >= 2
    assert changes == sorted(changes)
