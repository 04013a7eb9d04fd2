"""Calls of other methods, seen from the worker that calls: chunks leave to the main process, and come back (ADR 61).

A method may call several others in a row that do not need each other's outputs. These are one step: its calls are sent
together, and the chunk goes on when the last one has come back. A row whose call fails leaves with the error of the
first call that failed for it; the other rows go on.

Nothing here waits, and a call needs no slot: where none of those with shared memory is free, its data travels in the
frame. So no number of calls under way can keep another one from being sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from mindspore_serving.errors import ChannelError, Failure, Outcome, ServingError, StageError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.messages import NO_BATCH, NO_SLOT, MethodCall, MethodReply
from mindspore_serving.server.register.definition import StageDefinition
from mindspore_serving.server.worker.job import CallJob
from mindspore_serving.server.worker.outcomes import Finished, RowOutcome, note_times, with_trace
from mindspore_serving.server.worker.stages import CallStep, Chunk
from mindspore_serving.server.worker.values import Values, rows_or_errors
from mindspore_serving.signature import CalledMethod

_OF_NOBODY = HeldRows(NO_BATCH, 0, 1)


@lru_cache
def names_of(count: int) -> Sequence[str]:
    """What given values are called; the main process knows the names that the called method has for them."""
    return tuple(f"x{i}" for i in range(count))


class _Step:
    """A chunk whose calls are under way."""

    __slots__ = ("begun", "chunk", "pending", "replies", "step")

    def __init__(self, step: CallStep, chunk: Chunk, begun: float) -> None:
        self.step = step
        self.chunk = chunk
        self.begun = begun
        self.pending = len(step.calls)
        self.replies: list[Sequence[Group]] = [()] * len(step.calls)


class OutgoingCalls:
    """Sends what methods call, and takes the replies; on the main thread of the worker only.

    Args:
        calls: What the worker registers with the main process.
        send: Writes a message to the main process.
        slots: Slots of shared memory that are for such calls.
    """

    def __init__(
        self, calls: Sequence[CalledMethod], send: Callable[[MethodCall], None], slots: Sequence[int] = ()
    ) -> None:
        self._targets = {called: index for index, called in enumerate(calls)}
        self._send = send
        self._slots = len(slots)
        self._free = list(slots)
        self._taken = 0
        self._open: dict[int, tuple[_Step, int] | CallJob] = {}
        self._next = 0

    def __repr__(self) -> str:
        return f"<OutgoingCalls {len(self._open)} under way>"

    @property
    def used(self) -> bool:
        """Whether a slot has ever been used."""
        return self._taken > 0

    @property
    def targets(self) -> Collection[CalledMethod]:
        """What can be called."""
        return self._targets

    def start(self, step: CallStep, chunk: Chunk, now: float) -> list[Finished]:
        """Send the calls of a step for a chunk.

        Args:
            step: The step.
            chunk: The rows.
            now: The time.

        Returns:
            What is finished already, because its values cannot be sent; its times are set.
        """
        given: list[list[Rows]] = []
        for stage in step.calls:
            values = [chunk.values[ref] for ref in stage.inputs]
            blocks = rows_or_errors(names_of(len(values)), values, chunk.count)
            rows = [block for block in blocks if isinstance(block, Rows)]
            if len(rows) < len(blocks):
                return self._without_failed(step, chunk, _failures(stage, step, blocks), now)
            given.append(rows)
        state = _Step(step, chunk, now)
        origin = chunk.job.origin(chunk.start, chunk.count)
        finished: list[Finished] = []
        for index, (stage, rows) in enumerate(zip(step.calls, given, strict=True)):
            assert stage.called is not None
            try:
                self._call(stage.called, rows, origin, (state, index))
            except OSError as cause:
                failure = Failure(StatusCode.FAILED, f"No way to the called method: {cause}")
                finished += self._note(state, index, [FailedRows(failure, chunk.count)], now)
        return finished

    def start_job(self, job: CallJob, called: CalledMethod) -> None:
        """Send what a pipeline calls; the job gets the outcome.

        Args:
            job: Its rows.
            called: The method.
        """
        try:
            self._call(called, job.rows, job.origin(0, job.pending), job)
        except OSError as cause:
            failure = Failure(StatusCode.FAILED, f"No way to the called method: {cause}")
            _end_job(job, [FailedRows(failure, job.pending)])

    def take(self, reply: MethodReply, now: float) -> list[Finished]:
        """Take a reply; returns the chunk that goes on now, if one does.

        Raises:
            ChannelError: It answers no call.
        """
        opened = self._open.pop(reply.call_id, None)
        if opened is None:
            raise ChannelError(f"the main process has answered call {reply.call_id}, which is not under way")
        if reply.slot != NO_SLOT:
            self._free.append(reply.slot)
        if isinstance(opened, CallJob):
            _end_job(opened, reply.groups)
            return []
        state, index = opened
        return self._note(state, index, reply.groups, now)

    def look_at_memory(self, memory: IdleSlots, now: float) -> None:
        """Give the shared memory of the slots back where no call has needed it for a while.

        Args:
            memory: Of the slots.
            now: Monotonic time in seconds.
        """
        memory.look(self._taken, len(self._free) < self._slots, now)

    def _call(
        self,
        called: CalledMethod,
        rows: Sequence[Rows],
        origin: Sequence[HeldRows],
        waits: tuple[_Step, int] | CallJob,
    ) -> None:
        number = self._next
        held = origin[0] if len(origin) == 1 else _OF_NOBODY
        slot = self._free[-1] if self._free else NO_SLOT
        self._send(MethodCall(number, slot, self._targets[called], *held, tuple(rows)))
        if slot != NO_SLOT:
            self._free.pop()
            self._taken += 1
        self._open[number] = waits
        self._next = (number + 1) & 0xFFFFFFFF

    def _note(self, state: _Step, index: int, groups: Sequence[Group], now: float) -> list[Finished]:
        state.replies[index] = groups
        state.pending -= 1
        if state.pending:
            return []
        finished = Finished(state.step, state.chunk, _merged(state))
        note_times([finished], state.begun, now)
        return [finished]

    def _without_failed(
        self, step: CallStep, chunk: Chunk, failures: dict[int, Failure], now: float
    ) -> list[Finished]:
        """Let the rows go whose values cannot be sent, and send the others."""
        finished: list[Finished] = []
        begin = 0
        for row in [*failures, chunk.count]:
            if begin < row:
                finished += self.start(step, chunk.part(begin, row), now)
            if row < chunk.count:
                failed = Finished(step, chunk.part(row, row + 1), [(0, 1, failures[row])])
                note_times([failed], now, now)
                finished.append(failed)
            begin = row + 1
        return finished


def _end_job(job: CallJob, groups: Sequence[Group]) -> None:
    """Give a pipeline what it waits for."""
    at = 0
    for group in groups:
        if isinstance(group, FailedRows):
            failure = replace(group.failure, text=f"method '{job.method}': {group.failure.text}")
            group = FailedRows(failure, group.count)
        job.add(at, group)
        at += group.count
    job.report()


def _failures(
    stage: StageDefinition, step: CallStep, blocks: Sequence[Rows | ServingError]
) -> dict[int, Failure]:
    """Why rows cannot be sent, by row."""
    found: dict[int, Failure] = {}
    at = 0
    for block in blocks:
        if isinstance(block, Rows):
            at += block.count
        else:
            failure = with_trace(block)
            found[at] = replace(failure, text=_text(stage, step, failure.text))
            at += 1
    return found


def _text(stage: StageDefinition, step: CallStep, text: str) -> str:
    """An error in the frame of its stage, as those of functions have one."""
    method = step.method.definition.name
    return f"Call {stage.tag} Failed, method: '{method}', stage index(begin with 1): {stage.index}, error msg: {text}"


def _told(stage: StageDefinition, step: CallStep, failure: Failure) -> Failure:
    """What a row gets whose call has failed.

    A value that came from the client as it is may be refused as the client's fault. All else is the servable's: it gave
    the value, or called (ADR 30). And nothing may say that the request can be sent again: it has been at a worker.
    """
    given = all(ref.stage == 0 for ref in stage.inputs)
    if failure.code is StatusCode.INVALID_INPUTS and failure.http_status is None and given:
        return failure
    return Failure(
        StageError.code, _text(stage, step, failure.text), trace=failure.trace, cause=_cause_of(failure)
    )


def _cause_of(failure: Failure) -> Outcome:
    """What a failed call counts as for its caller: what hinders the called method does as much, all else is a fault."""
    hindered = Outcome.CANCELLED, Outcome.LOST, Outcome.STOPPED, Outcome.SERVING_FAILED
    return failure.outcome if failure.outcome in hindered else Outcome.STAGE_FAILED


def _merged(state: _Step) -> list[RowOutcome]:
    """The outcomes of all calls of a step, row by row."""
    step, count = state.step, state.chunk.count
    columns = [_runs(reply, stage, step) for reply, stage in zip(state.replies, step.calls, strict=True)]
    ends = sorted({stop for column in columns for _, stop, _ in column})
    if len(ends) == 1 and len(columns) == 1:  # the common case
        return columns[0]
    outcomes: list[RowOutcome] = []
    begin = 0
    at = [0] * len(columns)
    for end in ends:
        values: list[Values] = []
        failure: Failure | None = None
        for i, column in enumerate(columns):
            start, stop, outcome = column[at[i]]
            if isinstance(outcome, Failure):
                failure = failure or outcome
            else:
                values += [value.take(begin - start, end - start) for value in outcome]
            at[i] += stop == end
        outcomes.append((begin, end, failure or values))
        begin = end
    assert begin == count
    return outcomes


def _runs(groups: Sequence[Group], stage: StageDefinition, step: CallStep) -> list[RowOutcome]:
    """The reply of one call, with what its rows have in values."""
    return list(_runs_of(groups, stage, step))


def _runs_of(groups: Sequence[Group], stage: StageDefinition, step: CallStep) -> Iterator[RowOutcome]:
    at = 0
    for group in groups:
        end = at + group.count
        if isinstance(group, FailedRows):
            yield at, end, _told(stage, step, group.failure)
        elif len(group.specs) != stage.outputs_count:
            text = f"it gave {len(group.specs)} outputs, but outputs_count is {stage.outputs_count}"
            yield at, end, Failure(StageError.code, _text(stage, step, text), cause=StageError.cause)
        else:
            yield (
                at,
                end,
                [
                    Values(group.count, spec, column)
                    for spec, column in zip(group.specs, group.columns, strict=True)
                ],
            )
        at = end
