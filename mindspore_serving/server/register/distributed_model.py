"""The model of a distributed servable: it has no file here, its parts are loaded by agents."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving import log
from mindspore_serving.check_type import check_bool, check_int
from mindspore_serving.errors import RegistrationError
from mindspore_serving.server.register.context import Context
from mindspore_serving.server.register.definition import ModelDeclaration, ServableDefinition, Sharding
from mindspore_serving.server.register.model import (
    DEFAULT_MAX_BATCH_SIZE,
    Model,
    check_without_batch_dim_inputs,
)
from mindspore_serving.server.register.registry import current


def declare_servable(
    rank_size: int,
    stage_size: int,
    with_batch_dim: bool = True,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
    enable_pipeline_infer: bool = False,
    *,
    strict_shape: bool = False,
) -> Model:
    """Declare the sharded model of a distributed servable; it is the only model of the servable.

    Args:
        rank_size: Number of parts; one agent holds each.
        stage_size: Number of pipeline stages that the ranks make up, one after the other, each of the same size.
        with_batch_dim: Whether the first dimension of the model's inputs and outputs is the batch; an instance then has
            the shape without it.
        without_batch_dim_inputs: Indices of inputs that have no batch dimension although `with_batch_dim` is set. All
            instances of a batch share such a value.
        enable_pipeline_infer: Let up to `stage_size` batches be under way at a time; otherwise it is one.
        strict_shape: Refuse an instance whose shape is not the model's. Otherwise a shape with as many elements is
            taken for the model's, with a warning in the worker's log.

    Returns:
        Handle of the model.

    Raises:
        RuntimeError: A parameter is wrong, or the servable has a model already.
    """
    check_int("rank_size", rank_size, 1)
    check_int("stage_size", stage_size, 1)
    check_bool("with_batch_dim", with_batch_dim)
    check_bool("enable_pipeline_infer", enable_pipeline_infer)
    check_bool("strict_shape", strict_shape)
    definition = current()
    model = ModelDeclaration(
        key=definition.name,
        files=(),
        model_format="mindir",
        with_batch_dim=with_batch_dim,
        without_batch_dim_inputs=check_without_batch_dim_inputs(without_batch_dim_inputs),
        context=Context(),
        config_file=None,
        max_batch_size=DEFAULT_MAX_BATCH_SIZE,
        sharding=Sharding(rank_size, stage_size, enable_pipeline_infer),
        strict_shape=strict_shape,
    )
    definition.add_model(model)
    log.info("Declare distributed model %s", model)
    return Model(model.key)


def distributed_model(definition: ServableDefinition) -> tuple[ModelDeclaration, Sharding]:
    """The sharded model of a servable that is started as a distributed one.

    Raises:
        RegistrationError: The servable declares none.
    """
    if not definition.models:
        raise RegistrationError(
            f"Distributed servable '{definition.name}' has not been declared or has been declared more than once, "
            "declared number: 0"
        )
    model = next(iter(definition.models.values()))
    if model.sharding is None:
        raise RegistrationError(f"Servable '{definition.name}' is not registered as distributed servable")
    return model, model.sharding
