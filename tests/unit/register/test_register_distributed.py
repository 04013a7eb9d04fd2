"""A sharded model in servable_config.py: its declaration, and how stages and functions use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mindspore_serving import server, worker
from mindspore_serving.errors import RegistrationError, ServingError
from mindspore_serving.server import distributed, register
from mindspore_serving.server.register import add_stage, call_servable, declare_model, register_method
from mindspore_serving.server.register.definition import ServableDefinition, Sharding, StageKind
from mindspore_serving.server.register.distributed_model import distributed_model
from mindspore_serving.server.register.model import check_subgraph, set_runtime
from mindspore_serving.server.register.registry import open_definition

AGAIN = "servable is repeatedly been declared as distributed servable"
REPEATED = f"Raise failed: Declare distributed model failed, {AGAIN}"
LOCAL = "Raise failed: Declare distributed model failed, servable has already been declared as local servable"
DISTRIBUTED = "Raise failed: Declare model failed, servable has already been declared as distributed servable"


@pytest.fixture
def servable() -> ServableDefinition:
    """A servable `matmul` that declares nothing yet."""
    return open_definition("matmul", "/servables/matmul")


def refusal(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ServingError) as refused:
        call(*args, **kwargs)
    return str(refused.value)


def test_the_model_is_named_after_the_servable(servable: ServableDefinition) -> None:
    model = distributed.declare_servable(8, 2, with_batch_dim=False, enable_pipeline_infer=True)
    assert model.model_key == "matmul"
    declared = servable.models["matmul"]
    assert declared.files == ()
    assert declared.with_batch_dim is False
    assert declared.sharding == Sharding(rank_size=8, stage_size=2, enable_pipeline_infer=True)
    assert distributed_model(servable) == (declared, declared.sharding)


def test_defaults(servable: ServableDefinition) -> None:
    distributed.declare_servable(rank_size=1, stage_size=1)
    declared = servable.models["matmul"]
    assert declared.with_batch_dim is True
    assert declared.without_batch_dim_inputs == ()
    assert declared.sharding == Sharding(1, 1, False)


@pytest.mark.parametrize(("given", "indices"), [(None, ()), (0, (0,)), (2, (2,)), ([], ()), ((0, 2), (0, 2))])
def test_inputs_without_batch_dimension(
    servable: ServableDefinition, given: Any, indices: tuple[int, ...]
) -> None:
    distributed.declare_servable(8, 1, without_batch_dim_inputs=given)
    assert servable.models["matmul"].without_batch_dim_inputs == indices


def test_the_name_of_1_2_declares_the_same(servable: ServableDefinition) -> None:
    model = worker.distributed.declare_distributed_servable(8, 1, False, [1])
    assert model.model_key == "matmul"
    declared = servable.models["matmul"]
    assert (declared.with_batch_dim, declared.without_batch_dim_inputs) == (False, (1,))
    assert declared.sharding == Sharding(8, 1, False)


INT = "Parameter '{}' should be int, but actually <class '{}'>"
BOOL = "Parameter '{}' should be bool, but actually <class 'int'>"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"rank_size": 0}, "Parameter 'rank_size' should be >= 1"),
        ({"rank_size": "8"}, INT.format("rank_size", "str")),
        ({"rank_size": True}, INT.format("rank_size", "bool")),
        ({"rank_size": 8.0}, INT.format("rank_size", "float")),
        ({"stage_size": 0}, "Parameter 'stage_size' should be >= 1"),
        ({"stage_size": None}, INT.format("stage_size", "NoneType")),
        ({"with_batch_dim": 1}, BOOL.format("with_batch_dim")),
        ({"enable_pipeline_infer": 0}, BOOL.format("enable_pipeline_infer")),
        ({"strict_shape": 0}, BOOL.format("strict_shape")),
        (
            {"without_batch_dim_inputs": "0"},
            "Parameter 'without_batch_dim_inputs' should be int or tuple/list of int, but actually <class 'str'>",
        ),
        (
            {"without_batch_dim_inputs": [-1]},
            "The item value '-1' in parameter 'without_batch_dim_inputs' should be >= 0",
        ),
        (
            {"without_batch_dim_inputs": (1, 1)},
            "The item value '1' in parameter 'without_batch_dim_inputs' should not be repeated",
        ),
    ],
)
def test_a_wrong_parameter_is_refused(servable: ServableDefinition, given: dict[str, Any], text: str) -> None:
    assert refusal(distributed.declare_servable, **{"rank_size": 8, "stage_size": 1, **given}) == text
    assert servable.models == {}


def sharded() -> Any:
    return distributed.declare_servable(8, 1)


def whole() -> Any:
    return declare_model("a.mindir", "MindIR")


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [(sharded, sharded, REPEATED), (whole, sharded, LOCAL), (sharded, whole, DISTRIBUTED)],
)
def test_a_sharded_model_is_the_only_one(
    servable: ServableDefinition, first: Callable[[], Any], second: Callable[[], Any], text: str
) -> None:
    first()
    assert refusal(second) == text
    assert len(servable.models) == 1


def test_a_servable_that_is_not_distributed(servable: ServableDefinition) -> None:
    assert refusal(distributed_model, servable) == (
        "Distributed servable 'matmul' has not been declared or has been declared more than once, declared number: 0"
    )
    whole()
    assert (
        refusal(distributed_model, servable) == "Servable 'matmul' is not registered as distributed servable"
    )


def test_the_model_is_a_stage(servable: ServableDefinition) -> None:
    model = sharded()

    @register_method(output_names=["y"])
    def predict(x: Any) -> Any:
        return add_stage(model, x, outputs_count=1)

    [stage] = servable.methods["predict"].stages
    assert (stage.kind, stage.target, stage.subgraph) == (StageKind.MODEL, "matmul", 0)
    assert servable.model_arity == {("matmul", 0): (1, 1)}


def test_any_subgraph_may_be_a_stage(servable: ServableDefinition) -> None:
    sharded()

    @register_method(output_names=["y"])
    def first(x: Any) -> Any:
        y = call_servable(x, subgraph=0)
        return y  # noqa: RET504

    @register_method(output_names=["y"])
    def later(x1: Any, x2: Any) -> Any:
        y = call_servable(x1, x2, subgraph=7)
        return y  # noqa: RET504

    assert servable.model_arity == {("matmul", 0): (1, 1), ("matmul", 7): (2, 1)}


def test_the_use_of_a_subgraph_is_checked(servable: ServableDefinition) -> None:
    model = sharded()

    @register_method(output_names=["y"])
    def predict(x: Any) -> Any:
        return add_stage(model, x, outputs_count=1)

    with pytest.raises(RegistrationError, match="inputs count 2 not match old count 1, model: matmul"):

        @register_method(output_names=["y"])
        def other(x1: Any, x2: Any) -> Any:
            return add_stage(model, x1, x2, outputs_count=1)


# ---- Model.call


@pytest.fixture
def model(servable: ServableDefinition) -> Iterator[register.Model]:
    """A sharded model of two subgraphs that gives each instance back, and the number of the subgraph."""

    def run(key: str, instances: Any, subgraph: int) -> list[tuple[Any, ...]]:
        assert key == "matmul"
        check_subgraph(subgraph, 2)
        return [(*instance, subgraph) for instance in instances]

    set_runtime(run)
    yield sharded()
    set_runtime(None)


@pytest.mark.parametrize("subgraph", [0, 1])
def test_a_subgraph_is_called(model: register.Model, subgraph: int) -> None:
    assert model.call(5, subgraph=subgraph) == (5, subgraph)
    assert model.call([[1], [2]], subgraph=subgraph) == ((1, subgraph), (2, subgraph))


@pytest.mark.parametrize("subgraph", [2, -1, "0", True, False, None, 1.0])
def test_a_wrong_subgraph_reads_as_that_of_any_model(model: register.Model, subgraph: Any) -> None:
    reason = (
        f"Model({{}}, subgraph={subgraph}).call() failed: The model does not have subgraph of index {subgraph}, the "
        "subgraph count of the model is {}"
    )
    assert refusal(model.call, 5, subgraph=subgraph) == reason.format("matmul", 2)
    open_definition("add", "/servables/add")
    local = declare_model(["a.mindir", "b.mindir"], "MindIR")
    assert refusal(local.call, 5, subgraph=subgraph) == reason.format("a.mindir;b.mindir", 2)


# ---- Where the names are


def test_names() -> None:
    assert server.distributed is distributed
    assert dir(distributed) == ["declare_servable", "start_servable", "startup_agents"]
    with pytest.raises(AttributeError):
        distributed.nobody  # noqa: B018
    with pytest.raises(AttributeError):
        worker.distributed.nobody  # noqa: B018


@pytest.mark.parametrize(
    "name",
    ["server.distributed.declare_servable", "worker.distributed.declare_distributed_servable"],
)
def test_declaring_loads_no_front_end(name: str) -> None:
    first = name.partition(".")[0]
    script = (
        f"import sys\nfrom mindspore_serving import {first}\n{name}\n"
        "print([name for name in sys.modules if name == 'grpc' or '.transport' in name or '.start.' in name])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n", shown.stdout
