"""Values that user code returned or was given, and holds on to: no client gets, and no function sees, another's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.client import Client
from tests.support.serving import RunningServer, add_servable, serving

CONFIG = """\
import ctypes
import itertools

import numpy as np

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR", with_batch_dim=False)
buffer = np.empty((2, 2), np.float32)
below = np.empty((4, 2, 2), np.float32)
rows = [np.empty((2, 2), np.float32) for _ in range(64)]
pair = [buffer, buffer]
memory = bytearray(16)
ring = itertools.cycle(below)
kept = []


def filled(x):
    np.copyto(buffer, x)
    return buffer


def view(x):
    np.copyto(buffer, x)
    return buffer[:]


def window(x):
    row = next(ring)
    np.copyto(row, x)
    return row


def same_list(x):
    np.copyto(buffer, x)
    return pair


def changed_list(x):
    pair[0] = np.array(x)
    pair[1] = pair[0]
    return pair


def foreign(x):
    array = np.frombuffer(memory, np.float32).reshape(2, 2)
    np.copyto(array, x)
    return array


def input_kept(x):
    for earlier in kept:
        earlier[...] = -1
    kept[:] = [x]
    return x


def input_view_kept(x):
    for earlier in kept:
        earlier[...] = -1
    kept[:] = [x[:]]
    return x[:]


def input_changed_later(x):
    for earlier in kept:
        earlier[...] = -1
    kept[:] = [x]
    return 0


def yielded(instances):
    for (x,) in instances:
        np.copyto(buffer, x)
        yield buffer


def yielded_view(instances):
    for (x,) in instances:
        np.copyto(buffer, x)
        yield buffer.T.T


def list_of_rows(instances):
    for row, (x,) in zip(rows, instances):
        np.copyto(row, x)
    return rows[: len(instances)]


def array_of_rows(instances):
    for row, (x,) in zip(rows, instances):
        np.copyto(row, x)
    below[: len(instances)] = rows[: len(instances)]
    return list(below[: len(instances)])


def called(x):
    np.copyto(buffer, x)
    y = model.call(buffer, np.zeros((2, 2), np.float32))
    np.copyto(buffer, y)
    y[...] = -1
    return buffer


def method_of(function, **options):
    def method(x):
        return register.add_stage(function, x, outputs_count=1, **options)

    method.__name__ = function.__name__
    register.register_method(output_names=["y"])(method)


for function in (filled, view, window, foreign, input_kept, input_view_kept, called):
    method_of(function)
for function in (yielded, yielded_view, list_of_rows, array_of_rows):
    method_of(function, batch_size=4)


def two_of(function):
    def method(x):
        return register.add_stage(function, x, outputs_count=2)

    method.__name__ = function.__name__
    register.register_method(output_names=["y", "z"])(method)


two_of(same_list)
two_of(changed_list)


@register.register_method(output_names=["y"])
def before_a_model(x):
    y = register.add_stage(filled, x, outputs_count=1)
    return register.add_stage(model, y, y, outputs_count=1)


@register.register_method(output_names=["y"])
def before_a_function(x):
    y = register.add_stage(filled, x, outputs_count=1)
    return register.add_stage(input_kept, y, outputs_count=1)


@register.register_method(output_names=["y", "zero"])
def input_used_again(x):
    return x, register.add_stage(input_changed_later, x, outputs_count=1)


@register.register_method(output_names=["y", "zero"])
def result_used_again(x):
    y = register.add_stage(filled, x, outputs_count=1)
    return y, register.add_stage(input_changed_later, y, outputs_count=1)


seen = []


def keep(x):
    seen.append((x, x.copy()))
    return sum(int((held != as_it_came).any()) for held, as_it_came in seen)


def keep_all(instances):
    for instance in instances:
        yield keep(*instance)


@register.register_method(output_names=["changed"])
def keeps_inputs(x):
    return register.add_stage(keep, x, outputs_count=1)


@register.register_method(output_names=["changed"])
def keeps_inputs_of_batches(x):
    return register.add_stage(keep_all, x, outputs_count=1, batch_size=4)


fill = register.PipelineServable(servable_name="held", method="filled")


@register.register_pipeline(output_names=["y"])
def pipeline(x):
    np.copyto(buffer, x)
    y = fill.run(buffer)[0]
    np.copyto(buffer, y)
    return buffer
"""
"""Functions that hold on to memory which they return or are given, in all the ways that there are."""
METHODS = (
    "filled",
    "view",
    "window",
    "foreign",
    "input_kept",
    "input_view_kept",
    "called",
    "yielded",
    "yielded_view",
    "list_of_rows",
    "array_of_rows",
    "same_list",
    "changed_list",
    "before_a_function",
    "input_used_again",
    "result_used_again",
    "pipeline",
)
CLIENTS = 6
REQUESTS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("held")
    add_servable(folder, "held", CONFIG)
    with serving(folder, ['".", "held", device_ids=0']) as running:
        yield running


def _wrong_replies(address: str, method: str, client_number: int, factor: float = 1.0) -> list[object]:
    """Replies with other numbers than the client has sent, which are its own."""
    wrong: list[object] = []
    with Client(address, "held", method) as client:
        for request in range(REQUESTS):
            numbers = [client_number * 1000 + request * 3 + i for i in range(3)]
            replies = client.infer([{"x": np.full((2, 2), number, np.float32)} for number in numbers])
            for number, reply in zip(numbers, replies, strict=True):
                if not np.array_equal(reply.get("y"), np.full((2, 2), number * factor, np.float32)):
                    wrong.append((number, reply))
    return wrong


@pytest.mark.parametrize(("method", "factor"), [*((name, 1.0) for name in METHODS), ("before_a_model", 2.0)])
def test_no_reply_has_what_another_client_sent(server: RunningServer, method: str, factor: float) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        wrong = list(
            pool.map(lambda number: _wrong_replies(server.grpc, method, number, factor), range(CLIENTS))
        )
    assert wrong == [[]] * CLIENTS


@pytest.mark.parametrize("method", ["keeps_inputs", "keeps_inputs_of_batches"])
@pytest.mark.parametrize("size", [3, 30_000], ids=["in the frame", "in shared memory"])
def test_an_input_that_a_function_keeps_stays_what_it_was(
    server: RunningServer, method: str, size: int
) -> None:
    def ask(client_number: int) -> list[int]:
        with Client(server.grpc, "held", method) as client:
            replies = [
                reply
                for request in range(10)
                for reply in client.infer(
                    [{"x": np.full(size, client_number * 100 + request, np.float32)} for _ in range(2)]
                )
            ]
        return [int(reply["changed"]) for reply in replies]

    with ThreadPoolExecutor(CLIENTS) as pool:
        changed = list(pool.map(ask, range(CLIENTS)))
    assert changed == [[0] * 20] * CLIENTS


def test_where_memory_runs_out_workers_end_before_the_main_process(server: RunningServer) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    main = score(server.process.pid)
    assert [score(pid) for pid in server.workers()] == [max(main, 300)]
