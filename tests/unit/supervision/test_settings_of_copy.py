"""A worker is sent as many batches at a time as its servable's settings say."""

from __future__ import annotations

import pytest

from tests.support.plans import worker_plan
from tests.support.rows import numbered
from tests.support.virtual_time import run_in_virtual_time
from tests.unit.supervision.supervised import Supervised


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_worker_has_as_many_batches_in_flight_as_it_has_slots(slots: int) -> None:
    async def test() -> None:
        scene = Supervised()
        [child] = await scene.start(worker_plan(slots_per_copy=slots))
        requests = [scene.ask(numbered(8)) for _ in range(7)]
        await scene.settle()
        assert len(child.batches) == slots
        await scene.supervisor.stop()
        for request in requests:
            request.cancel()

    run_in_virtual_time(test())
