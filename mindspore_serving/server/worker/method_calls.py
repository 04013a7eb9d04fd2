"""Calls of methods from threads of this process, such as those of pipelines, on their way into the engine.

The thread that calls puts its instances here, wakes the engine, and waits; the engine takes them like a batch of the
main process. The engine itself never waits for such a thread. So a call always comes to an end while the engine runs,
and when the engine stops all calls fail (ADR 10).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mindspore_serving.errors import InvalidInput, PipelineError
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.register.definition import MethodDefinition
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.values import Values, as_rows
from mindspore_serving.signature import NO_PARAMETERS, CalledMethod


class MethodCalls:
    """Calls that wait to be taken, and those under way.

    Args:
        methods: The methods that can be called, by name.
        elsewhere: Methods of other servables that can be called.
        wake: Makes the engine's thread look here.
        origin: Tells for which rows of the main process's batches the thread calls that it is asked on.

    Attributes:
        waiting: Calls that the engine's thread is to take.
    """

    def __init__(
        self,
        methods: Mapping[str, MethodDefinition],
        elsewhere: Collection[CalledMethod],
        wake: Callable[[], None],
        origin: Callable[[], Sequence[HeldRows]],
    ) -> None:
        self._methods = methods
        self._elsewhere = elsewhere
        self._wake = wake
        self._origin = origin
        self._engine_thread = threading.current_thread()
        self._lock = threading.Lock()
        self.waiting: deque[CallJob] = deque()
        self._open: set[CallJob] = set()
        self._stopped = False

    def call(self, name: str | CalledMethod, instances: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Run instances on a method and wait; from any thread but the engine's.

        Args:
            name: Name of the method; or one of another servable.
            instances: Inputs of each instance.

        Returns:
            Outputs of each instance.

        Raises:
            ServingError: The instances do not fit the method, one of them failed, or the engine stops.
        """
        if threading.current_thread() is self._engine_thread:
            raise PipelineError(_not_here(name))
        job = (
            self._remote_job(name, instances)
            if isinstance(name, CalledMethod)
            else self._job_of(name, instances)
        )
        with self._lock:
            if self._stopped:
                raise PipelineError("Servable stopped")
            self._open.add(job)
            self.waiting.append(job)
        self._wake()
        try:
            return job.wait()
        finally:
            with self._lock:
                self._open.discard(job)

    def stop(self) -> None:
        """Let all calls fail, also those to come; safe to call twice."""
        with self._lock:
            self._stopped = True
            jobs = list(self._open)
        for job in jobs:
            job.abandon()

    def _remote_job(self, called: CalledMethod, instances: Sequence[Sequence[Any]]) -> CallJob:
        if called not in self._elsewhere:
            raise InvalidInput(
                f"method '{called.label}' of another servable is not known to the main process; make its "
                "PipelineServable at the top of servable_config.py, not in a function"
            )
        if not instances:
            raise InvalidInput("Input instances count is 0")
        count = len(instances)
        if any(len(instance) != len(instances[0]) for instance in instances):
            raise InvalidInput(f"The instances for method '{called.label}' differ in their number of inputs")
        values = [Values(count, objects=list(column)) for column in zip(*instances, strict=True)]
        rows = as_rows([f"x{i}" for i in range(len(values))], values, count)
        return CallJob(called.label, rows, time.monotonic(), self._origin(), called)

    def _job_of(self, name: str, instances: Sequence[Sequence[Any]]) -> CallJob:
        method = self._methods.get(name)
        if method is None:
            raise InvalidInput(f"method '{name}' is not registered")
        if not instances:
            raise InvalidInput("Input instances count is 0")
        expected = len(method.input_names)
        for i, instance in enumerate(instances):
            if len(instance) != expected:
                raise InvalidInput(
                    f"The inputs count {len(instance)} of instance {i} is not equal to the inputs count {expected} of "
                    f"method '{name}'"
                )
        count = len(instances)
        values = [Values(count, objects=list(column)) for column in zip(*instances, strict=True)]
        if method.parameters:
            values.append(Values(count, objects=[NO_PARAMETERS] * count))
        rows = as_rows(method.value_names, values, count)
        return CallJob(name, rows, time.monotonic(), self._origin())


def _not_here(name: str | CalledMethod) -> str:
    """Why a stage function cannot run a method, and what to write instead."""
    if isinstance(name, CalledMethod):
        instead = (
            f"call it as a stage of the method: register.call('{name.servable}', '{name.method}', ...), or register "
            "the function with 'register_pipeline'"
        )
        name = name.label
    else:
        instead = "register the function with 'register_pipeline', or use Model.call"
    return f"method '{name}' cannot be run from a stage function, whose end it would wait for; {instead}"
