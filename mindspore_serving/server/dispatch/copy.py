"""A servable loaded in one worker, as the main process sees it: its slots and the batches under way."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from itertools import accumulate

from mindspore_serving.errors import ChannelError, Failure
from mindspore_serving.options import DEFAULT_SLOTS
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.call_page import HeldRows
from mindspore_serving.server.channel.memory import SharedMemory
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.channel.worker_plan import WAITING_SLOTS
from mindspore_serving.server.dispatch.counting import count_lost, count_run, count_sent
from mindspore_serving.server.dispatch.request import Piece, Request
from mindspore_serving.server.dispatch.traced import BatchTrace, note_sent
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import runs_of_equal


class CopyStatus(Enum):
    """Life of a copy in dispatch."""

    READY = "ready"
    LOST = "lost"


class SentBatch:
    """One batch under way: which slot it has, and to whom the results of its instances belong.

    Args:
        method: The method.
        slot: The slot that it has until its last result.
        pieces: Its instances in order, of one at least; none once it is over, for who remembers a batch should not keep
            what it carried.
        taken: When they left the queue, in seconds of `time.monotonic`.
        sent: When it had been written.
        copy_label: Who runs it.

    Attributes:
        done: When its last result has come, or its worker was lost; 0 before that.
        counter: Of the method.
        requests: Of how many requests it has instances; set when it is counted.
        first: Likewise, of how many of these it is the first batch.
        count: Number of instances.
        input_s: Seconds from `taken` until its first stage began; this and what follows is 0 until it is done.
        infer_s: Seconds from then until its last stage had ended; of a lost one, all of its time.
        output_s: Seconds from then until `done`.
        steps: Microseconds of its part in each step of the method, by index; 0 where none of it came so far.
        model_rows: Rows with which models were run for it.
        padding_rows: Those of them that only fill up a batch.
        answered: (start, stop) of the instances that have an outcome, in order of arrival.
        answered_count: How many outcomes have come.
        trace: Its part of a trace; None where none of its requests is traced.
    """

    __slots__ = (
        "_begins",
        "answered",
        "answered_count",
        "copy_label",
        "count",
        "counter",
        "done",
        "first",
        "infer_s",
        "input_s",
        "method",
        "model_rows",
        "output_s",
        "padding_rows",
        "pieces",
        "requests",
        "sent",
        "slot",
        "steps",
        "taken",
        "trace",
    )

    def __init__(
        self,
        method: MethodSignature,
        slot: int,
        pieces: Sequence[Piece],
        taken: float,
        sent: float,
        copy_label: str = "",
    ) -> None:
        self.method = method
        self.slot = slot
        self.pieces = pieces
        self.taken = taken
        self.sent = sent
        self.copy_label = copy_label
        self.done = self.input_s = self.infer_s = self.output_s = 0.0
        self.requests = self.first = self.model_rows = self.padding_rows = 0
        self.steps: tuple[int, ...] = ()
        self.answered: list[tuple[int, int]] = []
        self.answered_count = 0
        self.trace: BatchTrace | None = None
        first = pieces[0]
        self.counter = first.request.counter
        if len(pieces) == 1:  # the common case
            self.count = first.rows.count
            self._begins = [0, self.count]
        else:
            self._begins = [0, *accumulate([piece.rows.count for piece in pieces])]
            self.count = self._begins[-1]

    def settle(self, start: int, group: Group) -> None:
        """Hand the outcome of neighbouring instances to the requests that own them."""
        stop = start + group.count
        self.answered.append((start, stop))
        self.answered_count += group.count
        if group.count == self.count and len(self.pieces) == 1:  # the common case
            piece = self.pieces[0]
            piece.request.settle(piece.start, group)
            return
        begins = self._begins
        at = bisect_right(begins, start) - 1 if start else 0
        while at < len(self.pieces) and begins[at] < stop:
            piece, begin, end = self.pieces[at], begins[at], begins[at + 1]
            at += 1
            low = begin if begin > start else start
            high = end if end < stop else stop
            first = piece.start + low - begin
            piece.request.settle(first, group.take(low - start, high - start))

    def requests_of(self, start: int, stop: int) -> list[tuple[Request, int]]:
        """The requests of instances start..stop-1 in order, each with its number of these."""
        begins = self._begins
        at = bisect_right(begins, start) - 1
        found = []
        while begins[at] < stop:
            low, high = max(begins[at], start), min(begins[at + 1], stop)
            found.append((self.pieces[at].request, high - low))
            at += 1
            if at == len(self.pieces):
                break
        return found

    def take_back(self, but: Collection[int]) -> list[Piece]:
        """Take instances without an outcome out, all but some given by their indices; they have reached a worker."""
        left = {i for start, stop in self.answered for i in range(start, stop)}.union(but)
        taken: list[Piece] = []
        for begin, piece in zip(self._begins, self.pieces, strict=False):
            stays = [i in left for i in range(begin, begin + piece.rows.count)]
            for low, high in [] if piece.request.ended else runs_of_equal(stays):
                if not stays[low]:
                    part = piece.part(low, high)
                    part.reached = True
                    taken.append(part)
                    self.answered.append((begin + low, begin + high))
        return taken

    def fail(self, index: int, failure: Failure) -> None:
        """Give an instance its outcome, unless it has one."""
        if not any(start <= index < stop for start, stop in self.answered):
            self.settle(index, FailedRows(failure, 1))

    def pending(self, blame: bool) -> list[Piece]:
        """Instances without an outcome, each as a piece of its own; with `blame` each has tried once more."""
        done = {i for start, stop in self.answered for i in range(start, stop)}
        rest: list[Piece] = []
        begin = 0
        for piece in self.pieces:
            for i in range(piece.rows.count):
                if begin + i not in done and not piece.request.ended:
                    single = piece.part(i, i + 1)
                    single.attempts += blame
                    single.reached = True
                    rest.append(single)
            begin += piece.rows.count
        return rest


class ServableCopy:
    """Sends batches to one worker and takes its results.

    Args:
        label: Servable, version and device, for logs.
        methods: What the worker registered.
        send: Writes a message to the worker; returns at once.
        memory: Shared memory of the worker, whose slots are given back after use; None where there is none.
        slots: Most batches under way of methods that do not wait for others, and of each method that calls others.

    Attributes:
        status: Where it is in its life.
        answered_without_error: Whether any instance has ever had a result.
        last_served: Rises with every batch that any copy of the servable gets; the value at its last one.
        exclusive: Whether the batch under way must stay the only one.
        on_done: Called with each batch of which all results have come; set by who adds the copy.
    """

    def __init__(
        self,
        label: str,
        methods: Sequence[MethodSignature],
        send: Callable[[Batch], None],
        memory: SharedMemory | None = None,
        slots: int = DEFAULT_SLOTS,
    ) -> None:
        self.label = label
        self.methods = {method.name: method for method in methods}
        self.status = CopyStatus.READY
        self.answered_without_error = False
        self.last_served = 0
        self.exclusive = False
        self.on_done: Callable[[SentBatch], None] = _ignore
        self._send = send
        self._memory = memory
        self._slots = slots
        self._free = list(range(slots))
        self._free_of = _free_slots(methods, self._free)
        self._waiting = 0
        self._sent: dict[int, SentBatch] = {}
        self._next_id = 0

    def __repr__(self) -> str:
        slots = f"{len(self._free)}/{self._slots} slots free"
        return f"<ServableCopy {self.label} {self.status.name} {slots}>"

    def free_slots(self, method: MethodSignature) -> int:
        """How many more batches of a method the copy takes now."""
        return 0 if self.exclusive else len(self._free_of.get(method.name, ()))

    @property
    def idle(self) -> bool:
        """Whether no batch is under way."""
        return not self._sent

    @property
    def only_waits(self) -> bool:
        """Whether no batch is under way but those of methods that wait for others."""
        return len(self._sent) == self._waiting

    @property
    def slots(self) -> int:
        """Most batches under way of methods that do not wait for others."""
        return self._slots

    @property
    def slots_used(self) -> int:
        """How many of these slots are taken."""
        return self._slots - len(self._free) if self.status is CopyStatus.READY else 0

    def offers(self, method: str) -> bool:
        """Whether the worker registered this method."""
        return method in self.methods

    def send(
        self,
        method: str,
        pieces: Sequence[Piece],
        now_serving: int,
        exclusive: bool = False,
        taken: float | None = None,
    ) -> None:
        """Put a batch under way.

        Args:
            method: Method name.
            pieces: Its instances.
            now_serving: Value for `last_served`, which no earlier batch of the servable has had.
            exclusive: Take no other batch until this one is done.
            taken: When they left the queue, in seconds of `time.monotonic`; None for now.

        Raises:
            OSError: Shared memory cannot be had for the instances; the slot stays free.
        """
        signature = self.methods[method]
        free = self._free_of[method]
        slot = free[-1]
        number = self._next_id
        if taken is None:
            taken = time.monotonic()
        self._send(Batch(number, slot, method, tuple([piece.rows for piece in pieces])))
        free.pop()
        self._waiting += signature.waits
        batch = self._sent[number] = SentBatch(signature, slot, pieces, taken, time.monotonic(), self.label)
        count_sent(batch)
        note_sent(batch)
        self._next_id = (number + 1) & 0xFFFFFFFF
        self.last_served = now_serving
        self.exclusive = exclusive

    def take_result(self, result: Result) -> None:
        """Hand results to their requests. Those of a copy that was taken out are too late, and nobody's.

        With the last results of a batch its slot becomes free. That is the slot which it was given here, whatever the
        worker says: a slot that two batches have would mix up their tensors in shared memory.

        Raises:
            ChannelError: The worker answers what it was not asked, or not all that it was asked, or has taken another
                slot than it was given.
        """
        if self.status is CopyStatus.LOST:
            return
        batch = self._sent.get(result.batch_id)
        if batch is None:
            raise ChannelError(f"{self.label} answered batch {result.batch_id}, which is not under way")
        if result.slot != batch.slot:
            raise ChannelError(
                f"{self.label} answered batch {result.batch_id} in slot {result.slot}, expected {batch.slot}"
            )
        at = result.start
        for group in result.groups:
            if at + group.count > batch.count:
                raise ChannelError(f"{self.label} answered {at + group.count} of {batch.count} instances")
            if isinstance(group, Rows):
                self.answered_without_error = True
                batch.counter.instances += group.count
            elif batch.trace is not None:
                batch.trace.failed(group)
            batch.settle(at, group)
            at += group.count
        if not result.final:
            return
        if batch.answered_count != batch.count:
            raise ChannelError(f"{self.label} answered {batch.answered_count} of {batch.count} instances")
        del self._sent[result.batch_id]
        self._free_slot(batch)
        batch.done = time.monotonic()
        count_run(batch, result)
        if batch.trace is not None:
            batch.trace.run(batch)
        batch.pieces = ()
        self.on_done(batch)

    def _free_slot(self, batch: SentBatch) -> None:
        if batch.method.waits:  # it may have been under way before the one that must stay the only one
            self._waiting -= 1
        else:
            self.exclusive = False
        if self._memory is not None:
            self._memory.release(batch.slot)
        self._free_of[batch.method.name].append(batch.slot)

    def trace_of(self, batch_id: int) -> BatchTrace | None:
        """The trace of a batch; None where it is not traced, or there is no such batch under way."""
        batch = self._sent.get(batch_id)
        return None if batch is None else batch.trace

    def requests_of(self, batch_id: int, start: int, count: int) -> tuple[str, list[tuple[Request, int]]]:
        """Whose some neighbouring instances of a batch are.

        Args:
            batch_id: The batch.
            start: Index of the first instance.
            count: Number of instances.

        Returns:
            The method of the batch; and in order the requests, each with its number of these instances.

        Raises:
            ChannelError: There is no such batch under way, or it has no such instances.
        """
        batch = self._sent.get(batch_id)
        if batch is None or count < 1 or start + count > batch.count:
            raise ChannelError(
                f"{self.label} calls a method for instances {start} to {start + count} of batch {batch_id}, which has "
                "none of these"
            )
        return batch.method.name, batch.requests_of(start, start + count)

    def part_with(self, overdue: Sequence[HeldRows] | None, failure: Failure) -> dict[str, list[Piece]]:
        """Before the end of a worker in which a call takes too long: leave only instances that may be why to `lose`.

        See ADR 20.

        Args:
            overdue: The instances of the call; None may be any. A single one gets the failure.
            failure: Its outcome.

        Returns:
            By method, the instances that are not to blame, taken out.
        """
        if overdue is None:
            overdue = [HeldRows(number, 0, batch.count) for number, batch in self._sent.items()]
        single = sum(rows.size for rows in overdue) == 1
        innocent: dict[str, list[Piece]] = {}
        for number, batch in self._sent.items():
            suspects = {
                i
                for batch_id, start, size in overdue
                if batch_id == number
                for i in range(start, min(start + size, batch.count))
            }
            innocent.setdefault(batch.method.name, []).extend(batch.take_back(suspects))
            if single:
                for suspect in suspects:
                    batch.fail(suspect, failure)
        return innocent

    def lose(self, *, blame: bool = True) -> dict[str, list[Piece]]:
        """Mark the worker as gone; returns by method the instances that have no outcome.

        Args:
            blame: Whether any of these instances may have ended it; one that ran alone may have in any case.
        """
        blame = blame or self.exclusive
        self.status = CopyStatus.LOST
        for free in self._free_of.values():
            free.clear()
        self.exclusive = False
        batches, self._sent = self._sent, {}
        rest: dict[str, list[Piece]] = {}
        now = time.monotonic()
        for batch in batches.values():
            count_lost(batch, now)
            if batch.trace is not None:
                batch.trace.lost(batch, now)
            rest.setdefault(batch.method.name, []).extend(batch.pending(blame))
            batch.pieces = ()
        return {method: pieces for method, pieces in rest.items() if pieces}


def _free_slots(methods: Sequence[MethodSignature], free: list[int]) -> dict[str, list[int]]:
    """The free slots of each method (ADR 61).

    Methods that wait for no others share what there is. Each that waits has slots of its own, so that no method, also
    none that it waits for, needs a slot which is given back only after its own end: one for a pipeline, which runs one
    instance at a time, else as many as the others share, or fewer where there are many such methods.

    Args:
        methods: What the worker has registered.
        free: The slots of methods that wait for no others.
    """
    waiting = [method for method in methods if method.waits]
    share = min(len(free), max(1, WAITING_SLOTS // len(waiting))) if waiting else 0
    found = dict.fromkeys([method.name for method in methods], free)
    begin = len(free)
    for method in waiting:
        end = begin + (share if method.batch_limit > 1 else 1)
        found[method.name] = list(range(begin, end))
        begin = end
    return found


def _ignore(_: SentBatch) -> None:
    return
