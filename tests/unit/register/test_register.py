"""What servable_config.py calls: declare_model, register_method, add_stage and Model.call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server import register
from mindspore_serving.server.register import (
    AscendDeviceInfo,
    Context,
    GpuOptions,
    Model,
    add_stage,
    declare_model,
    register_method,
)
from mindspore_serving.server.register.definition import ServableDefinition, StageKind, ValueRef
from mindspore_serving.server.register.model import set_runtime
from mindspore_serving.server.register.registry import open_definition

HOME = "/servables/add"


@pytest.fixture
def servable() -> ServableDefinition:
    """A servable `add` that declares nothing yet."""
    return open_definition("add", HOME)


def add_one(x: Any) -> Any:
    return x + 1


def add_two(x1: Any, x2: Any) -> Any:
    return x1 + x2


def each(instances: Any) -> Any:
    for x1, x2 in instances:
        yield x1 + x2


def refusal(build: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(RuntimeError) as refused:
        build(*args, **kwargs)
    return str(refused.value)


# ---- declare_model


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ("tensor_add.mindir", ("tensor_add.mindir",)),
        (["tensor_add.mindir"], ("tensor_add.mindir",)),
        (("a.mindir", "b.mindir"), ("a.mindir", "b.mindir")),
        (["a.mindir", "b.mindir", "c.mindir"], ("a.mindir", "b.mindir", "c.mindir")),
    ],
)
def test_a_model_is_known_by_its_files(
    servable: ServableDefinition, given: Any, files: tuple[str, ...]
) -> None:
    model = declare_model(given, "MindIR")
    assert isinstance(model, Model)
    assert list(servable.models) == [";".join(files)]
    assert servable.models[";".join(files)].files == files


def test_defaults_of_a_model(servable: ServableDefinition) -> None:
    declare_model("a.mindir", "MindIR")
    declared = servable.models["a.mindir"]
    assert declared.with_batch_dim is True
    assert declared.without_batch_dim_inputs == ()
    assert declared.config_file is None
    assert declared.max_batch_size == 64
    assert declared.strict_shape is False
    assert declared.context.model_context.device_list == []


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("OM", "om"),
        ("om", "om"),
        ("MindIR", "mindir"),
        ("MINDIR", "mindir"),
        ("MindIR_Lite", "mindir_lite"),
        ("mindir_opt", "mindir_lite"),
        ("MindIR_Opt", "mindir_lite"),
    ],
)
def test_formats_ignore_case(servable: ServableDefinition, given: str, held: str) -> None:
    declare_model("a.mindir", given)
    assert servable.models["a.mindir"].model_format == held


@pytest.mark.parametrize("given", ["tflite", "mind ir", "ckpt"])
def test_other_formats_are_refused(servable: ServableDefinition, given: str) -> None:
    text = refusal(declare_model, "a.mindir", given)
    assert "model format can only be OM, MindIR, MindIR_Lite, ONNX or Paddle, case ignored" in text
    assert not servable.models


@pytest.mark.parametrize(
    ("given", "held"),
    [(None, ()), ((), ()), ([], ()), (0, (0,)), (1, (1,)), ((0, 2), (0, 2)), ([1], (1,))],
)
def test_inputs_without_batch_dimension(
    servable: ServableDefinition, given: Any, held: tuple[int, ...]
) -> None:
    declare_model("a.mindir", "MindIR", without_batch_dim_inputs=given)
    assert servable.models["a.mindir"].without_batch_dim_inputs == held


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"model_file": 1},
            "Parameter 'model_file' should be str or tuple/list of str, but actually <class 'int'>",
        ),
        ({"model_file": ""}, "not be empty str"),
        (
            {"model_file": ["a.mindir", 1]},
            "The item of parameter 'model_file' should be str, but actually <class 'int'>",
        ),
        ({"model_file": ["a.mindir", ""]}, "The item of parameter 'model_file' should not be empty str"),
        (
            {"model_file": ["a.mindir", "b.mindir", "a.mindir"]},
            "The item value 'a.mindir' in parameter 'model_file' should not be repeated",
        ),
        ({"model_format": 1}, "Parameter 'model_format' should be str, but actually <class 'int'>"),
        ({"model_format": ""}, "Parameter 'model_format' should not be empty str"),
        ({"with_batch_dim": 1}, "Parameter 'with_batch_dim' should be bool, but actually <class 'int'>"),
        (
            {"with_batch_dim": None},
            "Parameter 'with_batch_dim' should be bool, but actually <class 'NoneType'>",
        ),
        (
            {"without_batch_dim_inputs": "0"},
            "Parameter 'without_batch_dim_inputs' should be int or tuple/list of int, but actually <class 'str'>",
        ),
        (
            {"without_batch_dim_inputs": (0, -1)},
            "The item value '-1' in parameter 'without_batch_dim_inputs' should be >= 0",
        ),
        (
            {"without_batch_dim_inputs": (1, 1)},
            "The item value '1' in parameter 'without_batch_dim_inputs' should not be repeated",
        ),
        (
            {"without_batch_dim_inputs": (0, "1")},
            "The item value '1' in parameter 'without_batch_dim_inputs' should be int, but actually <class 'str'>",
        ),
        ({"context": 1}, "Parameter 'context' should be Context, but gotten <class 'int'>"),
        ({"context": GpuOptions}, "Parameter 'context' should be Context, but gotten <class 'type'>"),
        (
            {"options": {"input_format": "ND"}},
            "Parameter 'options' should be None, GpuOptions or AclOptions, but gotten <class 'dict'>",
        ),
        ({"config_file": 1}, "Parameter 'config_file' should be str, but actually <class 'int'>"),
        ({"config_file": ""}, "Parameter 'config_file' should not be empty str"),
        ({"strict_shape": 1}, "Parameter 'strict_shape' should be bool, but actually <class 'int'>"),
        ({"max_batch_size": 0}, "Parameter 'max_batch_size' should be >= 1"),
        ({"max_batch_size": "8"}, "Parameter 'max_batch_size' should be int, but actually <class 'str'>"),
    ],
)
def test_a_wrong_value_of_a_model_is_refused(
    servable: ServableDefinition, values: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"model_file": "a.mindir", "model_format": "MindIR", **values}
    assert text in refusal(declare_model, **arguments)
    assert not servable.models


@pytest.mark.parametrize(
    ("given", "held"), [("config.ini", f"{HOME}/config.ini"), ("/etc/config.ini", "/etc/config.ini")]
)
def test_a_config_file_lies_beside_servable_config(
    servable: ServableDefinition, given: str, held: str
) -> None:
    declare_model("a.mindir", "MindIR", config_file=given)
    assert servable.models["a.mindir"].config_file == held


def test_older_options_become_the_context(servable: ServableDefinition) -> None:
    declare_model("a.mindir", "MindIR", options=GpuOptions(precision_mode="fp16"))
    held = servable.models["a.mindir"].context.model_context
    assert held.device_list == [{"device_type": "gpu", "precision_mode": "fp16"}]


def test_a_context_wins_over_older_options(servable: ServableDefinition) -> None:
    context = Context(thread_num=2)
    context.append_device_info(AscendDeviceInfo())
    options: Any = "not looked at"
    declare_model("a.mindir", "MindIR", context=context, options=options)
    held = servable.models["a.mindir"].context.model_context
    assert (held.thread_num, held.device_list) == (2, [{"device_type": "ascend"}])


def test_several_models(servable: ServableDefinition) -> None:
    declare_model("a.mindir", "MindIR")
    declare_model(["b.mindir", "c.mindir"], "MindIR")
    assert list(servable.models) == ["a.mindir", "b.mindir;c.mindir"]


@pytest.mark.parametrize(
    ("first", "second", "used"),
    [
        ("a.mindir", ["a.mindir", "b.mindir"], "a.mindir"),
        (["a.mindir", "b.mindir"], "b.mindir", "b.mindir"),
        (["a.mindir", "b.mindir"], ["b.mindir", "a.mindir"], "b.mindir"),
        (["a.mindir", "b.mindir"], ["c.mindir", "a.mindir"], "a.mindir"),
    ],
)
def test_a_file_belongs_to_one_model(
    servable: ServableDefinition, first: Any, second: Any, used: str
) -> None:
    declare_model(first, "MindIR")
    text = refusal(declare_model, second, "MindIR")
    assert text.startswith("Raise failed: Declare model [")
    assert text.endswith(f"] failed, model file '{used}' has already been used")
    assert len(servable.models) == 1


@pytest.mark.parametrize("files", ["a.mindir", ["a.mindir", "b.mindir"]])
def test_a_model_is_declared_once(servable: ServableDefinition, files: Any) -> None:
    declare_model(files, "MindIR")
    text = refusal(declare_model, files, "MindIR")
    assert text.startswith("Raise failed: Declare model [")
    assert text.endswith("failed, model file 'a.mindir' has already been used")


# ---- register_method


def test_a_method_has_the_names_of_its_function(servable: ServableDefinition) -> None:
    def add_common(x1: Any, x2: Any) -> Any:
        return add_stage(add_two, x1, x2, outputs_count=1)

    assert register_method(output_names=["y"])(add_common) is add_common
    method = servable.methods["add_common"]
    assert (method.name, method.input_names, method.output_names) == ("add_common", ("x1", "x2"), ("y",))
    assert method.outputs == (ValueRef(1, 0),)


@pytest.mark.parametrize(
    ("given", "held"), [("y", ("y",)), (["y"], ("y",)), (("y",), ("y",)), (["z", "y"], ("z", "y"))]
)
def test_output_names(servable: ServableDefinition, given: Any, held: tuple[str, ...]) -> None:
    @register_method(output_names=given)
    def echo(x: Any) -> Any:
        return [x] * len(held)

    assert servable.methods["echo"].output_names == held


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (1, "Parameter 'output_names' should be str or tuple/list of str, but actually <class 'int'>"),
        (
            None,
            "Parameter 'output_names' should be str or tuple/list of str, but actually <class 'NoneType'>",
        ),
        ("", "not be empty str"),
        (["y", 1], "The item of parameter 'output_names' should be str, but actually <class 'int'>"),
        (["y", ""], "The item of parameter 'output_names' should not be empty str"),
        (["y", "y"], "The item value 'y' in parameter 'output_names' should not be repeated"),
    ],
)
def test_wrong_output_names_are_refused(servable: ServableDefinition, given: Any, text: str) -> None:
    assert text in refusal(register_method, output_names=given)


def test_a_method_may_echo_its_inputs(servable: ServableDefinition) -> None:
    @register_method(output_names=["y2", "y1"])
    def swap(x1: Any, x2: Any) -> Any:
        return x2, x1

    method = servable.methods["swap"]
    assert (method.stages, method.outputs) == ((), (ValueRef(0, 1), ValueRef(0, 0)))


@pytest.mark.parametrize("kind", [tuple, list])
def test_outputs_come_as_tuple_or_list(servable: ServableDefinition, kind: Any) -> None:
    @register_method(output_names=["a", "b", "c"])
    def split(x: Any) -> Any:
        one, two = add_stage(add_one, x, outputs_count=2)
        return kind([two, x, one])

    assert servable.methods["split"].outputs == (ValueRef(1, 1), ValueRef(0, 0), ValueRef(1, 0))


def test_defaults_of_parameters_are_ignored(servable: ServableDefinition) -> None:
    @register_method(output_names="y")
    def echo(x1: Any, x2: Any = 3) -> Any:
        return x2

    assert servable.methods["echo"].input_names == ("x1", "x2")
    assert servable.methods["echo"].outputs == (ValueRef(0, 1),)


def test_a_stage_may_use_any_earlier_value(servable: ServableDefinition) -> None:
    @register_method(output_names="y")
    def diamond(x1: Any, x2: Any) -> Any:
        left = add_stage(add_one, x1, outputs_count=1)
        right = add_stage(add_two, x1, x2, outputs_count=1)
        return add_stage(add_two, right, left, outputs_count=1)

    stages = servable.methods["diamond"].stages
    assert [stage.index for stage in stages] == [1, 2, 3]
    assert [stage.inputs for stage in stages] == [
        (ValueRef(0, 0),),
        (ValueRef(0, 0), ValueRef(0, 1)),
        (ValueRef(2, 0), ValueRef(1, 0)),
    ]


@pytest.mark.parametrize("rounds", [0, 1, 5])
def test_the_body_runs_at_registration(servable: ServableDefinition, rounds: int) -> None:
    @register_method(output_names="y")
    def repeated(x: Any) -> Any:
        for _ in range(rounds):
            x = add_stage(add_one, x, outputs_count=1)
        return x

    method = servable.methods["repeated"]
    assert len(method.stages) == rounds
    assert method.outputs == (ValueRef(rounds, 0),)


def takes_any(*x: Any) -> Any:
    return x[0]


def takes_named(**x: Any) -> Any:
    return x["x"]


def takes_by_name_only(x1: Any, *, x2: Any) -> Any:
    return x1, x2


@pytest.mark.parametrize(
    ("function", "parameter", "kind"),
    [
        (takes_any, "x", "VAR_POSITIONAL"),
        (takes_named, "x", "VAR_KEYWORD"),
        (takes_by_name_only, "x2", "KEYWORD_ONLY"),
    ],
)
def test_a_parameter_that_is_no_input_is_refused(
    servable: ServableDefinition, function: Any, parameter: str, kind: str
) -> None:
    text = refusal(register_method(output_names="y"), function)
    assert f"'{function.__name__}' input {parameter} cannot be {kind} !" in text
    assert not servable.methods


@pytest.mark.parametrize("returned", [1, None, "y", [1.0], {}])
def test_a_value_of_its_own_cannot_be_returned(servable: ServableDefinition, returned: Any) -> None:
    def odd(x: Any) -> Any:
        return returned

    assert (
        "Each value returned is a placeholder for data and must come from the method inputs or the outputs of "
        "add_stage"
    ) in refusal(register_method(output_names="y"), odd)
    assert not servable.methods


def test_a_value_of_another_method_cannot_be_used(servable: ServableDefinition) -> None:
    kept: list[Any] = []

    @register_method(output_names="y")
    def keeper(x1: Any, x2: Any) -> Any:
        kept.append(add_stage(add_two, x1, x2, outputs_count=1))
        return kept[0]

    def thief(x: Any) -> Any:
        return kept[0]

    def consumer(x: Any) -> Any:
        return add_stage(add_one, kept[0], outputs_count=1)

    for function in (thief, consumer):
        assert "must come from the method inputs or the outputs of add_stage" in refusal(
            register_method(output_names="y"), function
        )
    assert list(servable.methods) == ["keeper"]


@pytest.mark.parametrize(
    ("names", "count"), [(["y"], 2), (["y1", "y2"], 1), (["y1", "y2"], 3), (["y1", "y2", "y3"], 0)]
)
def test_as_many_values_as_names(servable: ServableDefinition, names: list[str], count: int) -> None:
    def echo(x: Any) -> Any:
        return [x] * count

    text = refusal(register_method(output_names=names), echo)
    assert f"Method return output size {count} not match registered {len(names)}" in text


def test_a_method_is_registered_once(servable: ServableDefinition) -> None:
    def echo(x: Any) -> Any:
        return x

    register_method(output_names="y")(echo)
    text = refusal(register_method(output_names="z"), echo)
    assert text.endswith("Method echo has been registered more than once.")
    assert servable.methods["echo"].output_names == ("y",)


def test_an_exception_in_the_body_reaches_the_user(servable: ServableDefinition) -> None:
    def odd(x: Any) -> Any:
        return add_trans_datatype(x)  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(NameError, match="name 'add_trans_datatype' is not defined"):
        register_method(output_names="y")(odd)
    assert not servable.methods

    @register_method(output_names="y")  # the next one is not disturbed
    def echo(x: Any) -> Any:
        return x

    assert list(servable.methods) == ["echo"]


# ---- add_stage


def in_method(build: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """A call that registers a method `predict`, of which `build` is the body."""

    def predict(x1: Any, x2: Any) -> Any:
        return build(x1, x2)

    return lambda: register_method(output_names="y")(predict)


def test_one_output_is_a_value_and_more_are_a_tuple(servable: ServableDefinition) -> None:
    seen: list[Any] = []

    @register_method(output_names="y")
    def split(x: Any) -> Any:
        seen.append(add_stage(add_one, x, outputs_count=1))
        seen.append(add_stage(each, x, outputs_count=3, batch_size=4))
        return seen[0]

    assert not isinstance(seen[0], tuple)
    assert isinstance(seen[1], tuple)
    assert len(seen[1]) == 3


def test_a_wrong_number_of_names_for_outputs(servable: ServableDefinition) -> None:
    def too_many(x1: Any, x2: Any) -> Any:
        first, _ = add_stage(add_two, x1, x2, outputs_count=3)
        return first

    def one(x1: Any, x2: Any) -> Any:
        first, _ = add_stage(add_one, x1, outputs_count=1)
        return first

    with pytest.raises(ValueError, match=r"too many values to unpack \(expected 2\)"):
        in_method(too_many)()
    with pytest.raises(TypeError, match="cannot unpack non-iterable _TensorDef object"):
        in_method(one)()


def test_outputs_count_is_a_keyword(servable: ServableDefinition) -> None:
    untyped: Any = add_stage
    for call in (lambda x, _: untyped(add_one, x), lambda x, _: untyped(add_one, x, 1)):
        with pytest.raises(TypeError, match="outputs_count"):
            in_method(call)()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"outputs_count": 0}, "Parameter 'outputs_count' should be >= 1"),
        ({"outputs_count": "1"}, "Parameter 'outputs_count' should be int, but actually <class 'str'>"),
        ({"outputs_count": True}, "Parameter 'outputs_count' should be int, but actually <class 'bool'>"),
        ({"batch_size": -1}, "Parameter 'batch_size' should be >= 0"),
        ({"batch_size": "4"}, "Parameter 'batch_size' should be int, but actually <class 'str'>"),
        ({"batch_size": True}, "Parameter 'batch_size' should be int, but actually <class 'bool'>"),
        ({"tag": ""}, "Parameter 'tag' should not be empty str"),
        ({"tag": 1}, "Parameter 'tag' should be str, but actually <class 'int'>"),
    ],
)
def test_a_wrong_value_of_a_stage_is_refused(
    servable: ServableDefinition, values: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"outputs_count": 1, **values}
    assert text in refusal(in_method(lambda x1, x2: add_stage(add_two, x1, x2, **arguments)))


@pytest.mark.parametrize("value", [1, None, "x1", [1.0]])
def test_inputs_are_placeholders(servable: ServableDefinition, value: Any) -> None:
    assert (
        "Each value of parameter *args is a placeholder for data and must come from the method inputs or the outputs "
        "of add_stage"
    ) in refusal(in_method(lambda x1, x2: add_stage(add_two, x1, value, outputs_count=1)))


def test_a_tuple_of_placeholders_is_no_placeholder(servable: ServableDefinition) -> None:
    assert "Each value of parameter *args is a placeholder" in refusal(
        in_method(lambda x1, x2: add_stage(add_one, (x1, x2), outputs_count=1))
    )


def test_a_model_has_to_be_declared(servable: ServableDefinition) -> None:
    stranger = Model("stranger.mindir")
    assert (
        "Check failed in method 'predict', the parameter 'stage' of add_stage must be function or Model returned by "
        "declare_model, and ensure that interface 'declare_model' can take effect when importing servable_config.py "
        "by the serving server"
    ) in refusal(in_method(lambda x1, x2: add_stage(stranger, x1, outputs_count=1)))


class LikeAFunction:
    def __call__(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("stage", [1, None, len, int, functools.partial(add_one), LikeAFunction()])
def test_a_stage_is_a_function_or_a_model(servable: ServableDefinition, stage: Any) -> None:
    assert (
        "Check failed in method 'predict', the parameter 'stage' of add_stage must be function or Model returned by "
        f"declare_model, now is {type(stage)}"
    ) in refusal(in_method(lambda x1, x2: add_stage(stage, x1, outputs_count=1)))


def test_a_lambda_is_a_function(servable: ServableDefinition) -> None:
    in_method(lambda x1, x2: add_stage(lambda a, b: a, x1, x2, outputs_count=1))()
    assert servable.methods["predict"].stages[0].kind is StageKind.FUNCTION


def test_built_in_stages_go_by_name(servable: ServableDefinition) -> None:
    in_method(lambda x1, x2: add_stage("argmax_cpp", x1, outputs_count=1))()
    (stage,) = servable.methods["predict"].stages
    assert (stage.kind, stage.target) == (StageKind.BUILT_IN, "argmax_cpp")
    text = refusal(in_method(lambda x1, x2: add_stage("argmin_cpp", x1, outputs_count=1)))
    assert "Function 'argmin_cpp' is not defined" in text


def test_default_tags_name_function_or_model(servable: ServableDefinition) -> None:
    model = declare_model("tensor_add.mindir", "MindIR")

    @register_method(output_names="y")
    def predict(x1: Any, x2: Any) -> Any:
        y = add_stage(model, x1, x2, outputs_count=1)
        y = add_stage(add_one, y, outputs_count=1)
        return add_stage(add_one, y, outputs_count=1, tag="Postprocess")

    assert [stage.tag for stage in servable.methods["predict"].stages] == [
        "Model 'tensor_add.mindir'",
        "Function 'add.add_one'",
        "Postprocess",
    ]


@pytest.mark.parametrize(("given", "takes_batch"), [(None, False), (0, True), (1, True), (8, True)])
def test_a_batch_size_makes_a_function_take_batches(
    servable: ServableDefinition, given: int | None, takes_batch: bool
) -> None:
    function = each if takes_batch else add_two
    in_method(lambda x1, x2: add_stage(function, x1, x2, outputs_count=1, batch_size=given))()
    (stage,) = servable.methods["predict"].stages
    assert (stage.takes_batch, stage.batch_size) == (takes_batch, given or 0)


@pytest.mark.parametrize("sizes", [(None, 4), (4, None), (0, None)])
def test_a_function_takes_batches_everywhere_or_nowhere(servable: ServableDefinition, sizes: Any) -> None:
    def method(name: str, *batch_sizes: int | None) -> Callable[[Any], Any]:
        def predict(x: Any) -> Any:
            for batch_size in batch_sizes:
                x = add_stage(add_one, x, outputs_count=1, batch_size=batch_size)
            return x

        predict.__name__ = name
        return predict

    expected = (
        "Failed to add stage function add.add_one: parameter 'batch_size' in multiple 'add_stage' should be enabled "
        "or disabled consistently"
    )
    assert expected in refusal(register_method(output_names="y"), method("both", *sizes))
    open_definition("add", HOME)
    register_method(output_names="y")(method("first", sizes[0]))
    assert expected in refusal(register_method(output_names="y"), method("second", sizes[1]))


def test_a_function_may_have_several_batch_sizes(servable: ServableDefinition) -> None:
    @register_method(output_names="y")
    def predict(x1: Any, x2: Any) -> Any:
        y = add_stage(each, x1, x2, outputs_count=1, batch_size=2)
        return add_stage(each, x1, y, outputs_count=1, batch_size=0)

    assert [stage.batch_size for stage in servable.methods["predict"].stages] == [2, 0]


def one_input(a: Any) -> Any:
    return a


def three_inputs(a: Any, b: Any, c: Any) -> Any:
    return a, b, c


@pytest.mark.parametrize("function", [one_input, three_inputs])
def test_a_function_takes_what_the_stage_gives(servable: ServableDefinition, function: Any) -> None:
    count = function.__code__.co_argcount
    assert (
        f"function {function.__name__} input args count {count} not match the count 2 registered in method"
    ) in refusal(in_method(lambda x1, x2: add_stage(function, x1, x2, outputs_count=1)))


def any_inputs(*values: Any) -> Any:
    return values


@functools.wraps(one_input)
def one_more(a: Any, b: Any) -> Any:
    return one_input(a + b)


@functools.wraps(one_input)
def any_number(*values: Any) -> Any:
    return one_input(*values)


def test_what_is_called_counts_and_not_what_a_decorator_shows(servable: ServableDefinition) -> None:
    in_method(lambda x1, x2: add_stage(one_more, x1, x2, outputs_count=1))()
    text = refusal(in_method(lambda x1, x2: add_stage(one_more, x1, outputs_count=1)))
    assert "input args count 2 not match the count 1 registered in method" in text
    text = refusal(in_method(lambda x1, x2: add_stage(any_number, x1, x2, outputs_count=1)))
    assert "input args count 1 not match the count 2 registered in method" in text


@pytest.mark.parametrize("function", [one_input, three_inputs, any_number, one_more])
def test_what_a_batch_function_takes_is_not_looked_at(servable: ServableDefinition, function: Any) -> None:
    in_method(lambda x1, x2: add_stage(function, x1, x2, outputs_count=1, batch_size=4))()
    [stage] = [stage for method in servable.methods.values() for stage in method.stages]
    assert stage.takes_batch


@pytest.mark.parametrize(("function", "batch_size"), [(any_inputs, None), (each, 4)])
def test_a_function_has_the_same_inputs_count_everywhere(
    servable: ServableDefinition, function: Any, batch_size: int | None
) -> None:
    @register_method(output_names="y")
    def first(x1: Any, x2: Any) -> Any:
        return add_stage(function, x1, x2, outputs_count=1, batch_size=batch_size)

    def second(x1: Any, x2: Any, x3: Any) -> Any:
        return add_stage(function, x1, x2, x3, outputs_count=1, batch_size=batch_size)

    assert (
        f"Stage function 'add.{function.__name__}' inputs count 3 not match last registered count 2, method name "
        "'second'"
    ) in refusal(register_method(output_names="y"), second)


def test_a_function_has_the_same_outputs_count_everywhere(servable: ServableDefinition) -> None:
    @register_method(output_names="y")
    def first(x: Any) -> Any:
        return add_stage(add_one, x, outputs_count=1)

    def second(x: Any) -> Any:
        return add_stage(add_one, x, outputs_count=2)

    assert (
        "Stage function 'add.add_one' outputs count 2 not match last registered count 1, method name 'second'"
    ) in refusal(register_method(output_names=["y1", "y2"]), second)


def test_functions_of_the_same_name_are_different_functions(servable: ServableDefinition) -> None:
    @register_method(output_names=["y", "z"])
    def predict(x1: Any, x2: Any) -> Any:
        y = add_stage(lambda a, b: a + b, x1, x2, outputs_count=1)
        y, z = add_stage(lambda a: (a, a), y, outputs_count=2)
        z = add_stage(lambda instances: instances, z, outputs_count=1, batch_size=3)
        return y, z

    first, second, third = servable.methods["predict"].stages
    assert first.target == second.target == third.target == "add.<lambda>"
    assert len({first.function, second.function, third.function}) == 3


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        (1, 1, "inputs count 1 not match old count 2, model: tensor_add.mindir"),
        (3, 1, "inputs count 3 not match old count 2, model: tensor_add.mindir"),
        (2, 2, "outputs count 2 not match old count 1, model: tensor_add.mindir"),
    ],
)
def test_a_model_is_used_with_the_same_counts_everywhere(
    servable: ServableDefinition, inputs: int, outputs: int, text: str
) -> None:
    model = declare_model("tensor_add.mindir", "MindIR")

    @register_method(output_names="y")
    def first(x1: Any, x2: Any) -> Any:
        return add_stage(model, x1, x2, outputs_count=1)

    def second(x1: Any, x2: Any) -> Any:
        given = [x1, x2, x1][:inputs]
        return add_stage(model, *given, outputs_count=outputs)

    assert f"RegisterInputOutputInfo failed, {text}" in refusal(register_method(output_names="y"), second)


def test_a_stage_belongs_into_a_method(servable: ServableDefinition) -> None:
    assert "add_stage" in refusal(add_stage, add_one, outputs_count=1)


# ---- Model.call

FORMS = (
    "the inputs can be call(x1, x2) for single instance or {}call([[x1, x2], [x1, x2]]) for multi instances."
)


@pytest.fixture
def model(servable: ServableDefinition) -> Iterator[Model]:
    """A declared model of two subgraphs; it gives each instance back, and refuses what holds "bad"."""

    def run(key: str, instances: Any, subgraph: int) -> list[tuple[Any, ...]]:
        for instance in instances:
            if not instance:
                raise InvalidInput(
                    "The inputs count 0 of instance 0 is not equal to the inputs count 1 of the model"
                )
            if "bad" in instance:
                raise RuntimeError("Given model input 0 size 24 not match the size 16 defined in model")
        return [(*instance, subgraph) if subgraph else tuple(instance) for instance in instances]

    set_runtime(run)
    yield declare_model(["a.mindir", "b.mindir"], "MindIR")
    set_runtime(None)


def test_one_instance_gives_its_output_or_a_tuple_of_them(model: Model) -> None:
    assert model.call(5) == 5
    assert model.call(5, 6) == (5, 6)
    assert model.call(5, subgraph=1) == (5, 1)


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_instances_give_a_tuple_of_tuples(model: Model, kind: Any) -> None:
    assert model.call(kind([[1, 2], (3, 4)])) == ((1, 2), (3, 4))
    assert model.call(kind([[1]])) == ((1,),)


@pytest.mark.parametrize(
    ("args", "subgraph", "text"),
    [
        ((), 0, "Model({key}).call() failed: no inputs provided, " + FORMS.format("")),
        ((), 1, "Model({key} ,subgraph=1).call() failed: no inputs provided, " + FORMS.format("")),
        (([1, 2],), 0, "Model({key}).call() failed: inputs format invalid, " + FORMS.format(" ")),
        (([[1], 2],), 0, "Model({key}).call() failed: inputs format invalid, " + FORMS.format(" ")),
        (([],), 0, "Model({key}).call() failed: Input instances count is 0"),
        (
            (1, 2),
            2,
            "Model({key}, subgraph=2).call() failed: The model does not have subgraph of index 2, the subgraph count "
            "of the model is 2",
        ),
        (
            ("bad",),
            0,
            "Model({key}).call() failed: Given model input 0 size 24 not match the size 16 defined in model",
        ),
        (
            ([["good"], ["bad"]],),
            0,
            "Model({key}).call() failed: Given model input 0 size 24 not match the size 16 defined in model",
        ),
    ],
)
def test_a_wrong_call_is_refused_with_the_reason(model: Model, args: Any, subgraph: int, text: str) -> None:
    assert refusal(model.call, *args, subgraph=subgraph) == text.format(key="a.mindir;b.mindir")


def test_a_model_made_by_hand_is_usable_if_declared(model: Model) -> None:
    assert register.model.Model("a.mindir;b.mindir").call(1) == 1
    assert refusal(Model("c.mindir").call, 1) == (
        "Model(c.mindir).call() failed: the model is not declared, ensure that interface 'declare_model' can take "
        "effect when importing servable_config.py by the serving server"
    )
