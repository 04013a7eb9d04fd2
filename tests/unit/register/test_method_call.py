"""`register.call`: a stage that is a method of another servable, or another one of the same."""

from __future__ import annotations

from typing import Any

import pytest

from mindspore_serving.server.register import (
    Parameters,
    PipelineServable,
    add_stage,
    call,
    declare_model,
    register_method,
    register_pipeline,
)
from mindspore_serving.server.register.definition import ServableDefinition, StageKind, ValueRef
from mindspore_serving.server.register.pipeline import set_method_runtime
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.signature import CalledMethod


@pytest.fixture
def servable() -> ServableDefinition:
    """A servable `joiner` that declares nothing yet."""
    return open_definition("joiner", "/servables/joiner")


def test_a_call_is_a_stage(servable: ServableDefinition) -> None:
    @register_method(output_names=["label", "score"])
    def predict(image):
        box = call("detector", "detect", image)
        return call("classifier", "predict", image, box, version_number=3, outputs_count=2, tag="its label")

    first, second = servable.methods["predict"].stages
    assert first.kind is second.kind is StageKind.CALL
    assert first.called == CalledMethod("predict", "detector", "detect", 0, 1, 1, (0,), (-1, -1))
    assert (first.target, first.tag, first.inputs) == (
        "detector.detect",
        "Method 'detector.detect'",
        (ValueRef(0, 0),),
    )
    assert second.called == CalledMethod("predict", "classifier", "predict", 3, 2, 2, (0, -1), (0, 1))
    assert (second.target, second.tag) == ("classifier.predict version 3", "its label")
    assert second.inputs == (ValueRef(0, 0), ValueRef(1, 0))
    assert servable.methods["predict"].outputs == (ValueRef(2, 0), ValueRef(2, 1))


def test_calls_are_told_once_each(servable: ServableDefinition) -> None:
    @register_method(output_names=["a", "b"])
    def predict(x):
        return call("other", "m", x), call("other", "m", x)

    @register_method(output_names=["y"])
    def again(x):
        call("other", "m", x)
        call("other", "m", x)
        return add_stage(declare_model("m.mindir", "MindIR"), x, outputs_count=1)

    assert servable.calls == (
        CalledMethod("predict", "other", "m", 0, 1, 1, (0,), (0, -1)),
        CalledMethod("predict", "other", "m", 0, 1, 1, (0,), (-1, 0)),
        CalledMethod("again", "other", "m", 0, 1, 1, (0,), (-1,), beside_models=True),
    )


def test_parts_of_a_call_are_told_by_their_places(servable: ServableDefinition) -> None:
    @register_method(output_names=["a", "b", "c"])
    def predict(x, y):
        c, d = call("other", "m", y, x, y, outputs_count=2)
        return d, x, c

    [called] = servable.calls
    assert (called.given, called.results) == ((1, 0, 1), (1, -1, 0))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"servable_name": 1}, "Parameter 'servable_name' should be str, but actually <class 'int'>"),
        ({"servable_name": ""}, "Parameter 'servable_name' should not be empty str"),
        ({"method": None}, "Parameter 'method' should be str, but actually <class 'NoneType'>"),
        ({"version_number": -1}, "Parameter 'version_number' should be >= 0"),
        ({"outputs_count": 0}, "Parameter 'outputs_count' should be >= 1"),
        ({"tag": 5}, "Parameter 'tag' should be str, but actually <class 'int'>"),
        ({"method": "@call_model_0"}, "a method that clients can call, but actually '@call_model_0'"),
        ({"servable_name": "joiner", "method": "predict"}, "it calls itself, which would never end"),
    ],
)
def test_a_wrong_call_is_refused(servable: ServableDefinition, given: dict[str, Any], text: str) -> None:
    def predict(x):
        arguments = {"servable_name": "other", "method": "m", **given}
        name, method = arguments.pop("servable_name"), arguments.pop("method")
        return call(name, method, x, **arguments)

    with pytest.raises(RuntimeError, match=r".") as refused:
        register_method(output_names=["y"])(predict)
    assert text in str(refused.value)
    assert not servable.methods


def test_only_placeholders_can_be_given(servable: ServableDefinition) -> None:
    def predict(x):
        return call("other", "m", 5)

    with pytest.raises(RuntimeError, match="must come from the method inputs or the outputs of add_stage"):
        register_method(output_names=["y"])(predict)


def test_parameters_of_requests_are_not_passed_on(servable: ServableDefinition) -> None:
    def predict(x, parameters):
        return call("other", "m", x, parameters)

    with pytest.raises(RuntimeError, match=r"go to Python functions only, now they go to method 'other\.m'"):
        register_method(output_names=["y"], inputs={"parameters": Parameters()})(predict)


def test_a_call_belongs_into_a_method(servable: ServableDefinition) -> None:
    with pytest.raises(RuntimeError, match="'call' can only be called in a function that is decorated"):
        call("other", "m")


def test_outputs_of_a_call_go_into_other_stages(servable: ServableDefinition) -> None:
    def joined(a, b):
        return a

    @register_method(output_names=["y"])
    def predict(x):
        a, b = call("other", "m", x, outputs_count=2)
        return add_stage(joined, a, b, outputs_count=1)

    assert servable.methods["predict"].stages[1].inputs == (ValueRef(1, 0), ValueRef(1, 1))


def test_a_pipeline_reaches_other_servables_by_a_handle_of_the_top_level(
    servable: ServableDefinition,
) -> None:
    asked: list[Any] = []

    def run(method: str | CalledMethod, instances: Any) -> list[tuple[Any, ...]]:
        asked.append((method, instances))
        return [(1,) for _ in instances]

    other, own = PipelineServable("other", "m", 2), PipelineServable("joiner", "m")

    @register_pipeline(output_names=["y"])
    def predict(x):
        return other.run(x)

    called = CalledMethod("", "other", "m", 2)
    assert servable.calls == (called,)
    set_method_runtime(run)
    try:
        assert (other.run(5), own.run([6, 7])) == (1, [(1,), (1,)])
    finally:
        set_method_runtime(None)
    assert asked == [(called, [(5,)]), ("m", [(6,), (7,)])]
