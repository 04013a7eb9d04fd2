"""Models that other workers hold, with a main process that is the test."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mindspore_serving.errors import Failure, InvalidInput, ModelError, ServingError, StatusCode
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.server.backend.input_check import WrongInput
from mindspore_serving.server.channel.messages import ModelCall, ModelReply
from mindspore_serving.server.worker.remote_models import ModelCalls, RemoteModel, remote_models
from mindspore_serving.server.worker.values import Values
from mindspore_serving.signature import GraphInfo, ModelInfo
from mindspore_serving.tensor import DataType, TensorSpec

X = TensorSpec("x", DataType.FLOAT32, (2,))
INFO = GraphInfo(inputs=(X, X), outputs=(X,), batch_size=4, dynamic=False)


class Main:
    """Adds the two inputs of every instance; answers when the worker reads, last call first."""

    def __init__(self, slots: int = 2, answer: Callable[[Rows], Sequence[Group]] | None = None) -> None:
        self.calls = ModelCalls(range(10, 10 + slots), self._take, self.read)
        self.seen: list[ModelCall] = []
        self.most_open = 0
        self._open: list[ModelCall] = []
        self._answer = answer or _add

    def _take(self, call: ModelCall) -> None:
        self.seen.append(call)
        self._open.append(call)
        self.most_open = max(self.most_open, len(self._open))

    def read(self, _: float) -> None:
        while self._open:
            call = self._open.pop()
            groups = [group for rows in call.groups for group in self._answer(rows)]
            self.calls.take(ModelReply(call.call_id, call.slot, tuple(groups)))


def _add(rows: Rows) -> Sequence[Group]:
    first, second = rows.columns
    return [Rows((TensorSpec("y0", DataType.FLOAT32, (2,)),), (first + second,), rows.count)]  # type: ignore[operator]


def _fail_second(rows: Rows) -> Sequence[Group]:
    failure = FailedRows(Failure(StatusCode.INVALID_INPUTS, "no good"), 1)
    return [_add(rows.take(0, 1))[0], failure, _add(rows.take(2, rows.count))[0]]


def model(main: Main, subgraph: int = 0) -> RemoteModel:
    return RemoteModel("a.mindir;b.mindir", subgraph, INFO, main.calls)


def values(count: int) -> list[Values]:
    column = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return [Values(count, objects=list(column)) for _ in range(2)]


def test_instances_go_to_the_method_of_their_graph() -> None:
    main = Main()
    [(start, stop, outputs)] = model(main, subgraph=1).run(values(3), 3)
    assert (start, stop) == (0, 3)
    assert isinstance(outputs, list)
    np.testing.assert_array_equal(outputs[0], 2 * np.arange(6, dtype=np.float32).reshape(3, 2))
    [call] = main.seen
    assert call.method == "@call_a.mindir;b.mindir_1"
    assert call.slot in (10, 11)


def test_an_instance_that_failed_keeps_its_failure() -> None:
    outcomes = model(Main(answer=_fail_second)).run(values(4), 4)
    assert [(start, stop) for start, stop, _ in outcomes] == [(0, 1), (1, 2), (2, 4)]
    error = outcomes[1][2]
    assert isinstance(error, ServingError)
    assert error.failure() == Failure(StatusCode.INVALID_INPUTS, "no good")


def test_what_does_not_fit_is_not_sent() -> None:
    main = Main()
    columns = values(5)
    for i, odd in ((1, np.zeros(3, np.float32)), (2, "text")):
        columns[1].objects()[i] = odd
    outcomes = model(main).run(columns, 5)
    assert [(start, stop, type(outcome)) for start, stop, outcome in outcomes] == [
        (0, 1, list),
        (1, 2, WrongInput),
        (2, 3, WrongInput),
        (3, 5, list),
    ]
    assert [outcome[2].index for outcome in outcomes[1:3]] == [1, 1]  # type: ignore[union-attr]
    np.testing.assert_array_equal(outcomes[3][2][0], [[12, 14], [16, 18]])  # type: ignore[index]
    [call] = main.seen
    assert [rows.count for rows in call.groups] == [1, 2]
    nothing_fits = [Values(2, objects=["a", "b"])] * 2
    assert [type(outcome) for _, _, outcome in model(main).run(nothing_fits, 2)] == [WrongInput] * 1
    assert len(main.seen) == 1


def test_outcomes_that_come_in_other_pieces_than_the_instances_went() -> None:
    def in_one(rows: Rows) -> Sequence[Group]:
        return [FailedRows(Failure(StatusCode.FAILED, "no good"), 1)] * rows.count

    columns = values(5)
    columns[0].objects()[2] = "text"
    main = Main(answer=in_one)
    outcomes = model(main).run(columns, 5)
    assert [(start, stop) for start, stop, _ in outcomes] == [(i, i + 1) for i in range(5)]


def test_a_model_without_inputs() -> None:
    def answer(rows: Rows) -> Sequence[Group]:
        assert rows.specs == ()
        return [Rows((TensorSpec("y0", DataType.FLOAT32, (1,)),), (np.ones((rows.count, 1)),), rows.count)]

    main = Main(answer=answer)
    table = RemoteModel("t.mindir", 0, GraphInfo((), (X,), 1, False), main.calls)
    assert [row[0].tolist() for row in table.call([(), (), ()])] == [[1]] * 3


def test_text_comes_back_as_text() -> None:
    def echo(rows: Rows) -> Sequence[Group]:
        return [Rows((TensorSpec("y0", DataType.STRING, ()),), rows.columns, rows.count)]

    text = TensorSpec("x", DataType.STRING, ())
    remote = RemoteModel("t.mindir", 0, GraphInfo((text,), (text,), 4, True), Main(answer=echo).calls)
    assert remote.call([["a"], ["b"]]) == [("a",), ("b",)]


def test_call_takes_python_values() -> None:
    instance = [np.ones(2, np.float32), np.ones(2, np.float32)]
    assert [row[0].tolist() for row in model(Main()).call([instance] * 3)] == [[2, 2]] * 3
    with pytest.raises(ServingError, match="no good"):
        model(Main(answer=_fail_second)).call([instance] * 3)
    with pytest.raises(
        InvalidInput, match="The inputs count 1 of instance 1 is not equal to the inputs count 2"
    ):
        model(Main()).call([instance, instance[:1]])


def test_calls_of_several_threads_are_answered_whatever_their_order() -> None:
    main = Main(slots=2)
    results: dict[int, float] = {}

    def call(number: int) -> None:
        instance = [np.full(2, number, np.float32), np.zeros(2, np.float32)]
        results[number] = float(model(main).call([instance])[0][0][0])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        main.read(0)
        threads[0].join(0.001)
    assert results == {number: number for number in range(8)}
    assert main.most_open <= 2


def test_calls_fail_when_the_worker_ends() -> None:
    main = Main()
    errors: list[str] = []

    def call() -> None:
        [(_, _, outcome)] = model(main).run(values(1), 1)
        errors.append(str(outcome))

    thread = threading.Thread(target=call)
    thread.start()
    main.calls.end()
    thread.join(10)
    assert errors == ["Servable stopped"]
    with pytest.raises(ModelError, match="Servable stopped"):
        main.calls.run("@call_a_0", [])


def test_the_slot_of_a_call_that_could_not_be_sent_is_free_again() -> None:
    slots: list[int] = []

    def send(call: ModelCall) -> None:
        slots.append(call.slot)
        raise OSError("no memory")

    calls = ModelCalls([10], send, lambda _: pytest.fail("there is a slot, and no call to wait for"))
    for _ in range(2):
        with pytest.raises(ModelError, match="No way to the worker that holds the model: no memory"):
            calls.run("@call_a_0", [])
    assert slots == [10, 10]


def test_stand_ins_look_like_the_models() -> None:
    stand_ins = remote_models([ModelInfo("a.mindir;b.mindir", (INFO, INFO))], Main().calls)
    assert list(stand_ins) == ["a.mindir;b.mindir"]
    for graph in stand_ins["a.mindir;b.mindir"]:
        assert (graph.inputs, graph.outputs, graph.batch_size, graph.dynamic) == ((X, X), (X,), 4, False)
        assert graph.outputs_count == 1
