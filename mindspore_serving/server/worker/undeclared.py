"""A servable without servable_config.py: what its one model alone says of it (ADR 58).

It has one method, `predict`, with the inputs and outputs of the model. Names and types are those of the file; outputs
of MindIR, which have names of graph nodes only, are called by their positions.

The first dimension of a model is the batch if all its inputs have the same one, of any size or of one size, and each
output has it, too; an output may also have one of any size. So `[-1, 13] -> [-1, 1]` and `[32, 1, 28, 28] -> [32, 10]`
have a batch, while `[-1, 13] -> [3]` and `[4], [] -> [4]` have none: the tensors of a request are one instance there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindspore_serving import log
from mindspore_serving.errors import StartUpError
from mindspore_serving.options import ServableSettings, folder_of
from mindspore_serving.server.backend.model_folder import FoundModel
from mindspore_serving.server.backend.names import given_names_of, is_node_of_graph
from mindspore_serving.server.register.context import Context
from mindspore_serving.server.register.definition import (
    MethodDefinition,
    ModelDeclaration,
    ServableDefinition,
    StageDefinition,
    StageKind,
    ValueRef,
)
from mindspore_serving.server.register.model import DEFAULT_MAX_BATCH_SIZE
from mindspore_serving.server.register.registry import open_definition
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import TensorSpec

METHOD = "predict"
"""Name of the only method."""


def has_batch_dim(signature: GraphSignature) -> bool:
    """Whether the first dimension of a model is the batch, as far as its shapes tell."""
    firsts = {spec.shape[:1] for spec in signature.inputs}
    if len(firsts) != 1 or () in firsts:
        return False
    return all(spec.shape[:1] in {*firsts, (-1,)} for spec in signature.outputs)


def declaration_of(settings: ServableSettings, found: FoundModel) -> ModelDeclaration:
    """The model as `declare_model` would declare it, with a batch dimension unless the settings say that it has none.

    Args:
        settings: Options of the servable.
        found: The model's file.
    """
    return ModelDeclaration(
        key=found.path.name,
        files=(found.path.name,),
        model_format=found.model_format,
        with_batch_dim=settings.with_batch_dim is not False,
        without_batch_dim_inputs=(),
        context=Context(),
        config_file=None,
        max_batch_size=settings.max_batch_size or DEFAULT_MAX_BATCH_SIZE,
        runtime_options=settings.runtime_options or {},
    )


def definition_of(
    settings: ServableSettings,
    found: FoundModel,
    model: ModelDeclaration,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> ServableDefinition:
    """The servable as its servable_config.py would declare it.

    Args:
        settings: Its options.
        found: The model's file.
        model: Its declaration.
        inputs: Of the model; only the names count.
        outputs: Likewise.

    Raises:
        StartUpError: A file beside the model gives names to other inputs or outputs than the model has.
    """
    definition = open_definition(settings.servable_name, str(folder_of(settings)))
    definition.add_model(model)
    given = given_names_of(found.path, found.model_format)
    if given is None:
        named_inputs = _Named.all_of("input", inputs)
        nameless = [is_node_of_graph(one.name, found.model_format) for one in outputs]
        named_outputs = _Named.all_of("output", outputs, nameless)
    else:
        named_inputs = _Named.given("input", inputs, given.inputs, found)
        named_outputs = _Named.given("output", outputs, given.outputs, found)
        named_inputs.check_complete(inputs, found)
    definition.add_method(_method_of(model, named_inputs, named_outputs, len(outputs)))
    definition.check_model_stage(METHOD, model.key, 0, len(inputs), len(outputs))
    return definition


def _method_of(
    model: ModelDeclaration, inputs: _Named, outputs: _Named, outputs_count: int
) -> MethodDefinition:
    places = {position: index for index, position in enumerate(inputs.positions)}
    stage = StageDefinition(
        index=1,
        kind=StageKind.MODEL,
        target=model.key,
        function=None,
        inputs=tuple(ValueRef(0, places[position]) for position in range(len(places))),
        outputs_count=outputs_count,
        takes_batch=False,
        batch_size=0,
        tag=f"Model '{model.key}'",
    )
    values = tuple(ValueRef(1, position) for position in outputs.positions)
    return MethodDefinition(METHOD, inputs.names, outputs.names, (stage,), values)


@dataclass(frozen=True, slots=True)
class _Named:
    """Inputs or outputs of the method.

    Attributes:
        names: For clients.
        positions: Of each in the model.
    """

    names: tuple[str, ...]
    positions: tuple[int, ...]

    @classmethod
    def all_of(cls, what: str, specs: Sequence[TensorSpec], nameless: Sequence[bool] = ()) -> _Named:
        """All that the model has, in its order. An empty name, or one that is there before, becomes another.

        Args:
            what: `input` or `output`.
            specs: Of the model.
            nameless: Which of them have names that stand for none; empty for none of them.
        """
        names: list[str] = []
        taken = {spec.name for spec in specs}
        for position, spec in enumerate(specs):
            name = "" if nameless and nameless[position] else spec.name
            if not name or name in names:
                name = _free_name(f"{name or what}_{position}", taken)
                log.warning(
                    "%s %s of the model, '%s', is called '%s'", what.title(), position, spec.name, name
                )
            names.append(name)
        return cls(tuple(names), tuple(range(len(specs))))

    @classmethod
    def given(
        cls, what: str, specs: Sequence[TensorSpec], pairs: Sequence[tuple[str, str]], found: FoundModel
    ) -> _Named:
        """Those of the model that a file names, in the order of that file.

        Raises:
            StartUpError: The model has no input or output of a name.
        """
        own = [spec.name for spec in specs]
        for name, alias in pairs:
            if name not in own:
                raise StartUpError(
                    f"The file of names beside model '{found.path}' names {what} '{name}' (alias '{alias}'), which the "
                    f"model has not: it has {', '.join(own)}"
                )
        return cls(tuple(alias for _, alias in pairs), tuple(own.index(name) for name, _ in pairs))

    def check_complete(self, specs: Sequence[TensorSpec], found: FoundModel) -> None:
        """Check that clients can give all inputs.

        Raises:
            StartUpError: An input of the model has no name for clients.
        """
        missing = [spec.name for i, spec in enumerate(specs) if i not in self.positions]
        if missing:
            raise StartUpError(
                f"The file of names beside model '{found.path}' does not name input {', '.join(missing)} of the model"
            )


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
