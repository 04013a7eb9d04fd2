"""What numbers of JSON become: what is declared, or floats that the models take which they go straight into."""

from __future__ import annotations

from typing import Any

from mindspore_serving.rows import Rows
from mindspore_serving.server.register import TensorSpec, Text, add_stage, declare_model, register_method
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.server.worker.graph_runner import GraphRunner, Outcome
from mindspore_serving.server.worker.servable_loader import fitted_servable
from mindspore_serving.tensor import DataType
from mindspore_serving.tensor import TensorSpec as Spec


class _Graph(GraphRunner):
    """A graph that takes these types."""

    def __init__(self, *types: DataType) -> None:
        specs = [Spec(f"x{i}", kind, (2,)) for i, kind in enumerate(types)]
        super().__init__(specs, [Spec("y", DataType.FLOAT32, (2,))], 1, False)

    def _run_good(self, blocks: list[tuple[int, Rows]]) -> list[Outcome]:
        raise NotImplementedError


def double(x: Any) -> Any:
    return x * 2


def test_types_come_from_the_models_that_inputs_go_straight_into() -> None:
    definition = open_definition("types", "/servables/types")
    mixed = declare_model("mixed.mindir", "MindIR")
    whole = declare_model("whole.mindir", "MindIR")

    @register_method(output_names=["y", "z"])
    def direct(a, b, c):  # type: ignore[no-untyped-def]
        return add_stage(mixed, a, b, outputs_count=1), add_stage(double, c, outputs_count=1)

    @register_method(output_names=["y", "z"])
    def behind_functions(a, b):  # type: ignore[no-untyped-def]
        prepared = add_stage(double, a, outputs_count=1)
        return add_stage(mixed, prepared, b, outputs_count=1), add_stage(double, b, outputs_count=1)

    @register_method(output_names=["y", "z"])
    def at_odds(a, b):  # type: ignore[no-untyped-def]
        return add_stage(mixed, a, b, outputs_count=1), add_stage(whole, b, outputs_count=1)

    @register_method(output_names=["y"])
    def integers(a):  # type: ignore[no-untyped-def]
        return add_stage(whole, a, outputs_count=1)

    @register_method(
        output_names=["y"], inputs={"a": TensorSpec("int64"), "b": Text(), "c": TensorSpec("bool")}
    )
    def declared(a, b, c):  # type: ignore[no-untyped-def]
        return add_stage(whole, a, outputs_count=1)

    @register_method(output_names=["y"])
    def without_stages(a):  # type: ignore[no-untyped-def]
        return a

    graphs = {
        "mixed.mindir": [_Graph(DataType.FLOAT32, DataType.FLOAT16)],
        "whole.mindir": [_Graph(DataType.INT64)],
    }
    loaded = fitted_servable(definition, graphs)
    assert {method.name: method.number_types for method in loaded.methods} == {
        "direct": {"a": DataType.FLOAT32, "b": DataType.FLOAT16},
        "behind_functions": {"b": DataType.FLOAT16},
        "at_odds": {"a": DataType.FLOAT32},
        "integers": {},
        "declared": {"a": DataType.INT64, "c": DataType.BOOL},
        "without_stages": {},
    }
