"""What `check` advises, which file it calls the fastest, and how it measures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.cli.checking.advice import Candidate, fastest, warnings_of
from mindspore_serving.cli.checking.places import ModelPlace
from mindspore_serving.cli.trial.jobs import (
    BatchTime,
    Found,
    Job,
    Memory,
    MethodFound,
    ModelFound,
    StageShare,
    Tensor,
    found_from_json,
)
from mindspore_serving.cli.trial.stage_clock import StageClock, name_of
from mindspore_serving.cli.trial.timing import sizes_up_to, times_of
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)

X = Tensor("x", "float32", [-1, 2])
MODEL = ModelFound("m.onnx", "onnx", True, True, 64, [X], [X], [BatchTime(1, 1.0, 1000.0)])
METHOD = MethodFound("predict", ["x: float32[2]"], ["y"], examples=1)
MEMORY = Memory(1, 2, 3)


def found(model: ModelFound = MODEL, method: MethodFound = METHOD) -> Found:
    return Found("m", 1, [model], [method], MEMORY, 0.5)


def test_nothing_to_say() -> None:
    assert warnings_of(found()) == []


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (replace(MODEL, dynamic=False, batch_size=8), "exactly 8 instances: fewer are padded, and cost as much as 8, "),
        (replace(MODEL, dynamic=False, batch_size=1), "takes batches of 1"),
        (replace(MODEL, with_batch_dim=False, dynamic=False, batch_size=1), "has no batch dimension"),
        (replace(MODEL, inputs=[Tensor("w", "float64", [-1, 2])]), "'w' of model m.onnx is float64"),
        (replace(MODEL, outputs=[Tensor("i", "int64", [-1, 2])]), "'i' of model m.onnx is int64"),
        (replace(MODEL, times=(), not_timed="too small"), "it does not run with made-up values (too small)"),
    ],
)  # fmt: skip
def test_what_a_model_may_want(model: ModelFound, text: str) -> None:
    [warning] = warnings_of(found(model))
    assert text in warning


STAGES = [StageShare("1. function m.f", 0.81), StageShare("2. model m.onnx", 0.1)]


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (replace(METHOD, untyped=["a", "b"]), "does not say the types of a, b"),
        (replace(METHOD, examples=0), "has no example"),
        (replace(METHOD, not_timed="no idea"), "was not measured: no idea"),
        (
            replace(METHOD, stages=STAGES),
            "'1. function m.f' takes 81% of method predict: num_parallel_workers",
        ),
        (
            replace(METHOD, stages=[StageShare("1. model m.onnx", 0.9), StageShare("2. function f", 0.1)]),
            "more copies (device_ids)",
        ),
    ],
)
def test_what_a_method_may_want(method: MethodFound, text: str) -> None:
    [warning] = warnings_of(found(method=method))
    assert text in warning


def test_a_stage_that_is_alone_or_quick_enough_is_not_slow() -> None:
    for stages in (STAGES[:1], [replace(STAGES[0], share=0.8), STAGES[1]]):
        assert warnings_of(found(method=replace(METHOD, stages=stages))) == []


def test_a_servable_without_config_cannot_say_more() -> None:
    method = replace(METHOD, examples=0, untyped=["x"])
    assert warnings_of(found(method=method), declared=False) == []


def candidate(name: str, model_format: str, per_s: float, version: int = 1, spread: float = 0.0) -> Candidate:
    model = replace(MODEL, name=name, times=[BatchTime(1, 1, per_s / 4), BatchTime(8, 1, per_s, spread)])
    return Candidate(ModelPlace(Path(f"/m/{version}/{name}"), model_format, version), model)


SLOW = candidate("m.mindir", "mindir", 100)
FAST = candidate("m.onnx", "onnx", 250)


def test_the_fastest_and_how_to_switch() -> None:
    text = fastest([SLOW, FAST], ["m.mindir"], 1)
    assert text == (
        "1/m.onnx is the fastest here: 250 instances/s in batches of 8. It is 2.5 times as fast as 1/m.mindir, "
        'which is served. To serve it, write declare_model("m.onnx", "ONNX") in servable_config.py.'
    )
    assert fastest([SLOW, FAST], ["m.onnx"], 1).endswith("It is the one that is served.")
    assert "version_number=2 in the start script" in fastest(
        [SLOW, candidate("m.onnx", "onnx", 250, version=2)], ["m.mindir"], 1
    )
    assert 'write declare_model("m.onnx"' in fastest([SLOW, FAST], ["other"], 1)


def test_the_fastest_where_nothing_is_declared() -> None:
    text = fastest([SLOW, FAST], [], 1, declared=False)
    assert text.endswith("in batches of 8. To serve it: mindspore-serving serve /m/1/m.onnx")


def test_the_same_file_in_two_versions() -> None:
    newer, served = candidate("m.onnx", "onnx", 250, version=2), candidate("m.onnx", "onnx", 100)
    text = fastest([newer, served], ["m.onnx"], 1)
    assert "2.5 times as fast as 1/m.onnx, which is served" in text
    assert text.endswith("and version_number=2 in the start script.")


@pytest.mark.parametrize(
    ("per_s", "spread", "within"),
    [(104, 0.0, True), (106, 0.0, False), (129, 0.2, True), (131, 0.2, False)],
)
def test_a_difference_within_the_noise(per_s: float, spread: float, within: bool) -> None:
    served = candidate("m.mindir", "mindir", 100, spread=spread / 2)
    text = fastest([served, candidate("m.onnx", "onnx", per_s, spread=spread)], ["m.mindir"], 1)
    assert ("the difference to 1/m.mindir is within the noise of the measurement" in text) is within
    assert text.endswith("1/m.mindir is served: there is no need to switch.") is within
    assert ("To serve it" in text) is not within


def test_all_files_within_the_noise_are_named() -> None:
    files = [
        SLOW,
        candidate("m.onnx", "onnx", 101),
        candidate("m.json", "paddle", 102),
        candidate("n.onnx", "onnx", 9),
    ]
    text = fastest(files, [], 1, declared=False)
    assert text == (
        "1/m.json is the fastest here: 102 instances/s in batches of 8; the difference to 1/m.mindir, 1/m.onnx is "
        "within the noise of the measurement. To serve it: mindspore-serving serve /m/1/m.json"
    )
    assert fastest(files, ["m.json"], 1).endswith("It is the one that is served.")
    other = fastest(files, ["n.onnx"], 1)
    assert "the difference to 1/m.mindir, 1/m.onnx is within the noise" in other
    assert "It is 11 times as fast as 1/n.onnx, which is served. To serve it, write" in other


def test_one_file_is_not_compared() -> None:
    broken = Candidate(FAST.place, None, "damaged")
    assert fastest([SLOW], ["m.mindir"], 1) == fastest([SLOW, broken], ["m.mindir"], 1) == ""


@pytest.mark.parametrize(
    ("most", "fixed", "sizes"),
    [(1, False, [1]), (8, False, [1, 2, 4, 8]), (6, False, [1, 2, 4, 6]), (6, True, [6])],
)
def test_sizes_of_batches(most: int, fixed: bool, sizes: list[int]) -> None:
    assert sizes_up_to(most, fixed=fixed) == sizes


def test_times_are_medians_after_a_first_run() -> None:
    clock = [0.0]
    costs = iter([100.0, 1.0, 3.0, 2.0, 2.0, 7.0, 9.0, 8.0])  # the first of each size does not count

    def run(rows: int) -> None:
        clock[0] += next(costs)

    times = times_of(run, [1, 4], seconds=0.0, now=lambda: clock[0])
    assert times == [BatchTime(1, 2000.0, 0.5, 0.25), BatchTime(4, 8000.0, 0.5, 0.0625)]


def test_it_is_measured_for_so_long() -> None:
    clock, runs = [0.0], []

    def run(rows: int) -> None:
        runs.append(rows)
        clock[0] += 0.1

    times_of(run, [1], seconds=1.0, now=lambda: clock[0])
    assert 10 <= len(runs) <= 12
    runs.clear()
    times_of(run, [1], seconds=1e9, now=lambda: clock[0])
    assert len(runs) == 1001


def test_jobs_and_what_is_found_travel() -> None:
    job = Job("/a", 2, "cpu", True, 0.5, 8)
    assert Job.from_json(job.to_json()) == job
    all_of_it = found(replace(MODEL, size=16), replace(METHOD, stages=STAGES, given=[("y", 0)], sent=["x"]))
    back = found_from_json(all_of_it.to_json())
    assert back.to_json() == all_of_it.to_json()
    assert back.models == all_of_it.models
    assert back.methods[0].stages == STAGES


def stage(index: int, kind: StageKind, target: str, function: object = None) -> StageDefinition:
    return StageDefinition(index, kind, target, function, (ValueRef(0, 0),), 1, False, 0, target)  # type: ignore[arg-type]


def test_a_clock_adds_up_functions_and_generators() -> None:
    def plain(x: int) -> int:
        time.sleep(0.002)
        return x

    def items(batch: list[int]):  # type: ignore[no-untyped-def]
        for x in batch:
            time.sleep(0.002)
            yield x

    clock = StageClock()
    stages = (stage(1, StageKind.FUNCTION, "plain", plain), stage(2, StageKind.FUNCTION, "items", items))
    method = clock.watching(MethodDefinition("m", ("x",), ("y",), stages, (ValueRef(2, 0),)))
    assert method.stages[0].function(7) == 7  # type: ignore[misc]
    assert list(method.stages[1].function([1, 2, 3])) == [1, 2, 3]  # type: ignore[misc]
    assert clock.seconds[name_of(stages[0])] >= 0.002
    assert clock.seconds[name_of(stages[1])] >= 0.006


def test_what_a_function_calls_counts_as_its_own() -> None:
    clock = StageClock()
    clock.measure("outer", lambda: clock.measure("inner", lambda: np.ones(1)))
    assert set(clock.seconds) == {"outer"}
    with pytest.raises(ZeroDivisionError):
        clock.measure("failing", lambda: 1 / 0)
    clock.measure("next", lambda: None)
    assert set(clock.seconds) == {"outer", "failing", "next"}
