"""Instances that entered the engine together, and their outcomes so far."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from mindspore_serving.errors import PipelineError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.messages import LONGEST_US, Batch, Result
from mindspore_serving.server.worker.traces import InnerTrace
from mindspore_serving.signature import CalledMethod
from mindspore_serving.tensor import python_values

_BEYOND = ~LONGEST_US
"""Bits that a number has which is negative, or too large."""
_UP = 0.999999
_LONG_US = 60_000_000
"""A batch that runs for longer may have been in a step for longer than can be told: its rows may be there at a time."""
CALL_LIMIT_S = 300.0
"""A call in which no instance has come to its end for this long is given up."""


class Job(ABC):
    """Rows on their way through the stages of a method.

    Args:
        method: Its name.
        count: Number of rows.
        now: Monotonic time of their arrival in seconds.

    Attributes:
        begun: When its first stage began; None before that.
        ended: When the last step of a stage so far had ended.
        steps: Seconds of its part in each step of the method, by index; empty where nobody is told.
        model_rows: Rows with which models were run for it.
        padding_rows: Those of them that only fill up a batch.
    """

    def __init__(self, method: str, count: int, now: float) -> None:
        self.method = method
        self.arrived = now
        self.begun: float | None = None
        self.ended = now
        self.reported = now
        self.pending = count
        self.steps: list[float] = []
        self.model_rows = self.padding_rows = 0
        self._outcomes: list[tuple[int, Group]] = []

    def add(self, start: int, group: Group) -> None:
        """Take the outcome of neighbouring rows."""
        self._outcomes.append((start, group))
        self.pending -= group.count

    def note_step(self, begun: float, ended: float) -> None:
        """Note that some of its rows have been in a step of a stage; steps may be noted in any order."""
        if self.begun is None or begun < self.begun:
            self.begun = begun
        if ended > self.ended:
            self.ended = ended

    def take_outcomes(self) -> list[tuple[int, Group]]:
        """Outcomes since the last time, in order, with the index of their first row."""
        outcomes, self._outcomes = self._outcomes, []
        if len(outcomes) > 1:
            outcomes.sort(key=lambda outcome: outcome[0])
        return outcomes

    @abstractmethod
    def report(self) -> None:
        """Report to whoever waits what is done and was not reported yet."""

    @abstractmethod
    def origin(self, start: int, count: int) -> Sequence[HeldRows]:
        """Rows of the main process's batches that rows start..start+count-1 are for; empty if nobody knows."""


class BatchJob(Job):
    """A batch of the main process.

    Args:
        batch: As it arrived.
        now: Monotonic time of its arrival in seconds.
        send: Takes each result.
        came: Since when it may have been there, unread; None for `now`.
    """

    def __init__(
        self, batch: Batch, now: float, send: Callable[[Result], None], came: float | None = None
    ) -> None:
        super().__init__(batch.method, batch.count, now)
        self._came = now if came is None else came
        self._batch_id = batch.batch_id
        self._slot = batch.slot
        self._send = send

    def report(self) -> None:
        """Send what is done and not sent yet; the last result is final if nothing is pending."""
        outcomes = self.take_outcomes()
        if len(outcomes) == 1:  # the common case
            self._send_groups(outcomes[0][0], (outcomes[0][1],), final=self.pending == 0)
            return
        groups: list[Group] = []
        start, stop = 0, -1
        for at, group in outcomes:
            if at != stop and groups:
                self._send_groups(start, groups)
                groups = []
            if not groups:
                start = at
            groups.append(group)
            stop = at + group.count
        self._send_groups(start, groups, final=self.pending == 0)

    def origin(self, start: int, count: int) -> Sequence[HeldRows]:
        """The rows themselves."""
        return (HeldRows(self._batch_id, start, count),)

    def _send_groups(self, start: int, groups: Sequence[Group], *, final: bool = False) -> None:
        if final:
            ended = self.ended
            begun = ended if self.begun is None else self.begun
            wait_us, run_us = int((begun - self._came) * 1e6), int((ended - begun) * 1e6)
            if (wait_us | run_us) & _BEYOND:  # the rare case
                wait_us, run_us = _within(wait_us), _within(run_us)
            steps = tuple([int(s * 1e6 + _UP) for s in self.steps])  # at least one for what has run
            if run_us > _LONG_US:
                steps = tuple([min(us, LONGEST_US) for us in steps])
            self._send(
                Result(
                    self._batch_id,
                    self._slot,
                    start,
                    tuple(groups),
                    True,
                    wait_us,
                    run_us,
                    self.model_rows,
                    self.padding_rows,
                    steps,
                )
            )
        else:
            self._send(Result(self._batch_id, self._slot, start, tuple(groups), False))


def _within(us: int) -> int:
    return min(max(us, 0), LONGEST_US)


class CallJob(Job):
    """A call from another thread of this process, which waits for it.

    Args:
        method: Name of the method.
        rows: The instances.
        now: Monotonic time in seconds.
        origin: Rows of the main process's batches that the call is for; empty if nobody knows.
        called: The method, where it is one of another servable.
    """

    def __init__(
        self,
        method: str,
        rows: Sequence[Rows],
        now: float,
        origin: Sequence[HeldRows] = (),
        called: CalledMethod | None = None,
    ) -> None:
        super().__init__(method, sum(block.count for block in rows), now)
        self.rows = rows
        self.called = called
        self._origin = origin
        self._done = threading.Event()
        self._abandoned = False

    def report(self) -> None:
        """Wake the thread that waits, once everything is done."""
        if self.pending == 0:
            self._done.set()

    def origin(self, start: int, count: int) -> Sequence[HeldRows]:
        """Those of the call as a whole."""
        return self._origin

    def abandon(self) -> None:
        """Let the call fail: the engine ends."""
        self._abandoned = True
        self._done.set()

    def wait(self) -> list[tuple[Any, ...]]:
        """Wait for the outputs of each instance, as Python functions see values.

        Raises:
            PipelineError: An instance failed, none has come to its end for long, or the engine ends.
        """
        pending = self.pending
        while not self._done.wait(CALL_LIMIT_S):
            if self.pending == pending:
                raise PipelineError(f"method '{self.method}' has made no progress for {CALL_LIMIT_S:g} s")
            pending = self.pending
        if self._abandoned:
            raise PipelineError("Servable stopped")
        results: list[tuple[Any, ...]] = []
        for _, group in self.take_outcomes():
            if isinstance(group, FailedRows):
                trace = group.failure.trace
                raise PipelineError(group.failure.text) from (InnerTrace(trace) if trace else None)
            columns = [python_values(*cell) for cell in zip(group.specs, group.columns, strict=True)]
            results += zip(*columns, strict=True)
        return results
