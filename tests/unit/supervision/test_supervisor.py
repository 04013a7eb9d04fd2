"""What the owner of the workers makes of their starts."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.supervisor import Supervisor
from tests.support.plans import worker_plan


def test_of_workers_that_fail_together_one_is_reported_and_none_is_forgotten() -> None:
    unhandled: list[dict[str, Any]] = []

    async def start() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        supervisor = Supervisor(Dispatcher(loop), pytest.fail)
        workers = [SupervisedWorker(worker_plan(device_id=i), i) for i in range(4)]
        for worker in workers:
            worker.process = SimpleNamespace(exit_status=lambda: None, log_path="log")  # type: ignore[assignment]
            worker.failure = "broken"
        workers[-1].failure = ""
        with pytest.raises(StartUpError, match="<broken>"):
            await supervisor._all_ready(workers, lambda _: None)
        gc.collect()

    asyncio.run(start())
    gc.collect()
    assert unhandled == []
