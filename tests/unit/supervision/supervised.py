"""A supervisor whose worker processes are fakes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mindspore_serving.rows import Reply, Rows
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.readiness import WorkerHealth
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.supervision.supervisor import Supervisor
from tests.support.plans import worker_plan
from tests.support.rows import numbered
from tests.unit.supervision.fake_children import FakeChild, FakeChildren

LATE_S = 0.01
"""Virtual time in which whatever is under way between main and a worker has arrived."""


class Supervised:
    """A supervisor, and what it is given. Made on a loop of virtual time.

    Each process registers at once and says that it lives, unless `children.on_start` is changed.

    Attributes:
        said: Lines of progress.
        all_gone: When, in seconds of the loop, the supervisor told that nobody is left.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(self.loop)
        self.service = Service.of(self.dispatcher)
        self.children = FakeChildren(ready)
        self.said: list[str] = []
        self.all_gone: list[float] = []
        self.supervisor = Supervisor(
            self.service, lambda: self.all_gone.append(self.loop.time()), self.children, self.loop.time
        )

    async def start(self, *plans: WorkerPlan) -> list[FakeChild]:
        """Start workers, one without any plan; returns their processes when all are ready."""
        await self.supervisor.start(plans or [worker_plan()], self.said.append)
        return list(self.children.started)

    async def serve_from_all(self, name: str = "one") -> None:
        """Let each process of a servable answer something."""
        for child in self.living():
            if child.plan.servable_name == name:
                assert await self.answers_from(child)

    async def answers_from(self, child: FakeChild) -> bool:
        """Whether a process gets requests of its servable, and answers them; others answer theirs meanwhile."""
        name = child.plan.servable_name
        others = [one for one in self.living() if one.plan.servable_name == name]
        requests = [self.ask(numbered(8), name) for _ in range(2 * len(others))]
        answered = False
        while not all(request.done() for request in requests):
            await self.settle()
            for one in others:
                for batch in one.batches[one.answered :]:
                    one.answer(batch)
                    answered |= one is child
        return answered

    def ask(self, rows: Rows | None = None, name: str = "one") -> asyncio.Future[Reply]:
        """Send a request of one instance."""
        destination = self.dispatcher.resolve(name, "m", 1)
        return self.dispatcher.admit(destination, [rows or numbered(1)])

    async def settle(self) -> None:
        """Let everything arrive that is under way."""
        await asyncio.sleep(LATE_S)

    def health(self) -> list[WorkerHealth]:
        """How the workers are."""
        return list(self.supervisor.workers_health())

    def states(self) -> list[str]:
        """Status of each worker, as health checks show it."""
        return [worker.status for worker in self.health()]

    def living(self) -> Sequence[FakeChild]:
        """The processes that have not ended."""
        return [child for child in self.children.started if child.exit_status() is None]


def ready(child: FakeChild) -> None:
    """Become ready at once, and show life."""
    child.register()
    child.show_life()
