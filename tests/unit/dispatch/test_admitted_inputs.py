"""What a method declares is checked when a request is admitted, and parameters are given to the methods that ask."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, StatusCode
from mindspore_serving.rows import FailedRows, Rows
from mindspore_serving.server.dispatch.admitted_inputs import (
    MOST_PARAMETERS_BYTES,
    MOST_REPEATED_BYTES,
    InputCheck,
    parameters_text,
)
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.signature import PARAMETERS_SPEC, MethodSignature, TensorType
from mindspore_serving.tensor import DataType, TensorSpec
from tests.support.rows import rows_of, texts
from tests.unit.dispatch.dispatching import Worker, pumped

F32 = DataType.FLOAT32


def method_of(*inputs: TensorType, **options: Any) -> MethodSignature:
    return MethodSignature("m", tuple(one.name for one in inputs), 8, inputs=inputs, **options)


def declared(dtype: DataType, shape: tuple[int, ...] | None = None) -> TensorType:
    return TensorType("x", dtype, shape, declared=True)


def columns(shape: tuple[int, ...], dtype: Any = np.float32) -> Rows:
    return rows_of(x=np.zeros(shape, dtype))


TEXT = texts(["a", "b"])
BYTES = Rows((TensorSpec("x", DataType.BYTES, (1,)),), ([b"a"],), 1)


@pytest.mark.parametrize(
    ("known", "rows", "problem"),
    [
        (declared(F32), columns((2, 3, 4)), ""),
        (declared(F32, (-1, 4)), columns((2, 3, 4)), ""),
        (declared(F32, (3, 4)), columns((2, 3, 4)), ""),
        (declared(F32, ()), columns((2,)), ""),
        (declared(F32, ()), columns((2, 1)), ""),  # as clients send a number of Python
        (declared(F32, ()), columns((2, 1, 1)), "float32 of shape [1, 1], expected float32 of shape []"),
        (declared(F32, (1,)), columns((2,)), "float32 of shape [], expected float32 of shape [1]"),
        (declared(DataType.STRING, ()), TEXT, ""),
        (declared(DataType.BYTES, ()), BYTES, ""),
        (TensorType("x", F32, (3,)), columns((2, 4), np.int8), ""),  # the worker of the model looks at that
        (
            declared(F32, (3, 4)),
            columns((2, 3, 5)),
            "float32 of shape [3, 5], expected float32 of shape [3, 4]",
        ),
        (declared(F32, (12,)), columns((2, 3, 4)), "float32 of shape [3, 4], expected float32 of shape [12]"),
        (declared(F32, (-1,)), columns((2,)), "float32 of shape [], expected float32 of shape [-1]"),
        (declared(F32), columns((2,), np.float64), "float64 of shape [], expected float32"),
        (declared(DataType.STRING, ()), BYTES, "bytes, expected text"),
        (declared(DataType.BYTES, ()), TEXT, "text, expected bytes"),
        (declared(DataType.STRING, ()), columns((2,)), "float32 of shape [], expected text"),
    ],
)
def test_instances_are_what_is_declared(known: TensorType, rows: Rows, problem: str) -> None:
    check = InputCheck(method_of(known))
    for _ in range(2):  # found out, and remembered
        [group] = check.checked([rows])
        if problem:
            assert isinstance(group, FailedRows)
            assert group.count == rows.count
            assert (group.failure.code, group.failure.text) == (
                StatusCode.INVALID_INPUTS,
                f"Input 'x' is {problem}",
            )
        else:
            assert group is rows


def test_all_wrong_inputs_are_named() -> None:
    types = [TensorType(name, F32, declared=True) for name in "abc"]
    rows = rows_of(a=np.zeros(1), b=np.zeros(1, np.float32), c=np.zeros((1, 2), np.int8))
    [group] = InputCheck(method_of(*types)).checked([rows])
    assert isinstance(group, FailedRows)
    assert group.failure.text == (
        "Input 'a' is float64 of shape [], expected float32; Input 'c' is int8 of shape [2], expected float32"
    )


def test_what_is_remembered_is_bounded() -> None:
    check = InputCheck(method_of(declared(F32, (-1,))))
    for size in range(1000):
        assert not isinstance(check.checked([columns((1, size))])[0], FailedRows)
    assert 0 < len(check._verdicts) <= 256


async def test_instances_that_fit_are_served_beside_others(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[method_of(declared(F32, (2,)))])
    blocks = [columns((2, 3)), columns((3, 2)), columns((1, 2), np.int8), columns((1, 2))]
    future = dispatcher.admit(dispatcher.resolve("s", "m", 0), blocks)
    assert dispatcher.requests == 1
    await pumped()
    [batch] = worker.batches
    assert batch.count == 4
    worker.answer_all()
    reply = await future
    kinds = [(type(group), group.count) for group in reply]
    assert kinds == [(FailedRows, 2), (Rows, 3), (FailedRows, 1), (Rows, 1)]
    await pumped()
    assert dispatcher.requests == 0


@pytest.mark.parametrize("blocks", [[columns((2, 3))], [columns((2, 3)), columns((1, 1))]])
async def test_a_request_without_an_instance_that_fits_is_answered_at_once(
    dispatcher: Dispatcher, blocks: list[Rows]
) -> None:
    worker = Worker(dispatcher, methods=[method_of(declared(F32, (2,)))])
    destination = dispatcher.resolve("s", "m", 0)
    with dispatcher.reading(destination) as admission:
        futures = [dispatcher.admit(destination, blocks), admission.admit(blocks)]
    for future in futures:
        assert [group.count for group in future.result()] == [block.count for block in blocks]
    assert dispatcher.requests == 0
    await pumped()
    assert worker.batches == []


async def test_parameters_go_with_each_instance(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[method_of(TensorType("x"), takes_parameters=True)])
    destination = dispatcher.resolve("s", "m", 0)
    dispatcher.admit(destination, [columns((2,))], parameters={"top_k": 3, "deep": {"a": [1.5, None]}})
    dispatcher.admit(destination, [columns((1,))])
    await pumped()
    groups = [group for batch in worker.batches for group in batch.groups]
    assert all(group.specs[1] == PARAMETERS_SPEC for group in groups)
    sent = [json.loads(text) for group in groups for text in group.columns[1]]
    assert sent == [{"top_k": 3, "deep": {"a": [1.5, None]}}] * 2 + [{}]


async def test_parameters_are_for_methods_that_ask_for_them(dispatcher: Dispatcher) -> None:
    worker = Worker(dispatcher, methods=[method_of(TensorType("x"))])
    dispatcher.admit(dispatcher.resolve("s", "m", 0), [columns((1,))], parameters={"a": "b" * (1 << 20)})
    await pumped()
    [batch] = worker.batches
    assert [spec.name for spec in batch.groups[0].specs] == ["x"]


async def test_parameters_that_are_too_large_are_refused(dispatcher: Dispatcher) -> None:
    Worker(dispatcher, methods=[method_of(TensorType("x"), takes_parameters=True)])
    text = f"The parameters of the request have 8200 bytes as JSON, expected at most {MOST_PARAMETERS_BYTES}"
    with pytest.raises(InvalidInput, match=text):
        dispatcher.admit(
            dispatcher.resolve("s", "m", 0), [columns((1,))], parameters={"a": "b" * (8200 - len('{"a":""}'))}
        )
    assert dispatcher.requests == 0


async def test_parameters_of_many_instances_that_come_to_too_much_are_refused(dispatcher: Dispatcher) -> None:
    Worker(dispatcher, methods=[method_of(TensorType("x"), takes_parameters=True)])
    count = MOST_REPEATED_BYTES // 8000 + 1
    rows = Rows((TensorSpec("x", DataType.UINT8, ()),), (np.zeros(count, np.uint8),), count)
    with pytest.raises(InvalidInput, match=f"have 8000 bytes as JSON for each of {count} instances"):
        dispatcher.admit(
            dispatcher.resolve("s", "m", 0), [rows], parameters={"a": "b" * (8000 - len('{"a":""}'))}
        )
    assert dispatcher.requests == 0


@pytest.mark.parametrize("parameters", [{}, None, {"n": 1 << 70}, {"x": "ü"}])
def test_parameters_as_json(parameters: dict[str, Any] | None) -> None:
    assert json.loads(parameters_text(parameters)) == (parameters or {})


def test_parameters_that_are_no_json() -> None:
    with pytest.raises(InvalidInput, match="cannot be written as JSON"):
        parameters_text({"x": b"bytes"})


async def test_a_worker_that_has_run_examples_tells_more(dispatcher: Dispatcher) -> None:
    untaught = MethodSignature("m", ("x",), 8, output_names=("y",), outputs=(TensorType("y"),))
    taught = MethodSignature("m", ("x",), 8, output_names=("y",), outputs=(TensorType("y", F32),))
    first, second = Worker(dispatcher, methods=[untaught]), Worker(dispatcher, label="b", methods=[taught])
    assert dispatcher.methods("s", 1) == (taught,)
    assert dispatcher.resolve("s", "m", 0).method == taught
    Worker(dispatcher, label="c", methods=[untaught])
    assert dispatcher.methods("s", 1) == (taught,)
    assert len({first.servable, second.servable}) == 1


async def test_a_worker_whose_method_takes_parameters_is_another_one(dispatcher: Dispatcher) -> None:
    plain, asking = method_of(TensorType("x")), method_of(TensorType("x"), takes_parameters=True)
    servable = Worker(dispatcher, methods=[plain]).servable
    assert servable.conflict([asking]) == (
        "method m with inputs ['x'] and parameters of servable s version 1 is at other workers method m with inputs "
        "['x']"
    )
