"""What is known of the inputs and outputs of a method once its models are loaded.

Three things tell it, and may not contradict each other:

- the servable_config.py, which declares it;
- the file of a model, of what goes straight into the model or comes straight out of it;
- for outputs of functions, results of the examples (`taught`).

What is left is UNKNOWN: such an input takes anything, and functions decide.

`rows` says what a request of whole tensors means, as dialects have that know no instances. There are four cases:

- The method has models, and each of them has a batch dimension: the first dimension counts instances, as in the model.
- It has models, and one of them has none: the tensors of a request are one instance.
- It has no model stage: if an input or output is typed, or examples show what it gives, its shapes are known to be
  those of one instance, and the first dimension counts instances. If nothing is known, neither is that.
- It is a pipeline: one instance, for nothing tells what it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from mindspore_serving.errors import StartUpError
from mindspore_serving.rows import Rows
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    ModelDeclaration,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.worker.graph_runner import GraphRunner
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType, TensorSpec


@dataclass(frozen=True, slots=True)
class MethodTypes:
    """What is known of a method's inputs and outputs.

    Attributes:
        inputs: In the order of its inputs.
        outputs: In the order of its outputs.
        rows: As of `MethodSignature`.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    rows: bool


@dataclass(frozen=True, slots=True)
class _OfModel:
    """What one input or output of a model is, for one instance.

    Attributes:
        spec: Name in the model, dtype and shape.
        model: Key of the model.
        shared: Whether instances of a batch have it in common.
    """

    spec: TensorSpec
    model: str
    shared: bool = False


def types_of(
    method: MethodDefinition,
    models: Mapping[str, ModelDeclaration],
    runners: Mapping[str, Sequence[GraphRunner]],
) -> MethodTypes:
    """What is known of a method before it has run.

    Args:
        method: The method, or a pipeline.
        models: How models are declared, by key.
        runners: Their graphs, by key.

    Raises:
        StartUpError: What is declared is not what a model takes or gives; the text has both.
    """
    stages = [stage for stage in method.stages if stage.kind is StageKind.MODEL]
    declared = method.input_types or tuple(map(TensorType, method.input_names))
    inputs = tuple(
        _input_type(method, one, list(_uses(stages, index, models, runners)))
        for index, one in enumerate(declared)
    )
    declared = method.output_types or tuple(map(TensorType, method.output_names))
    outputs = tuple(
        _output_type(method, one, source, inputs, models, runners)
        for one, source in zip(declared, method.outputs, strict=True)
    )
    return MethodTypes(inputs, outputs, _has_rows(method, stages, models, (*inputs, *outputs)))


def _has_rows(
    method: MethodDefinition,
    stages: Sequence[StageDefinition],
    models: Mapping[str, ModelDeclaration],
    types: Iterable[TensorType],
) -> bool:
    if any(stage.kind is StageKind.PIPELINE for stage in method.stages):
        return False
    if stages:
        return all(models[stage.target].with_batch_dim for stage in stages)
    return bool(method.examples) or any(one.is_known for one in types)


def _uses(
    stages: Sequence[StageDefinition],
    index: int,
    models: Mapping[str, ModelDeclaration],
    runners: Mapping[str, Sequence[GraphRunner]],
) -> Iterable[_OfModel]:
    """The inputs of models that an input of the method goes straight into."""
    source = ValueRef(0, index)
    for stage in stages:
        model = models[stage.target]
        specs = runners[stage.target][stage.subgraph].inputs
        for i, (ref, spec) in enumerate(zip(stage.inputs, specs, strict=True)):
            if ref == source:
                shared = model.with_batch_dim and i in model.without_batch_dim_inputs
                yield _OfModel(spec, model.key, shared)


def _input_type(method: MethodDefinition, declared: TensorType, uses: Sequence[_OfModel]) -> TensorType:
    if not uses:
        return declared
    where = f"input '{declared.name}' of method '{method.name}'"
    for use in uses:
        _check_agrees(where, "goes into", declared, use)
    shared = all(use.shared for use in uses)
    file_name = uses[0].spec.name if len({use.spec.name for use in uses}) == 1 else ""
    if declared.declared:
        narrowed = reduce(TensorType.narrowed, [use.spec.shape for use in uses], declared)
        return replace(narrowed, shared=shared, file_name=file_name)
    dtypes = {use.spec.dtype for use in uses}
    shapes = {use.spec.shape for use in uses}
    return replace(
        declared,
        dtype=dtypes.pop() if len(dtypes) == 1 else DataType.UNKNOWN,
        shape=shapes.pop() if len(shapes) == 1 else None,
        shared=shared,
        file_name=file_name,
    )


def _output_type(
    method: MethodDefinition,
    declared: TensorType,
    source: ValueRef,
    inputs: Sequence[TensorType],
    models: Mapping[str, ModelDeclaration],
    runners: Mapping[str, Sequence[GraphRunner]],
) -> TensorType:
    if source.stage == 0:
        given = inputs[source.output]
        if declared.declared:
            return declared
        return replace(given, name=declared.name, shared=False, declared=False, description="", file_name="")
    stage = method.stages[source.stage - 1]
    if stage.kind is not StageKind.MODEL:
        return declared
    model = models[stage.target]
    spec = runners[stage.target][stage.subgraph].outputs[source.output]
    shape = spec.shape[1:] if model.with_batch_dim else spec.shape
    if spec.dtype.is_text:
        shape = ()
    use = _OfModel(TensorSpec(spec.name, spec.dtype, shape), model.key)
    _check_agrees(f"output '{declared.name}' of method '{method.name}'", "comes from", declared, use)
    if declared.declared:
        return replace(declared.narrowed(use.spec.shape), file_name=spec.name)
    return replace(declared, dtype=spec.dtype, shape=shape, file_name=spec.name)


def _check_agrees(where: str, way: str, declared: TensorType, use: _OfModel) -> None:
    """Check that what is declared can be what the model has.

    Raises:
        StartUpError: It cannot.
    """
    if not declared.declared:
        return
    spec = use.spec
    if not declared.agrees(spec.dtype, spec.shape):
        raise StartUpError(
            f"The {where} is declared as {declared.text}, but {way} '{spec.name}' of model '{use.model}', which "
            f"is {TensorType(spec.name, spec.dtype, spec.shape).text}; declare that, or leave it out"
        )


def taught(outputs: Sequence[TensorType], results: Sequence[Rows]) -> tuple[TensorType, ...]:
    """Outputs with what results of examples show of those that nothing else tells.

    The data type is that which all results have. So is the number of dimensions; a dimension is taken for fixed if two
    results at least agree in it. What results do not agree in stays unknown.

    Args:
        outputs: What was known before.
        results: Outputs of each example.
    """
    if not results:
        return tuple(outputs)
    return tuple(
        one if one.is_known else _taught(one, [rows.specs[index] for rows in results])
        for index, one in enumerate(outputs)
    )


def _taught(output: TensorType, seen: Sequence[TensorSpec]) -> TensorType:
    if len({spec.dtype for spec in seen}) > 1:
        return output
    dtype = seen[0].dtype
    if dtype.is_text:
        return replace(output, dtype=dtype, shape=())
    if len({len(spec.shape) for spec in seen}) > 1:
        return replace(output, dtype=dtype)
    fixed = len(seen) > 1
    dims = zip(*[spec.shape for spec in seen], strict=True)
    return replace(
        output, dtype=dtype, shape=tuple(dim[0] if fixed and len(set(dim)) == 1 else -1 for dim in dims)
    )
