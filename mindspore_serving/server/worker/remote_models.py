"""Models that other workers hold: their instances go through the main process to a worker on a device, and back.

Calls come from the main thread of the worker, where functions run, and from the threads of models and pipelines. The
main thread reads the channel; while it waits for an answer of its own it goes on reading, so that answers for all
threads arrive, and new batches are queued (ADR 9).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from mindspore_serving.errors import Failure, ModelError, ServingError
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.channel.memory import IdleSlots
from mindspore_serving.server.channel.messages import NO_BATCH, ModelCall, ModelReply
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.worker.graph_outcomes import Outcome, RowsRun, scattered
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.servable_loader import LARGEST_MESSAGE, MESSAGE_LIMIT
from mindspore_serving.signature import GraphInfo, MethodSignature, ModelInfo, call_method_name

_POLL_S = 1.0


class _Call:
    """One call under way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.groups: Sequence[Group] = ()
        self.failure: Failure | None = None
        self.ran = RowsRun()

    def end(self, reply: ModelReply) -> None:
        """Take the outcome."""
        self.groups = reply.groups
        self.ran.add(reply.model_rows, reply.padding_rows)
        self.done.set()


class ModelCalls:
    """Sends instances to models of other workers.

    Args:
        slots: Slots of shared memory that are for calls.
        send: Writes a message to the main process.
        read: Reads and acts on what the main process has sent, waiting up to the given seconds; main thread only.
    """

    def __init__(
        self, slots: Sequence[int], send: Callable[[ModelCall], None], read: Callable[[float], None]
    ) -> None:
        self._send = send
        self._read = read
        self._lock = threading.Condition()
        self._slots = len(slots)
        self._free = list(slots)
        self._taken = 0
        self._calls: dict[int, _Call] = {}
        self._ids = itertools.count()
        self._ended = False

    def run(self, method: str, blocks: Sequence[Rows], ran: RowsRun | None = None) -> Sequence[Group]:
        """Run instances, and wait for their outcomes.

        Args:
            method: From `call_method_name`.
            blocks: The instances.
            ran: Counts the rows with which the model was run, and knows for which batch.

        Raises:
            ModelError: This worker ends.
        """
        slot = self._take_slot()
        number, call = next(self._ids) & 0xFFFFFFFF, _Call()
        self._calls[number] = call
        try:
            try:
                batch_id = NO_BATCH if ran is None else ran.batch_id
                self._send(ModelCall(number, slot, method, tuple(blocks), batch_id))
            except OSError as cause:
                raise ModelError(f"No way to the worker that holds the model: {cause}") from cause
            while not call.done.is_set():
                self._check_open()
                self._wait(call.done)
        finally:
            del self._calls[number]
            with self._lock:
                self._free.append(slot)
                self._lock.notify()
        if ran is not None:
            ran.add(call.ran.rows, call.ran.padding)
        return call.groups

    def take(self, reply: ModelReply) -> None:
        """Take an answer."""
        call = self._calls.get(reply.call_id)
        if call is not None:
            call.end(reply)

    def look_at_memory(self, memory: IdleSlots, now: float) -> None:
        """Give the shared memory of the slots back where no call has needed it for a while.

        Args:
            memory: Of the slots.
            now: Monotonic time in seconds.
        """
        with self._lock:  # so that no slot is taken meanwhile
            memory.look(self._taken, len(self._free) < self._slots, now)

    def end(self) -> None:
        """Let all calls fail; no answer will come."""
        self._ended = True

    def _check_open(self) -> None:
        if self._ended:
            raise ModelError("Servable stopped")

    def _wait(self, event: threading.Event) -> None:
        if threading.current_thread() is threading.main_thread():
            self._read(_POLL_S)
        else:
            event.wait(_POLL_S)

    def _take_slot(self) -> int:
        while True:
            self._check_open()
            with self._lock:
                if self._free:
                    self._taken += 1
                    return self._free.pop()
                if threading.current_thread() is not threading.main_thread():
                    self._lock.wait(_POLL_S)
                    continue
            self._read(_POLL_S)


class RemoteModel(GraphRunner):
    """One graph that other workers hold.

    Args:
        key: Key of the model.
        subgraph: Index of the graph.
        info: What is known of it.
        calls: Carries its instances.
    """

    is_remote = True

    def __init__(self, key: str, subgraph: int, info: GraphInfo, calls: ModelCalls) -> None:
        super().__init__(info.inputs, info.outputs, info.batch_size, info.dynamic)
        self._method = call_method_name(key, subgraph)
        self._names = [f"x{i}" for i in range(len(info.inputs))]
        self._calls = calls

    def _run_good(self, blocks: list[tuple[int, Rows]], ran: RowsRun) -> list[Outcome]:
        if not blocks:
            return []
        sent = [self._named(block) for _, block in blocks]
        try:
            groups = self._calls.run(self._method, sent, ran)
        except ServingError as error:
            return [(start, start + block.count, error) for start, block in blocks]
        places = [(start, start + block.count) for start, block in blocks]
        return list(scattered(_outcomes_of(groups), places))

    def _named(self, block: Rows) -> Rows:
        """The block with the names of inputs that the method has which runs the graph."""
        specs = tuple(spec._replace(name=name) for spec, name in zip(block.specs, self._names, strict=True))
        return Rows(specs, block.columns, block.count)


def _outcomes_of(groups: Sequence[Group]) -> Iterator[Outcome]:
    start = 0
    for group in groups:
        stop = start + group.count
        yield (
            start,
            stop,
            _RemoteFailure(group.failure) if isinstance(group, FailedRows) else list(group.columns),
        )
        start = stop


class _RemoteFailure(ServingError):
    """A failure that another worker found."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self._failure = failure

    def failure(self) -> Failure:
        """The failure as it was found."""
        return self._failure


def remote_models(models: Sequence[ModelInfo], calls: ModelCalls) -> dict[str, Sequence[GraphRunner]]:
    """Stand-ins for models that other workers hold, by key."""
    return {
        model.key: [RemoteModel(model.key, i, info, calls) for i, info in enumerate(model.graphs)]
        for model in models
    }


def models_held(runners: Mapping[str, Sequence[GraphRunner]]) -> tuple[ModelInfo, ...]:
    """What workers without models need to know of those that are loaded here."""
    return tuple(
        ModelInfo(key, tuple(GraphInfo(g.inputs, g.outputs, g.batch_size, g.dynamic) for g in graphs))
        for key, graphs in runners.items()
    )


def call_methods(
    runners: Mapping[str, Sequence[GraphRunner]],
) -> list[tuple[MethodDefinition, MethodSignature]]:
    """Methods that run one graph each, for workers without models."""
    return [
        _call_method(key, subgraph, runner)
        for key, graphs in runners.items()
        for subgraph, runner in enumerate(graphs)
    ]


def _call_method(key: str, subgraph: int, runner: GraphRunner) -> tuple[MethodDefinition, MethodSignature]:
    inputs = tuple(f"x{i}" for i in range(len(runner.inputs)))
    outputs = tuple(f"y{i}" for i in range(len(runner.outputs)))
    stage = StageDefinition(
        index=1,
        kind=StageKind.MODEL,
        target=key,
        function=None,
        inputs=tuple(ValueRef(0, i) for i in range(len(inputs))),
        outputs_count=len(outputs),
        takes_batch=False,
        batch_size=0,
        tag=f"Model '{key}'",
        subgraph=subgraph,
    )
    name = call_method_name(key, subgraph)
    values = tuple(ValueRef(1, i) for i in range(len(outputs)))
    return (
        MethodDefinition(name, inputs, outputs, (stage,), values),
        MethodSignature(
            name,
            inputs,
            min(max(MESSAGE_LIMIT, runner.batch_size), LARGEST_MESSAGE),
            1 if runner.dynamic else runner.batch_size,
            steps=(key,),
        ),
    )
