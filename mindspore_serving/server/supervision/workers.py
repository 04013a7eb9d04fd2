"""All workers of a supervisor by their numbers, and what those of one servable version have in common."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from mindspore_serving.server.channel.messages import HeldModels
from mindspore_serving.server.service.server_statistics import Restart
from mindspore_serving.server.service.statistics import MOST_RESTARTS
from mindspore_serving.server.supervision.restart_policy import RestartPolicy
from mindspore_serving.server.supervision.supervised_worker import SupervisedWorker
from mindspore_serving.server.supervision.worker_life import OVER


class Workers:
    """Workers by number. A number is never used twice, so that what is late cannot reach another worker.

    Args:
        wall_clock: Seconds since 1970.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._workers: dict[int, SupervisedWorker] = {}
        self._policies: dict[tuple[str, int], RestartPolicy] = {}
        self._restarts: dict[tuple[str, int], deque[Restart]] = {}
        self._next_number = 0

    def __repr__(self) -> str:
        return repr(list(self._workers.values()))

    def __iter__(self) -> Iterator[SupervisedWorker]:
        """Those that there are now; may be asked from any thread."""
        return iter(list(self._workers.values()))

    def new_number(self) -> int:
        """A number for the next worker."""
        number = self._next_number
        self._next_number += 1
        return number

    def add(self, worker: SupervisedWorker) -> None:
        """Keep a worker under its number."""
        self._workers[worker.number] = worker

    def remove(self, number: int) -> None:
        """Forget a worker, and the ends of its servable with the last one of that; safe to call twice."""
        worker = self._workers.pop(number, None)
        if worker is not None and not self.of_servable(worker.plan.servable):
            self._policies.pop(worker.plan.servable, None)
            self._restarts.pop(worker.plan.servable, None)

    def get(self, number: int) -> SupervisedWorker | None:
        """The worker of that number, if there still is one."""
        return self._workers.get(number)

    def of_servable(self, servable: tuple[str, int]) -> Sequence[SupervisedWorker]:
        """The workers of a servable version."""
        return [worker for worker in self._workers.values() if worker.plan.servable == servable]

    def policy_of(self, worker: SupervisedWorker) -> RestartPolicy:
        """What decides on restarts of the worker's servable version, made at the first end."""
        servable = worker.plan.servable
        if servable not in self._policies:
            self._policies[servable] = RestartPolicy(len(self.of_servable(servable)))
        return self._policies[servable]

    def note_restart(self, worker: SupervisedWorker, why: str) -> None:
        """Remember that a worker has ended, or could not be started again; of each servable version the last ones.

        Args:
            worker: The worker.
            why: Why, to follow its name; the first line counts.
        """
        kept = self._restarts.setdefault(worker.plan.servable, deque(maxlen=MOST_RESTARTS))
        kept.append(Restart(self._wall_clock(), worker.plan.label, why.partition("\n")[0]))

    @property
    def last_restarts(self) -> Mapping[tuple[str, int], Sequence[Restart]]:
        """What was noted, by servable and version, the newest last."""
        return self._restarts

    def models_for(self, worker: SupervisedWorker) -> HeldModels:
        """The models that workers of the same servable version hold."""
        holders = (other.models for other in self.of_servable(worker.plan.servable) if other.models)
        return HeldModels(next(holders, ()))

    @property
    def any_left(self) -> bool:
        """Whether a worker with models of its own serves, starts, or will be started again."""
        return any(
            worker.state not in OVER for worker in self._workers.values() if not worker.plan.remote_models
        )
