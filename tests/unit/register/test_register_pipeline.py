"""Pipelines: how they are registered, and what PipelineServable.run takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.register import PipelineServable, register_method, register_pipeline
from mindspore_serving.server.register.definition import ServableDefinition, StageKind, ValueRef
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.registry import open_definition


@pytest.fixture
def servable() -> ServableDefinition:
    """A servable `add` that declares nothing yet."""
    return open_definition("add", "/servables/add")


@pytest.fixture
def runtime() -> Iterator[list[Any]]:
    """What was run: methods `echo`, `first` with one output, and `bad`, which fails."""
    calls: list[Any] = []

    def run(method: str, instances: Any) -> list[tuple[Any, ...]]:
        calls.append((method, instances))
        if method == "bad":
            raise InvalidInput("it is bad")
        return [tuple(instance)[: 1 if method == "first" else None] for instance in instances]

    set_method_runtime(run)
    yield calls
    set_method_runtime(None)


def refusal(build: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(RuntimeError) as refused:
        build(*args, **kwargs)
    return str(refused.value)


# ---- register_pipeline


def test_a_pipeline_is_a_method_of_one_stage(servable: ServableDefinition) -> None:
    def predict(x1: Any, x2: Any = 3) -> Any:
        """Count up."""
        for _ in range(x1):
            x2 += 1
        return x1, x2

    assert register_pipeline(output_names=["a", "b"])(predict) is predict
    pipeline = servable.pipelines["predict"]
    assert (pipeline.name, pipeline.input_names, pipeline.output_names) == (
        "predict",
        ("x1", "x2"),
        ("a", "b"),
    )
    (stage,) = pipeline.stages
    assert (stage.kind, stage.target, stage.function, stage.outputs_count) == (
        StageKind.PIPELINE,
        "add.predict",
        predict,
        2,
    )
    assert stage.inputs == (ValueRef(0, 0), ValueRef(0, 1))
    assert pipeline.outputs == (ValueRef(1, 0), ValueRef(1, 1))
    assert pipeline.description == "Count up."
    assert not servable.methods


def test_a_pipeline_hides_the_method_of_its_name(servable: ServableDefinition) -> None:
    def predict(x: Any) -> Any:
        return x

    def other(x: Any) -> Any:
        return x

    register_method(output_names="y")(predict)
    register_method(output_names="y")(other)
    register_pipeline(output_names="z")(predict)
    assert [(method.name, method.output_names) for method in servable.exposed] == [
        ("predict", ("z",)),
        ("other", ("y",)),
    ]


def test_a_pipeline_is_registered_once(servable: ServableDefinition) -> None:
    def predict(x: Any) -> Any:
        return x

    register_pipeline(output_names="y")(predict)
    text = refusal(register_pipeline(output_names="z"), predict)
    assert text.endswith("Pipeline predict has been registered more than once.")


def takes_any(*x: Any) -> Any:
    return x


def takes_named(**x: Any) -> Any:
    return x


def takes_by_name_only(*, x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("function", "kind"),
    [(takes_any, "VAR_POSITIONAL"), (takes_named, "VAR_KEYWORD"), (takes_by_name_only, "KEYWORD_ONLY")],
)
def test_a_parameter_that_is_no_input_is_refused(
    servable: ServableDefinition, function: Any, kind: str
) -> None:
    text = refusal(register_pipeline(output_names="y"), function)
    assert f"'{function.__name__}' input x cannot be {kind} !" in text
    assert not servable.pipelines


@pytest.mark.parametrize("given", [1, None, "", ["y", "y"], ["y", 1]])
def test_wrong_output_names_are_refused(servable: ServableDefinition, given: Any) -> None:
    assert "output_names" in refusal(register_pipeline, output_names=given)


# ---- PipelineServable


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"servable_name": 1}, "Parameter 'servable_name' should be str, but actually <class 'int'>"),
        ({"servable_name": ""}, "Parameter 'servable_name' should not be empty str"),
        ({"method": None}, "Parameter 'method' should be str, but actually <class 'NoneType'>"),
        ({"method": ""}, "Parameter 'method' should not be empty str"),
        ({"version_number": -1}, "Parameter 'version_number' should be >= 0"),
        ({"version_number": "1"}, "Parameter 'version_number' should be int, but actually <class 'str'>"),
        ({"version_number": True}, "Parameter 'version_number' should be int, but actually <class 'bool'>"),
    ],
)
def test_a_wrong_handle_is_refused(values: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"servable_name": "add", "method": "echo", **values}
    assert text in refusal(PipelineServable, **arguments)


def test_one_instance(runtime: list[Any]) -> None:
    assert PipelineServable("add", "echo").run(1, 2) == (1, 2)
    assert PipelineServable("add", "first", 3).run(1, 2) == 1
    assert PipelineServable("add", "echo").run((1, 2)) == (1, 2)
    assert runtime == [("echo", [(1, 2)]), ("first", [(1, 2)]), ("echo", [((1, 2),)])]


def test_a_list_is_several_instances_of_one_input(runtime: list[Any]) -> None:
    assert PipelineServable("add", "echo").run([1, 2, 3]) == [(1,), (2,), (3,)]
    assert runtime == [("echo", [(1,), (2,), (3,)])]


def test_two_lists_are_two_inputs(runtime: list[Any]) -> None:
    assert PipelineServable("add", "echo").run([1], [2]) == ([1], [2])


def test_a_failure_is_told(runtime: list[Any]) -> None:
    assert refusal(PipelineServable("add", "bad").run, 1) == "Run failed: it is bad"


def test_a_method_runs_only_where_it_is_served() -> None:
    assert refusal(PipelineServable("add", "echo").run, 1).startswith("Run failed: method 'echo' runs only")
