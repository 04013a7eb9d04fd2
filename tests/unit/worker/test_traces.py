"""Tracebacks of user code, as they are sent to the main process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mindspore_serving.errors import Failure, PipelineError
from mindspore_serving.server.register.definition import StageDefinition, StageKind, ValueRef
from mindspore_serving.server.worker.stage_functions import FunctionRunner
from mindspore_serving.server.worker.traces import LONGEST_TRACE, MOST_AT_ONCE, InnerTrace, Traces


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def raised(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail() -> None:
    raise ValueError("no /a/b")


def run_stage(function: Callable[[Any], Any]) -> Any:
    stage = StageDefinition(
        index=1,
        kind=StageKind.FUNCTION,
        target="s.f",
        function=function,
        inputs=(ValueRef(0, 0),),
        outputs_count=1,
        takes_batch=False,
        batch_size=0,
        tag="Function 's.f'",
    )
    [result] = FunctionRunner(stage, "m").run([[1]], 1)
    return result


def test_frames_of_serving_come_not_first() -> None:
    failure = run_stage(lambda x: fail())
    assert isinstance(failure, Failure)
    lines = failure.trace.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert __file__ in lines[1]
    assert lines[-1] == "ValueError: no /a/b"
    assert "stage_functions" not in failure.trace


def test_what_serving_finds_out_has_no_traceback() -> None:
    failure = run_stage(lambda x: (x, x))
    assert "The outputs number 2" in failure.text
    assert failure.trace == ""


def test_user_code_that_serving_calls_while_it_looks_at_outputs() -> None:
    class Output:
        def asnumpy(self) -> None:
            fail()

    assert "in asnumpy" in run_stage(lambda x: Output()).trace


def test_an_error_that_cannot_be_told() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def nasty(x: Any) -> None:
        raise Nasty

    failure = run_stage(nasty)
    assert failure.text.endswith("error msg: Nasty")
    assert "in nasty" in failure.trace


def test_long_texts_and_deep_stacks() -> None:
    def deep() -> None:
        deep()

    def long() -> None:
        raise ValueError("x" * 10**6 + "\n" * 1000 + "\udc80")

    for function in (deep, long):
        trace = Traces().of(raised(function))
        assert 100 < len(trace) <= LONGEST_TRACE + 10
        trace.encode()


def test_only_so_many_are_written() -> None:
    clock, error = Clock(), raised(fail)
    traces = Traces(clock)
    assert sum(bool(traces.of(error)) for _ in range(100)) == MOST_AT_ONCE
    clock.now += 0.5
    assert sum(bool(traces.of(error)) for _ in range(100)) == MOST_AT_ONCE // 2
    clock.now += 1000
    assert sum(bool(traces.of(error)) for _ in range(100)) == MOST_AT_ONCE


def test_the_traceback_of_a_method_that_a_pipeline_runs() -> None:
    def pipeline() -> None:
        raise PipelineError("Run failed") from InnerTrace('File "/inner.py", line 1, in inner')

    assert 'InnerTrace: File "/inner.py", line 1, in inner' in Traces().of(raised(pipeline))
