"""Calls of methods from threads of this process, such as those of pipelines, on their way into the engine.

The thread that calls puts its instances here, wakes the engine, and waits; the engine takes them like a batch of the
main process. The engine itself never waits for such a thread. So a call always comes to an end while the engine runs,
and when the engine stops all calls fail (ADR 10).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindspore_serving.errors import InvalidInput, PipelineError
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.register.definition import MethodDefinition
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.values import Values, as_rows
from mindspore_serving.signature import NO_PARAMETERS


class MethodCalls:
    """Calls that wait to be taken, and those under way.

    Args:
        methods: The methods that can be called, by name.
        wake: Makes the engine's thread look here.
        origin: Tells for which rows of the main process's batches the thread calls that it is asked on.

    Attributes:
        waiting: Calls that the engine's thread is to take.
    """

    def __init__(
        self,
        methods: Mapping[str, MethodDefinition],
        wake: Callable[[], None],
        origin: Callable[[], Sequence[HeldRows]],
    ) -> None:
        self._methods = methods
        self._wake = wake
        self._origin = origin
        self._engine_thread = threading.current_thread()
        self._lock = threading.Lock()
        self.waiting: deque[CallJob] = deque()
        self._open: set[CallJob] = set()
        self._stopped = False

    def call(self, name: str, instances: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Run instances on a method and wait; from any thread but the engine's.

        Args:
            name: Name of the method.
            instances: Inputs of each instance.

        Returns:
            Outputs of each instance.

        Raises:
            ServingError: The instances do not fit the method, one of them failed, or the engine stops.
        """
        if threading.current_thread() is self._engine_thread:
            raise PipelineError(
                f"method '{name}' cannot be run from a stage function, whose end it would wait for; register the "
                "function with 'register_pipeline', or use Model.call"
            )
        job = self._job_of(name, instances)
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
