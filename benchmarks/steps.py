"""What each step of one request costs in Python, without sockets, wake-ups and gRPC itself.

Every step is run by itself, in one process, many times over with the same input; its figure is the best of several
rounds. In a server the same code runs after a wake-up, with cold caches, and takes about twice as long: the shares tell
where the time goes, the sum does not tell how long a request takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from benchmarks.messages import is_reply, request_bytes
from mindspore_serving.options import ServableSettings
from mindspore_serving.rows import Reply, Rows
from mindspore_serving.server.channel.frames import (
    FROM_WORKER,
    TO_WORKER,
    FrameSplitter,
    Incoming,
    frame_of,
    message_of,
)
from mindspore_serving.server.channel.messages import Batch, Result
from mindspore_serving.server.channel.worker_plan import WorkerPlan
from mindspore_serving.server.dialect.native.predict_codec import PredictMessage, encode_reply
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory
from mindspore_serving.server.dispatch.copy import ServableCopy
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.dispatch.queue_policy import MethodQueue, next_batch
from mindspore_serving.server.dispatch.request import Piece, Request, pieces_of
from mindspore_serving.server.worker.engine import Engine
from mindspore_serving.server.worker.servable_loader import load_servable
from mindspore_serving.signature import MethodSignature

_Message = TypeVar("_Message")
_ROUNDS = 5
_SERVABLE = """\
from mindspore_serving.server import register


def first(x1, x2):
    return x1


@register.register_method(output_names=["y"])
def identity(x1, x2):
    return register.add_stage(first, x1, x2, outputs_count=1)
"""
_METHOD = MethodSignature("identity", ("x1", "x2"), 64)


def measure_steps(folder: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Time the steps of a gRPC request with 1 and with 32 instances; prints and returns the table.

    Args:
        folder: An empty folder to work in.
        turns: Not used; the steps have no neighbour to be compared with.
        seconds: Time for each step.
    """
    (folder / "steps" / "1").mkdir(parents=True)
    (folder / "steps" / "servable_config.py").write_text(_SERVABLE)
    few, many = (_Steps(folder, instances, seconds / _ROUNDS).run() for instances in (1, 32))
    rows: list[dict[str, Any]] = []
    print(f"{'step':52} {'1 instance':>12} {'32 instances':>13}")
    for name, cost in few.costs_us.items():
        print(f"{name:52} {cost:9.2f} us {many.costs_us[name]:10.2f} us")
        wrong = few.wrong + many.wrong
        rows.append(
            {"row": name, "one_instance_us": cost, "32_instances_us": many.costs_us[name], "wrong": wrong}
        )
    return rows


class _Measured(NamedTuple):
    """Microseconds of each step, and whether the reply at the end was wrong."""

    costs_us: dict[str, float]
    wrong: int


class _Steps:
    """The steps of a request, each with the input that the one before gives.

    Args:
        folder: Holds the servable.
        instances: Instances of the request.
        seconds: Length of a round of a step.
    """

    def __init__(self, folder: Path, instances: int, seconds: float) -> None:
        self._folder = folder
        self._inputs = [
            {name: np.full((2, 2), i, np.float32) for name in ("x1", "x2")} for i in range(instances)
        ]
        self._seconds = seconds
        self._costs: dict[str, float] = {}
        self._spec_bytes = b""
        self._loop = asyncio.new_event_loop()

    def run(self) -> _Measured:
        """Time all steps."""
        try:
            rows = self._front()
            result = self._worker(self._dispatch(rows))
            reply = self._back(rows, result)
        finally:
            self._loop.close()
        expected = [{"y": instance["x1"]} for instance in self._inputs]
        costs = {**self._costs, "all": round(sum(self._costs.values()), 2)}
        return _Measured(costs, int(not is_reply("grpc", reply, expected)))

    def _time(self, name: str, step: Callable[[], Any]) -> Any:
        """Time one step; returns what it returned."""
        result = step()
        best = float("inf")
        for _ in range(_ROUNDS):
            runs, begin, end = 0, time.process_time(), 0.0
            while end - begin < self._seconds:
                for _ in range(50):
                    step()
                runs += 50
                end = time.process_time()
            best = min(best, (end - begin) / runs)
        self._costs[name] = round(1e6 * best, 2)
        return result

    def _front(self) -> Rows:
        message, layouts = request_bytes("grpc", "steps", "identity", self._inputs), LayoutMemory()
        dispatcher = Dispatcher(self._loop)
        dispatcher.servable("steps", 1).add_copy(ServableCopy("steps", [_METHOD], _drop))
        call = self._time("main: read the target", lambda: PredictMessage(message))
        self._time("main: find the method", lambda: dispatcher.resolve(call.name, call.method, call.version))
        self._spec_bytes = call.spec_bytes
        blocks: list[Rows] = self._time(
            "main: read and check the instances", lambda: call.read_instances(_METHOD, layouts)
        )
        return blocks[0]

    def _dispatch(self, rows: Rows) -> bytes:
        queue = MethodQueue(_METHOD)
        sent: list[Batch] = []
        copy = ServableCopy("steps", [_METHOD], sent.append)

        def enqueue() -> list[Piece]:
            pieces = pieces_of(Request([rows], self._loop.create_future()))
            queue.put(pieces)
            queue.clear()
            return pieces

        pieces = self._time("main: queue the request", enqueue)

        def choose() -> None:
            queue.put(pieces)
            next_batch([queue], 0, [copy])

        self._time("main: form a batch", choose)
        copy.send("identity", pieces, 1)
        frame: bytes = self._time("main: write the batch's frame", lambda: frame_of(sent[0]))
        return frame

    def _worker(self, frame: bytes) -> bytes:
        settings = ServableSettings(
            servable_directory=str(self._folder), servable_name="steps", version_number=1, device_type="cpu"
        )
        servable = load_servable(WorkerPlan(settings, device_id=0, has_device=True))
        results: list[Result] = []
        engine = Engine(list(servable.definition.methods.values()), servable.runners, results.append)
        batch = self._time("worker: read the frame", lambda: _message_in(bytearray(frame), TO_WORKER))

        def run() -> None:
            results.clear()
            engine.add(batch)
            engine.run_function_step()

        self._time("worker: run the stage, gather the results", run)
        reply: bytes = self._time("worker: write the result's frame", lambda: frame_of(results[0]))
        return reply

    def _back(self, rows: Rows, frame: bytes) -> bytes:
        result = self._time("main: read the frame", lambda: _message_in(frame, FROM_WORKER))
        assert isinstance(result, Result)
        sent: list[Batch] = []
        copy = ServableCopy("steps", [_METHOD], sent.append)

        def settle() -> Reply:
            future: asyncio.Future[Reply] = self._loop.create_future()
            sent.clear()
            copy.send("identity", [Piece(Request([rows], future), 0, rows)], 1)
            result.batch_id = sent[0].batch_id
            copy.take_result(result)
            return future.result()

        groups = self._time("main: keep the batch, hand its results to the requests", settle)
        encoded: bytes = self._time("main: write the reply", lambda: encode_reply(self._spec_bytes, groups))
        return encoded


def _message_in(frame: bytes | bytearray, among: Incoming[_Message]) -> _Message:
    ((kind, body),) = FrameSplitter().feed(frame)
    return message_of(kind, body, among)


def _drop(_: object) -> None:
    return
