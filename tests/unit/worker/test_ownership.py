"""Which arrays that user code returned are taken as they are, and which are copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from mindspore_serving.server.register.definition import StageDefinition, StageKind
from mindspore_serving.server.worker.stage_functions import FunctionRunner

HELD = np.arange(6.0)
HELD_LIST = [np.arange(6.0)]
HELD_BYTES = b"0123456789012345"
_made: list[Any] = []


def run_all(runner: FunctionRunner, inputs: list[list[Any]]) -> list[Any]:
    """Outcomes of all instances, however many time slices they take."""
    results: list[Any] = []
    while len(results) < len(inputs[0]):
        done = len(results)
        rest = [values[done:] for values in inputs]
        results += runner.run(rest, len(rest[0]))
        for values, used in zip(inputs, rest, strict=True):
            values[done:] = used
    return results


def results_of(function: Callable[..., Any], *inputs: list[Any], batch: bool = False) -> list[Any]:
    """The only output of each instance."""
    stage = StageDefinition(1, StageKind.FUNCTION, "f", function, (), 1, batch, 8, "Function 'f'")
    results = run_all(FunctionRunner(stage, "method"), list(inputs))
    assert all(type(result) is tuple for result in results), results
    return [result[0] for result in results]


def noted(array: Any) -> Any:
    """The array, whose address is kept, without holding it."""
    _made.append(array.__array_interface__["data"][0])
    return array


def address_of(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@lru_cache
def cached(_: int) -> Any:
    return np.arange(6.0)


def with_local(x: Any) -> Any:
    value = np.full(6, x)
    noted(value)
    return value


def generated(instances: Any) -> Iterator[Any]:
    for (x,) in instances:
        yield noted(np.full(6, x))


@pytest.mark.parametrize(
    ("function", "batch"),
    [
        (lambda x: noted(np.full(6, x)), False),
        (with_local, False),
        (lambda x: (noted(np.full(6, x)),), False),
        (lambda x: [noted(np.full(6, x))], False),
        (lambda x: noted(np.full((2, 3), x).reshape(6)), False),
        (lambda x: noted(np.full((2, 6), x)[1]), False),
        (lambda x: noted(np.frombuffer(HELD_BYTES)), False),
        (generated, True),
        (lambda instances: [noted(np.full(6, x)) for (x,) in instances], True),
        (lambda instances: tuple([noted(np.full(6, x)) for (x,) in instances]), True),
        (lambda instances: [(noted(np.full(6, x)),) for (x,) in instances], True),
    ],
)
def test_what_nothing_else_refers_to_is_not_copied(function: Callable[..., Any], batch: bool) -> None:
    _made.clear()
    results = results_of(function, [1, 2, 3], batch=batch)
    assert [address_of(result) for result in results] == _made


def yields_held(instances: Any) -> Iterator[Any]:
    for _ in instances:
        yield HELD


@pytest.mark.parametrize(
    ("function", "batch"),
    [
        (lambda x: HELD, False),
        (lambda x: (HELD,), False),
        (lambda x: HELD_LIST, False),
        (lambda x: HELD[:], False),
        (lambda x: HELD.reshape(2, 3).reshape(6), False),
        (lambda x: memoryview(HELD), False),
        (lambda x: HELD.view(np.recarray), False),
        (lambda x: cached(0), False),
        (yields_held, True),
        (lambda instances: [HELD] * len(instances), True),
        (lambda instances: list(np.broadcast_to(HELD, (len(instances), 6))), True),
        (lambda instances: HELD_LIST * len(instances), True),
    ],
)
def test_what_something_else_refers_to_is_copied(function: Callable[..., Any], batch: bool) -> None:
    results = results_of(function, [1, 2, 3], batch=batch)
    held = (HELD, HELD_LIST[0], cached(0))
    for number, result in enumerate(results):
        assert isinstance(result, np.ndarray)
        others = (*held, *results[:number])
        assert not any(np.shares_memory(result, other) for other in others)
        np.testing.assert_array_equal(result, np.arange(6.0))


def test_an_input_that_is_returned_is_copied() -> None:
    inputs = [np.arange(3.0), np.arange(3.0)]
    for function in (lambda x: x, lambda x: x[1:]):
        for result, given in zip(results_of(function, list(inputs)), inputs, strict=True):
            assert not np.shares_memory(result, given)


@pytest.mark.parametrize("batch", [False, True])
def test_inputs_that_are_used_again_are_what_they_were_when_the_function_returned(batch: bool) -> None:
    kept: list[Any] = []

    def per_instance(x: Any) -> float:
        for earlier in kept:
            earlier[...] = -1
        kept[:] = [x]
        x += 1
        return 0.0

    def per_batch(instances: Any) -> list[float]:
        for (x,) in instances:
            x += 1
            kept.append(x)
        return [0.0] * len(instances)

    function = per_batch if batch else per_instance
    stage = StageDefinition(1, StageKind.FUNCTION, "f", function, (), 1, batch, 8, "Function 'f'")
    inputs = [[np.zeros(2), np.ones(2)]]
    run_all(FunctionRunner(stage, "method", kept=(0,)), inputs)
    for earlier in kept:
        earlier[...] = -1
    assert [value.tolist() for value in inputs[0]] == [[1, 1], [2, 2]]
