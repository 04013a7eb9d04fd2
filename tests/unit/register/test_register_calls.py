"""What an older servable_config.py calls: declare_servable and the call_* stages."""

# Only what is assigned to a name is a stage.
# ruff: noqa: RET504

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mindspore_serving import log
from mindspore_serving.server import register
from mindspore_serving.server.register import (
    AclOptions,
    GpuOptions,
    Model,
    add_stage,
    call_postprocess,
    call_postprocess_pipeline,
    call_preprocess,
    call_preprocess_pipeline,
    call_servable,
    declare_model,
    declare_servable,
    register_method,
)
from mindspore_serving.server.register.built_in import BUILT_IN_STAGES, BuiltInStage, add_built_in_stage
from mindspore_serving.server.register.definition import ServableDefinition, StageKind, ValueRef
from mindspore_serving.server.register.registry import open_definition

HOME = "/servables/add"


@pytest.fixture
def servable() -> ServableDefinition:
    """A servable `add` that declares nothing yet."""
    return open_definition("add", HOME)


@pytest.fixture
def two_files(servable: ServableDefinition) -> ServableDefinition:
    """A servable `add` with one model of two subgraphs."""
    declare_servable(["a.mindir", "b.mindir"], "MindIR")
    return servable


@pytest.fixture
def stubs() -> Iterator[None]:
    """Two more built-in stages."""
    names = ("stub_preprocess_cast_int32_to_fp32_cpp", "stub_postprocess_cast_fp32_to_int32_cpp")
    for name, count in zip(names, (2, 1), strict=True):
        add_built_in_stage(BuiltInStage(name, count, count, lambda *values: values))
    yield
    for name in names:
        del BUILT_IN_STAGES[name]


def pair(x1: Any, x2: Any) -> Any:
    return x1, x2


def pairs(instances: Any) -> Any:
    yield from instances


def one(y: Any) -> Any:
    return y


def ones(instances: Any) -> Any:
    for (y,) in instances:
        yield y


def refusal(build: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(RuntimeError) as refused:
        build(*args, **kwargs)
    return str(refused.value)


def register_as_method(function: Callable[..., Any]) -> Any:
    return register_method(output_names="y")(function)


# ---- declare_servable


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("a.mindir", "a.mindir"),
        (["a.mindir", "b.mindir"], "a.mindir;b.mindir"),
        (("a.mindir",), "a.mindir"),
    ],
)
def test_a_servable_file_becomes_a_model(servable: ServableDefinition, given: Any, key: str) -> None:
    model = declare_servable(given, "mindir", False, None, 1)
    assert isinstance(model, Model)
    declared = servable.models[key]
    assert (declared.model_format, declared.with_batch_dim, declared.without_batch_dim_inputs) == (
        "mindir",
        False,
        (1,),
    )


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (
            {"input_format": "NCHW", "precision_mode": "allow_mix_precision"},
            {"device_type": "ascend", "input_format": "NCHW", "precision_mode": "allow_mix_precision"},
        ),
        (AclOptions(output_type="FP16"), {"device_type": "ascend", "output_type": "FP16"}),
        (GpuOptions(precision_mode="fp16"), {"device_type": "gpu", "precision_mode": "fp16"}),
    ],
)
def test_options_of_a_servable(servable: ServableDefinition, options: Any, held: dict[str, str]) -> None:
    declare_servable(servable_file="a.mindir", model_format="OM", options=options)
    assert servable.models["a.mindir"].context.model_context.device_list == [held]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"servable_file": 1}, "Parameter 'servable_file' should be str or tuple/list of str"),
        ({"servable_file": ["a", "a"]}, "in parameter 'servable_file' should not be repeated"),
        (
            {"model_format": "tflite"},
            "model format can only be OM, MindIR, MindIR_Lite, ONNX or Paddle, case ignored",
        ),
        ({"with_batch_dim": 1}, "Parameter 'with_batch_dim' should be bool"),
        (
            {"options": 1},
            "Parameter 'options' should be None, dict of <str,str> or AclOptions, but gotten <class 'int'>",
        ),
        ({"options": {1: "ND"}}, "Parameter 'options key' should be str, but actually <class 'int'>"),
        ({"options": {"input_format": 1}}, "Parameter 'input_format' should be str"),
        ({"options": {"input_format": "XY"}}, "Ascend device info 'input_format' can only be"),
        ({"options": {"unknown": "ND"}}, "unsupported parameter unknown"),
        ({"without_batch_dim_inputs": -1}, "in parameter 'without_batch_dim_inputs' should be >= 0"),
    ],
)
def test_a_wrong_value_of_a_servable_is_refused(
    servable: ServableDefinition, values: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"servable_file": "a.mindir", "model_format": "MindIR", **values}
    assert text in refusal(declare_servable, **arguments)
    assert not servable.models


def test_older_names_say_what_replaces_them(servable: ServableDefinition) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log.debug("the log is set up")  # which would drop a handler that is there before
    handler = Lines()
    logger = logging.getLogger("mindspore_serving")
    logger.addHandler(handler)
    try:
        declare_servable("a.mindir", "MindIR")

        @register_as_method
        def predict(x1: Any, x2: Any) -> Any:
            y = call_servable(x1, x2)
            return y
    finally:
        logger.removeHandler(handler)
    warned = [line for line in lines if "deprecated" in line]
    assert warned == [
        f"'{name}' is deprecated from version 1.5.0 and will be removed in a future version, use "
        f"'mindspore_serving.server.register.{substitute}' instead."
        for name, substitute in (("declare_servable", "declare_model"), ("call_servable", "add_stage"))
    ]


# ---- The stages that call_* make


def test_stages_of_a_method(two_files: ServableDefinition) -> None:
    @register_as_method
    def predict(x1: Any, x2: Any) -> Any:
        """A docstring is no stage."""
        x1, x2 = register.call_preprocess(pair, x1, x2)
        y = call_servable(x1, x2, subgraph=1)
        y = register.call_postprocess(one, y)
        return y

    stages = two_files.methods["predict"].stages
    assert [
        (s.index, s.kind, s.target, s.tag, s.outputs_count, s.takes_batch, s.subgraph) for s in stages
    ] == [
        (1, StageKind.FUNCTION, "add.pair", "Preprocess", 2, False, 0),
        (2, StageKind.MODEL, "a.mindir;b.mindir", "Model 'a.mindir;b.mindir'", 1, False, 1),
        (3, StageKind.FUNCTION, "add.one", "Postprocess", 1, False, 0),
    ]
    assert [s.inputs for s in stages] == [
        (ValueRef(0, 0), ValueRef(0, 1)),
        (ValueRef(1, 0), ValueRef(1, 1)),
        (ValueRef(2, 0),),
    ]
    assert two_files.methods["predict"].outputs == (ValueRef(3, 0),)


def test_functions_for_batches(two_files: ServableDefinition) -> None:
    @register_as_method
    def predict(x1: Any, x2: Any) -> Any:
        x1, x2 = call_preprocess_pipeline(pairs, x1, x2)
        y = call_servable(x1, x2)
        y = call_postprocess_pipeline(ones, y)
        return y

    stages = two_files.methods["predict"].stages
    assert [(s.tag, s.takes_batch, s.batch_size) for s in stages if s.kind is StageKind.FUNCTION] == [
        ("Preprocess", True, 0),
        ("Postprocess", True, 0),
    ]


@pytest.mark.usefixtures("stubs")
def test_built_in_stages_by_name(two_files: ServableDefinition) -> None:
    @register_as_method
    def predict(x1: Any, x2: Any) -> Any:
        x1, x2 = call_preprocess("stub_preprocess_cast_int32_to_fp32_cpp", x1, x2)
        y = call_servable(x1, x2)
        y = call_postprocess_pipeline("stub_postprocess_cast_fp32_to_int32_cpp", y)
        return y

    stages = two_files.methods["predict"].stages
    assert [(s.kind, s.tag, s.takes_batch) for s in stages] == [
        (StageKind.BUILT_IN, "Preprocess", False),
        (StageKind.MODEL, "Model 'a.mindir;b.mindir'", False),
        (StageKind.BUILT_IN, "Postprocess", False),
    ]


@pytest.mark.usefixtures("stubs")
def test_a_built_in_stage_has_one_meaning() -> None:
    text = refusal(add_built_in_stage, BuiltInStage("stub_preprocess_cast_int32_to_fp32_cpp", 1, 1, one))
    assert "has been registered more than once" in text


def test_outputs_come_in_any_form_of_assignment(servable: ServableDefinition) -> None:
    declare_servable("a.mindir", "MindIR")
    counts: list[Any] = []

    @register_method(output_names=["a", "b"])
    def predict(x1: Any, x2: Any) -> Any:
        [x1, x2] = call_preprocess(pair, x1, x2)
        ys = (  # one name, so one output
            call_servable(
                x1,
                x2,
            )
        )
        a, b = call_postprocess(lambda y: (y, y), ys)
        counts.append((x1, x2, ys, a, b))
        x1 = a
        return a, b

    assert [stage.outputs_count for stage in servable.methods["predict"].stages] == [2, 1, 2]


# ---- Order


def servable_twice(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_servable(x1, x2)
    return y


def preprocess_twice(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(pair, x1, x2)
    x1, x2 = call_preprocess(pair, x1, x2)
    y = call_servable(x1, x2)
    return y


def preprocess_twice_in_two_forms(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(pair, x1, x2)
    x1, x2 = call_preprocess_pipeline(pairs, x1, x2)
    y = call_servable(x1, x2)
    return y


def preprocess_after_servable(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    x1, x2 = call_preprocess(pair, x1, x2)
    return y


def preprocess_pipeline_after_servable(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    x1, x2 = call_preprocess_pipeline(pairs, x1, x2)
    return y


def preprocess_after_postprocess(x1: Any, x2: Any) -> Any:
    z = call_postprocess(one, x1)
    x1, x2 = call_preprocess(pair, x1, x2)
    y = call_servable(x1, x2)
    return y, z


def preprocess_pipeline_after_postprocess(x1: Any, x2: Any) -> Any:
    z = call_postprocess_pipeline(ones, x1)
    x1, x2 = call_preprocess_pipeline(pairs, x1, x2)
    y = call_servable(x1, x2)
    return y, z


def servable_after_postprocess(x1: Any, x2: Any) -> Any:
    x1 = call_postprocess_pipeline(ones, x1)
    y = call_servable(x1, x2)
    return y


def postprocess_twice(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_postprocess(one, y)
    y = call_postprocess_pipeline(ones, y)
    return y


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (
            preprocess_twice,
            "call_preprocess or call_preprocess_pipeline should not be invoked more than once",
        ),
        (
            preprocess_twice_in_two_forms,
            "call_preprocess or call_preprocess_pipeline should not be invoked more than once",
        ),
        (preprocess_after_servable, "call_servable should be invoked after call_preprocess"),
        (
            preprocess_pipeline_after_servable,
            "call_servable should be invoked after call_preprocess_pipeline",
        ),
        (
            preprocess_after_postprocess,
            "call_postprocess or call_postprocess_pipeline should be invoked after call_preprocess",
        ),
        (
            preprocess_pipeline_after_postprocess,
            "call_postprocess or call_postprocess_pipeline should be invoked after call_preprocess_pipeline",
        ),
        (servable_twice, "call_servable should not be invoked more than once"),
        (
            servable_after_postprocess,
            "call_postprocess or call_postprocess_pipeline should be invoked after call_servable",
        ),
        (
            postprocess_twice,
            "call_postprocess or call_postprocess_pipeline should not be invoked more than once",
        ),
    ],
)
def test_order_of_stages(two_files: ServableDefinition, method: Any, text: str) -> None:
    assert refusal(register_as_method, method) == f"Check failed in method '{method.__name__}', {text}"
    assert not two_files.methods


# ---- What the source of a method may hold


def with_if(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    if x1:
        y = call_postprocess(one, y)
    return y


def with_for(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(pair, x1, x2)
    for _ in range(2):
        pass
    y = call_servable(x1, x2)
    return y


def with_while(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess_pipeline(pairs, x1, x2)
    y = call_servable(x1, x2)
    while False:
        pass
    return y


def with_another_call(x1: Any, x2: Any) -> Any:
    x2 = one(x2)
    y = call_servable(x1, x2)
    y = call_postprocess_pipeline(ones, y)
    return y


def with_add_stage_before(x1: Any, x2: Any) -> Any:
    x1, x2 = add_stage(pair, x1, x2, outputs_count=2)
    y = call_servable(x1, x2)
    return y


def with_add_stage_after(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = add_stage(one, y, outputs_count=1)
    return y


def with_add_stage_instead(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(pair, x1, x2)
    y = add_stage(pair, x1, x2, outputs_count=1)
    return y


@pytest.mark.parametrize(
    ("method", "names", "where"),
    [
        (with_if, "call_servable", "If: line 3 in with_if, code: if x1:"),
        (
            with_for,
            "call_preprocess;call_servable",
            "For: line 3 in with_for, code: for _ in range(2):",
        ),
        (
            with_while,
            "call_preprocess_pipeline;call_servable",
            "While: line 4 in with_while, code: while False:",
        ),
        (
            with_another_call,
            "call_servable;call_postprocess_pipeline",
            "Assign: line 2 in with_another_call, code: x2 = one(x2)",
        ),
        (
            with_add_stage_before,
            "call_servable",
            "Assign: line 2 in with_add_stage_before, code: x1, x2 = add_stage(pair, x1, x2, outputs_count=2)",
        ),
        (
            with_add_stage_after,
            "call_servable",
            "Assign: line 3 in with_add_stage_after, code: y = add_stage(one, y, outputs_count=1)",
        ),
        (
            with_add_stage_instead,
            "call_preprocess",
            "Assign: line 3 in with_add_stage_instead, code: y = add_stage(pair, x1, x2, outputs_count=1)",
        ),
    ],
)
def test_complex_statements_beside_calls(
    two_files: ServableDefinition, method: Any, names: str, where: str
) -> None:
    assert refusal(register_as_method, method) == (
        f"Failed to parse method '{method.__name__}', complex statements such as conditions and loops are not "
        f"supported in register_method when the interface '{names}' is used, use 'add_stage' to replace '{names}', "
        f"code {where}"
    )
    assert not two_files.methods


def inside_if(x1: Any, x2: Any) -> Any:
    if x1 is not None:
        y = call_servable(x1, x2)
    return y


def inside_for(x1: Any, x2: Any) -> Any:
    for _ in range(1):
        x1, x2 = call_preprocess(pair, x1, x2)
    return x1


def inside_return(x1: Any, x2: Any) -> Any:
    return call_servable(x1, x2)


def without_a_name(x1: Any, x2: Any) -> Any:
    call_preprocess_pipeline(pairs, x1, x2)
    return x1


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (inside_if, "call_servable"),
        (inside_for, "call_preprocess"),
        (inside_return, "call_servable"),
        (without_a_name, "call_preprocess_pipeline"),
        (lambda x1, x2: call_servable(x1, x2), "call_servable"),
    ],
)
def test_calls_that_the_source_hides(two_files: ServableDefinition, method: Any, name: str) -> None:
    assert refusal(register_as_method, method) == (
        f"Failed to parse method '{method.__name__}', complex statements such as conditions and loops are not "
        f"supported in register_method when the interface '{name}' is used, use 'add_stage' to replace '{name}'"
    )


def test_a_method_without_source(two_files: ServableDefinition) -> None:
    scope: dict[str, Any] = {"call_servable": call_servable, "one": one, "add_stage": add_stage}
    exec("def hidden(x1, x2):\n    y = call_servable(x1, x2)\n    return y", scope)
    exec("def plain(x):\n    return add_stage(one, x, outputs_count=1)", scope)
    assert "when the interface 'call_servable' is used" in refusal(register_as_method, scope["hidden"])
    register_as_method(scope["plain"])
    assert list(two_files.methods) == ["plain"]


def dropped(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    call_postprocess(one, y)
    return y


def nested(x1: Any, x2: Any) -> Any:
    y = call_servable(call_preprocess(one, x1), x2)
    return y


def returned_stage(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    return add_stage(one, y, outputs_count=1)


@pytest.mark.parametrize(
    ("method", "written", "made"), [(dropped, 1, 2), (nested, 1, 2), (returned_stage, 1, 2)]
)
def test_stages_in_the_source_and_stages_made(
    two_files: ServableDefinition, method: Any, written: int, made: int
) -> None:
    assert refusal(register_as_method, method).startswith(
        f"Failed to parse method {method.__name__}, the number of stages obtained through the AST {written} is "
        f"inconsistent with the running result {made}. "
    )


def without_servable(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(pair, x1, x2)
    return x1


def test_a_method_calls_the_servable(two_files: ServableDefinition) -> None:
    assert "Not find the invoke of 'call_servable'" in refusal(register_as_method, without_servable)


def no_input_of_servable(x1: Any, x2: Any) -> Any:
    y = call_servable()
    return y


def no_input_of_preprocess(x1: Any, x2: Any) -> Any:
    x1 = call_preprocess(one)
    y = call_servable(x1, x2)
    return y


def no_input_of_preprocess_pipeline(x1: Any, x2: Any) -> Any:
    x1 = call_preprocess_pipeline(ones)
    y = call_servable(x1, x2)
    return y


def no_input_of_postprocess(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_postprocess(one)
    return y


def no_argument_of_postprocess_pipeline(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_postprocess_pipeline()  # type: ignore[call-arg]
    return y


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (no_input_of_servable, "call_servable"),
        (no_input_of_preprocess, "call_preprocess"),
        (no_input_of_preprocess_pipeline, "call_preprocess_pipeline"),
        (no_input_of_postprocess, "call_postprocess"),
        (no_argument_of_postprocess_pipeline, "call_postprocess_pipeline"),
    ],
)
def test_a_call_has_inputs(two_files: ServableDefinition, method: Any, name: str) -> None:
    assert f"Invalid '{name}' invoke args" in refusal(register_as_method, method)


# ---- One model, and what the stages take


def plain(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    return y


def test_no_model(servable: ServableDefinition) -> None:
    assert refusal(register_as_method, plain) == (
        "There is no model declared, you can use declare_model to declare models."
    )


def test_two_models(servable: ServableDefinition) -> None:
    declare_servable("a.mindir", "MindIR")
    declare_model("b.mindir", "MindIR")
    assert refusal(register_as_method, plain) == (
        "There are more than one servable declared when the interface 'call_servable' is used, use 'add_stage' to "
        "replace 'call_servable'"
    )


@pytest.mark.parametrize(
    ("subgraph", "text"),
    [
        (2, "does not have subgraph of index 2, the subgraph count of the model is 2"),
        (-1, "Parameter 'subgraph' should be >= 0"),
        ("1", "Parameter 'subgraph' should be int, but actually <class 'str'>"),
        (True, "Parameter 'subgraph' should be int, but actually <class 'bool'>"),
    ],
)
def test_a_wrong_subgraph(two_files: ServableDefinition, subgraph: Any, text: str) -> None:
    def predict(x1: Any, x2: Any) -> Any:
        y = call_servable(x1, x2, subgraph=subgraph)
        return y

    assert text in refusal(register_as_method, predict)


def test_each_subgraph_has_counts_of_its_own(two_files: ServableDefinition) -> None:
    @register_as_method
    def first(x1: Any, x2: Any) -> Any:
        y = call_servable(x1, x2)
        return y

    @register_method(output_names=["y", "z"])
    def second(x1: Any) -> Any:
        y, z = call_servable(x1, subgraph=1)
        return y, z

    def third(x1: Any, x2: Any) -> Any:
        y = call_servable(x1, x2, subgraph=1)
        return y

    key = "a.mindir;b.mindir"
    assert two_files.model_arity == {(key, 0): (2, 1), (key, 1): (1, 2)}
    assert refusal(register_as_method, third) == (
        f"Raise failed: RegisterInputOutputInfo failed, inputs count 2 not match old count 1, model: {key}, subgraph: 1"
    )


def wrong_arity(x1: Any, x2: Any) -> Any:
    x1, x2 = call_preprocess(one, x1, x2)
    y = call_servable(x1, x2)
    return y


def no_placeholder(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, 5)
    return y


def unknown_built_in(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_postprocess("argmin_cpp", y)
    return y


def no_function(x1: Any, x2: Any) -> Any:
    x1 = call_preprocess_pipeline(5, x1)  # type: ignore[arg-type]
    y = call_servable(x1, x2)
    return y


def a_model_is_no_function(x1: Any, x2: Any) -> Any:
    y = call_servable(x1, x2)
    y = call_postprocess(Model("a.mindir;b.mindir"), y)  # type: ignore[arg-type]
    return y


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (wrong_arity, "function one input args count 1 not match the count 2 registered in method"),
        (
            no_placeholder,
            "Each value of parameter *args is a placeholder for data and must come from the method inputs or the "
            "outputs of add_stage",
        ),
        (unknown_built_in, "Function 'argmin_cpp' is not defined"),
        (
            no_function,
            "Check failed in method 'no_function', the parameter 'preprocess_fun' of call_preprocess_pipeline must be "
            "function or str, now is <class 'int'>",
        ),
        (
            a_model_is_no_function,
            "the parameter 'postprocess_fun' of call_postprocess must be function or str, now is",
        ),
    ],
)
def test_what_a_call_refuses(two_files: ServableDefinition, method: Any, text: str) -> None:
    assert text in refusal(register_as_method, method)


def test_a_function_has_the_same_counts_everywhere(two_files: ServableDefinition) -> None:
    def first(x1: Any, x2: Any) -> Any:
        x1, x2 = call_preprocess(pair, x1, x2)
        y = call_servable(x1, x2)
        return y

    def second(x1: Any, x2: Any) -> Any:
        x1 = call_preprocess(pair, x1, x2)
        y = call_servable(x1, x2)
        return y

    register_as_method(first)
    assert refusal(register_as_method, second) == (
        "Stage function 'add.pair' outputs count 1 not match last registered count 2, method name 'second'"
    )


def test_an_undefined_function(two_files: ServableDefinition) -> None:
    def predict(x1: Any, x2: Any) -> Any:
        x1, x2 = call_preprocess(add_trans_datatype, x1, x2)  # type: ignore[name-defined]  # noqa: F821
        y = call_servable(x1, x2)
        return y

    with pytest.raises(NameError, match="name 'add_trans_datatype' is not defined"):
        register_as_method(predict)


@pytest.mark.parametrize(
    "call",
    [
        lambda: call_servable(1),
        lambda: call_preprocess(one, 1),
        lambda: call_preprocess_pipeline(ones, 1),
        lambda: call_postprocess(one, 1),
        lambda: call_postprocess_pipeline(ones, 1),
    ],
)
def test_a_call_belongs_into_a_method(two_files: ServableDefinition, call: Callable[[], Any]) -> None:
    text = refusal(call)
    assert "can only be called in a function that is decorated with 'register_method'" in text
    assert text.startswith("'call_")
