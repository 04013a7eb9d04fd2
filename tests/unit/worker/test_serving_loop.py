"""The loop of a worker on a real channel and real shared memory, with the test as the main process.

The main process gives a slot, and with it the memory of the slot, to the next batch as soon as the last result of the
one before is there. What it writes then must not reach anybody who still looks at the earlier batch.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import ModelError
from mindspore_serving.rows import Rows
from mindspore_serving.server.channel.frames import FROM_WORKER, FrameSplitter, frame_of, message_of
from mindspore_serving.server.channel.memory import IdleSlots, SharedMemory
from mindspore_serving.server.channel.messages import Batch, ModelCall, ModelReply, Result, Stop, ToWorker
from mindspore_serving.server.register import add_stage, declare_model, register_method
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.server.worker.main_connection import MainConnection
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.model_threads import ModelThreads
from mindspore_serving.server.worker.remote_models import RemoteModel
from mindspore_serving.server.worker.serving_loop import ServingLoop
from mindspore_serving.signature import GraphInfo, GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec

SLOTS = 3
DEADLINE_S = 20.0
SIZES = pytest.mark.parametrize("size", [3, 30_000], ids=["in the frame", "in shared memory"])


class Main:
    """A worker, and the main process at the other end of its channel.

    Args:
        call_slots: As of `ServingLoop`.
    """

    def __init__(self, call_slots: Sequence[int] | None = None) -> None:
        self.socket, other = socket.socketpair()
        self.memory = SharedMemory.create(SLOTS)
        self.worker_memory = SharedMemory(os.dup(self.memory.fd), SLOTS)
        self.connection = MainConnection(other.detach(), self.worker_memory)
        call_memory = IdleSlots(self.worker_memory, call_slots, 0.0) if call_slots else None
        self.loop = ServingLoop(self.connection, call_slots, call_memory)
        self.definition = open_definition("servable", "/nowhere")
        self.results: list[Result] = []
        self.on_result: Callable[[Result], None] = lambda _: self.stop()
        self._splitter = FrameSplitter()

    def stop(self) -> None:
        """Stop the loop, as a signal handler of the worker does."""
        self.loop.stop()
        self.connection.wake()

    def close(self) -> None:
        self.connection.close()
        self.socket.close()
        self.memory.close()
        self.worker_memory.close()

    def send(self, message: ToWorker) -> None:
        self.socket.sendall(frame_of(message, self.memory))

    def received(self) -> list[Any]:
        """What the worker has sent since the last time."""
        messages: list[Any] = []
        while True:
            try:
                data = self.socket.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            # A copy of the data: views of what was received stay as they are.
            messages += [
                message_of(kind, body, FROM_WORKER, self.memory, own=True)
                for kind, body in self._splitter.feed(data)
            ]

    def serve(
        self,
        runners: dict[str, list[GraphRunner]] | None = None,
        *,
        threads: int = 0,
        may_run_models: bool = True,
    ) -> None:
        """Run the loop until it is stopped, which fails a test that waits for what does not come."""

        def send(result: Result) -> None:
            self.loop.send_result(result)
            for sent in self.received():
                self.results.append(sent)
                self.on_result(sent)

        methods = list(self.definition.methods.values())
        self.engine = Engine(methods, runners or {}, send, wake=self.connection.wake)
        models = ModelThreads(self.engine, self.connection.wake, lambda: self.loop.stopping)
        models.start(threads)
        limit = threading.Timer(DEADLINE_S, self.stop)
        limit.start()
        self.loop.run(self.engine, models, may_run_models)
        limit.cancel()
        models.join(time.monotonic() + DEADLINE_S)


@pytest.fixture
def main() -> Iterator[Main]:
    made = Main()
    yield made
    made.close()


def rows_of_size(size: int, *numbers: float) -> Rows:
    column = np.stack([np.full(size, number, np.float32) for number in numbers])
    return Rows((TensorSpec("x", DataType.FLOAT32, (size,)),), (column,), len(numbers))


def function_method(function: Callable[..., Any], **options: Any) -> None:
    @register_method(output_names=["y"])
    def method(x):
        return add_stage(function, x, outputs_count=1, **options)


def serve_in_one_slot(main: Main, size: int, runners: dict[str, list[GraphRunner]] | None = None) -> None:
    """Send batches one after the other through the same slot, as a main process does with one client after another."""
    left = iter(range(2, 6))

    def send(number: int) -> None:
        main.send(Batch(number, 0, "method", (rows_of_size(size, 10 * number, 10 * number + 1),)))

    def on_result(result: Result) -> None:
        if not result.final:
            return
        number = next(left, None)
        if number is None:
            main.stop()
        else:
            send(number)

    main.on_result = on_result
    send(1)
    main.serve(runners)


def firsts_in(results: Sequence[Result]) -> list[float]:
    """The first number of each instance's output."""
    return [
        float(np.ravel(value)[0])
        for result in results
        for group in result.groups
        for value in group.columns[0]  # type: ignore[union-attr]
    ]


SENT = [10.0 * number + i for number in range(1, 6) for i in range(2)]


@SIZES
@pytest.mark.parametrize("in_batches", [False, True], ids=["one", "batch"])
def test_what_a_function_keeps_never_becomes_another_clients(main: Main, size: int, in_batches: bool) -> None:
    kept: list[tuple[Array, float]] = []

    def keep(x):
        kept.append((x, float(x[0])))
        return float(x[0])

    def keep_all(instances):
        return [keep(x) for (x,) in instances]

    if in_batches:
        function_method(keep_all, batch_size=4)
    else:
        function_method(keep)
    serve_in_one_slot(main, size)
    assert firsts_in(main.results) == SENT
    assert [number for _, number in kept] == SENT
    assert [(set(array.tolist()), number) for array, number in kept] == [
        ({number}, number) for number in SENT
    ]


@SIZES
def test_what_a_function_returns_and_changes_later_was_sent_as_it_was(main: Main, size: int) -> None:
    kept: list[Array] = []

    def give_and_change(x):
        for earlier in kept:
            earlier[...] = -1
        kept.append(x)
        return x

    function_method(give_and_change)
    serve_in_one_slot(main, size)
    assert firsts_in(main.results) == SENT


class Negated:
    """A graph y = -x over any number of rows."""

    dynamic_batch = True

    def __init__(self, size: int) -> None:
        self.signature = GraphSignature(
            (TensorSpec("x", DataType.FLOAT32, (-1, size)),), (TensorSpec("y", DataType.FLOAT32, (-1, size)),)
        )

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        return [-arrays[0]]

    def close(self) -> None:
        """Nothing to unload."""


@SIZES
@pytest.mark.parametrize("before_it", [False, True], ids=["model alone", "function before it"])
def test_a_model_gets_each_batch_as_it_came(main: Main, size: int, before_it: bool) -> None:
    model = declare_model("m.mindir", "MindIR")

    @register_method(output_names=["y"])
    def method(x):
        y = add_stage(lambda v: v, x, outputs_count=1) if before_it else x
        return add_stage(model, y, outputs_count=1)

    serve_in_one_slot(main, size, {"m.mindir": [ModelRunner(Negated(size), True, (), 8)]})
    assert firsts_in(main.results) == [-number for number in SENT]
    assert main.connection.own_instances is before_it  # a copy that only functions need


def test_a_worker_that_stops_sends_no_more_results(main: Main) -> None:
    def stops(x):
        if x[0] == 10:
            main.stop()
        return x

    function_method(stops)
    main.send(Batch(1, 0, "method", (rows_of_size(3, 10),)))
    main.serve()
    assert main.results == main.received() == []
    assert main.loop.stopped_at is not None


def test_nothing_is_run_once_the_main_process_says_stop(main: Main) -> None:
    run: list[Any] = []
    function_method(lambda x: run.append(x) or x)
    for message in (Batch(1, 0, "method", (rows_of_size(3, 10),)), Stop()):
        main.send(message)
    main.serve()
    assert run == main.results == main.received() == []


# ---- Where models run


class WatchedGraph(Negated):
    """Writes down the thread of each run.

    Args:
        log: Where.
        on_run: Called at each run.
    """

    def __init__(self, log: list[str], on_run: Callable[[], None] = lambda: None) -> None:
        super().__init__(3)
        self._log, self._on_run = log, on_run

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        self._log.append(threading.current_thread().name)
        self._on_run()
        return super().predict(arrays)


def model_method(graph: Negated) -> dict[str, list[GraphRunner]]:
    model = declare_model("m.mindir", "MindIR")

    @register_method(output_names=["y"])
    def through_model(x):
        return add_stage(model, x, outputs_count=1)

    return {"m.mindir": [ModelRunner(graph, True, (), 8)]}


def test_a_batch_has_waited_since_it_may_have_come() -> None:
    ours, other = socket.socketpair()
    connection = MainConnection(other.detach(), None, lambda: 10.0)
    loop = ServingLoop(connection)
    engine = Engine([], {}, connection.send, now=lambda: 13.0)
    with ours:
        ours.sendall(frame_of(Batch(1, 0, "unknown", (rows_of_size(3, 1),))) + frame_of(Stop()))
        loop.run(engine, ModelThreads(engine, lambda: None, lambda: True), may_run_models=True)
        [(kind, body)] = FrameSplitter().feed(ours.recv(1 << 16))
    connection.close()
    result = message_of(kind, body, FROM_WORKER)
    assert isinstance(result, Result)
    assert (result.wait_us, result.run_us) == (3_000_000, 0)


def test_models_are_handed_over_where_the_main_thread_may_not_run_them(main: Main) -> None:
    log: list[str] = []
    runners = model_method(WatchedGraph(log))
    main.send(Batch(1, 0, "through_model", (rows_of_size(3, 1, 2, 3),)))
    main.serve(runners, threads=1, may_run_models=False)
    assert firsts_in(main.results) == [-1, -2, -3]
    assert log == ["models 0"]


def test_quick_models_run_on_the_main_thread_although_there_is_another(main: Main) -> None:
    log: list[str] = []
    runners = model_method(WatchedGraph(log))
    main.send(Batch(1, 0, "through_model", (rows_of_size(3, 1),)))
    main.serve(runners, threads=1)
    assert log == [threading.current_thread().name]


def test_who_has_run_a_model_wakes_the_main_thread(main: Main) -> None:
    runners = model_method(WatchedGraph([]))
    engine = Engine(list(main.definition.methods.values()), runners, main.results.append)
    woken, ended = threading.Event(), threading.Event()
    models = ModelThreads(engine, woken.set, ended.is_set)
    models.start(2)
    engine.add(Batch(1, 0, "through_model", (rows_of_size(3, 1),)))
    models.notify()
    assert woken.wait(DEADLINE_S)
    assert engine.collect()
    assert firsts_in(main.results) == [-1]
    ended.set()
    models.join(time.monotonic() + DEADLINE_S)
    assert not any(thread.name.startswith("models") for thread in threading.enumerate())


def test_models_do_not_wait_until_no_function_has_work(main: Main) -> None:
    order: list[str] = []
    runners = model_method(WatchedGraph([], lambda: order.append("model")))

    def one_by_one(instances):
        order.append("function")
        return [x for (x,) in instances]

    function_method(one_by_one, batch_size=1)
    main.on_result = lambda _: main.stop() if len(main.results) == 2 else None
    main.send(Batch(1, 0, "through_model", (rows_of_size(3, 1),)))
    main.send(Batch(2, 1, "method", (rows_of_size(3, 1, 2, 3, 4),)))
    main.serve(runners)
    assert order == ["function", "model", "function", "function", "function"]


# ---- Models that other workers hold

LARGE_AT = 65 << 20
"""Beyond what a region keeps after use."""


class Remote(Main):
    """A worker whose model another worker holds; main answers each call with the negated numbers.

    Args:
        size: Length of an instance.
    """

    def __init__(self, size: int) -> None:
        super().__init__(call_slots=[1])
        self.seen_free: list[bool] = []
        spec = TensorSpec("x", DataType.FLOAT32, (size,))
        assert self.loop.model_calls is not None
        self.runners: dict[str, list[GraphRunner]] = {
            "m.mindir": [
                RemoteModel("m.mindir", 0, GraphInfo((spec,), (spec,), 8, True), self.loop.model_calls)
            ]
        }
        read = self.loop.read

        def answer_and_read(timeout_s: float) -> None:
            for call in self.received():
                assert isinstance(call, ModelCall)
                self.answer(call)
            read(timeout_s)

        self.loop.model_calls._read = answer_and_read

    def answer(self, call: ModelCall) -> None:
        groups = tuple(Rows(rows.specs, (-rows.columns[0],), rows.count) for rows in call.groups)  # type: ignore[operator]
        self.send(ModelReply(call.call_id, call.slot, groups))


@SIZES
def test_outputs_of_a_model_elsewhere_stay_what_they_are(size: int) -> None:
    main = Remote(size)
    kept: list[tuple[Array, float]] = []

    def keep(y):
        kept.append((y, float(y[0])))
        return y

    model = declare_model("m.mindir", "MindIR")

    @register_method(output_names=["y"])
    def method(x):
        y = add_stage(model, x, outputs_count=1)
        return add_stage(keep, y, outputs_count=1)

    try:
        serve_in_one_slot(main, size, main.runners)
        assert firsts_in(main.results) == [number for _, number in kept] == [-number for number in SENT]
        assert [set(array.tolist()) for array, _ in kept] == [{-number} for number in SENT]
    finally:
        main.close()


def test_memory_of_a_large_call_is_given_back_with_its_answer() -> None:
    main = Remote(3)
    calls = main.loop.model_calls
    assert calls is not None
    regions = (SharedMemory.request_region(1), SharedMemory.reply_region(1))
    for region in regions:
        main.worker_memory.view(region, LARGE_AT, 8)[:] = 7  # one page of a large call
    try:
        [group] = calls.run("@call_m.mindir_0", [rows_of_size(3, 5)])
        assert group.count == 1
        assert [main.worker_memory.view(region, LARGE_AT, 8).tolist() for region in regions] == [[0] * 8] * 2
    finally:
        main.close()


def test_memory_of_calls_is_given_back_after_a_while_without_any() -> None:
    main = Remote(3)
    regions = (SharedMemory.request_region(1), SharedMemory.reply_region(1))
    function_method(lambda x: x)
    for region in regions:
        main.worker_memory.view(region, 0, 8)[:] = 7
    main.on_result = lambda result: (
        main.stop() if result.batch_id == 2 else main.send(Batch(2, 0, "method", (rows_of_size(3, 20),)))
    )
    calls = main.loop.model_calls
    assert calls is not None
    try:
        calls.run("@call_m.mindir_0", [rows_of_size(3, 5)])
        main.send(Batch(1, 0, "method", (rows_of_size(3, 10),)))
        main.serve(main.runners)
        assert [main.worker_memory.view(region, 0, 8).tolist() for region in regions] == [[0] * 8] * 2
    finally:
        main.close()


def test_calls_fail_when_the_loop_stops() -> None:
    main = Remote(3)
    main.loop.stop()
    assert main.loop.model_calls is not None
    try:
        with pytest.raises(ModelError, match="Servable stopped"):
            main.loop.model_calls.run("@call_m.mindir_0", [rows_of_size(3, 5)])
    finally:
        main.close()
