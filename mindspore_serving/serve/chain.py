"""Several models in one call: a servable that runs one after the other, written from the names that they were given.

Each model is a servable of its own, with its own batches. The outputs of one are the inputs of the next by their names,
which serving_server_conf.prototxt has.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.paddle.given_names import GIVEN_NAMES, read_model_config
from mindspore_serving.server.dialect.paddle.elements import NUMBERS, TEXT

NAME: Final = "chain"
_HEAD: Final = '''"""Models one after the other. Written by python -m mindspore_serving.serve."""

from mindspore_serving.server import register


@register.register_method(
    output_names={outputs!r},
    inputs={{{input_types}}},
    outputs={{{output_types}}},
)
def predict({parameters}):
'''


@dataclass(frozen=True, slots=True)
class Variable:
    """An input or output of a model.

    Attributes:
        name: What the model's file calls it.
        alias: What people call it.
        type: As `register.TensorSpec` takes it; `text` for text.
        shape: Of one row; -1 for any size.
    """

    name: str
    alias: str
    type: str
    shape: tuple[int, ...]

    @property
    def declaration(self) -> str:
        """It as source of a servable_config.py."""
        if self.type == "text":
            return "register.Text()"
        return f"register.TensorSpec({self.type!r}, {list(self.shape)!r})"


@dataclass(frozen=True, slots=True)
class ChainedModel:
    """A model of a chain.

    Attributes:
        servable: Name of its servable.
        inputs: In the order of its method.
        outputs: Likewise.
    """

    servable: str
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]


def chained_model(servable: str, folder: Path) -> ChainedModel:
    """What a folder says of its model.

    Args:
        servable: Name of the servable that it is.
        folder: With `serving_server_conf.prototxt`.

    Raises:
        StartUpError: It says nothing, or something that cannot be chained.
    """
    path = folder / GIVEN_NAMES
    found = read_model_config(
        path,
        "a chain of models needs the names in it. For other models, write a servable_config.py with register.call",
    )
    inputs = tuple(_variable(path, one, one.feed_type) for one in found.feed_var)
    outputs = tuple(_variable(path, one, one.fetch_type) for one in found.fetch_var)
    for variables in (inputs, outputs):
        names = [one.alias for one in variables]
        if len(set(names)) < len(names):
            raise StartUpError(
                f"'{path}' has the names {', '.join(names)}, expected is that each is there once; write a "
                "servable_config.py with register.call"
            )
    return ChainedModel(servable, inputs, outputs)


def _variable(path: Path, found: Any, number: int) -> Variable:
    alias = found.alias_name or found.name
    problem = ""
    if number != TEXT and number not in NUMBERS:
        problem = f"type {number}, which is not supported"
    elif not alias.isidentifier() or keyword.iskeyword(alias) or alias == "register":
        problem = "a name that is no Python name, or has a meaning there"
    if problem:
        raise StartUpError(
            f"'{path}' has '{alias}' with {problem}; write a servable_config.py with register.call"
        )
    kind = "text" if number == TEXT else NUMBERS[number].dtype.name.lower()
    return Variable(found.name, alias, kind, tuple(size if size > 0 else -1 for size in found.shape))


def chain_source(models: Sequence[ChainedModel]) -> str:
    """The servable_config.py of a chain.

    Args:
        models: In order, at least two.

    Raises:
        StartUpError: The outputs of one are not the inputs of the next.
    """
    first, last = models[0], models[-1]
    names = [one.alias for one in first.inputs]
    lines = [
        _HEAD.format(
            outputs=[one.alias for one in last.outputs],
            input_types=_types(first.inputs),
            output_types=_types(last.outputs),
            parameters=", ".join(names),
        )
    ]
    for at, model in enumerate(models):
        if at:
            names = _inputs_of(models[at - 1], model, at - 1)
        results = ", ".join(_local(at, one) for one in model.outputs)
        count = f", outputs_count={len(model.outputs)}" if len(model.outputs) > 1 else ""
        lines.append(
            f"    {results} = register.call({model.servable!r}, 'predict', {', '.join(names)}{count})\n"
        )
    outputs = ", ".join(_local(len(models) - 1, one) for one in last.outputs)
    return "".join(lines) + f"    return {outputs}\n"


def _local(at: int, variable: Variable) -> str:
    return f"{variable.alias}_{at}"


def _types(variables: Iterable[Variable]) -> str:
    return ", ".join(f"{one.alias!r}: {one.declaration}" for one in variables)


def _inputs_of(before: ChainedModel, model: ChainedModel, at: int) -> list[str]:
    """What goes into a model: outputs of the one before, by either name.

    Raises:
        StartUpError: An input is none of them.
    """
    names = []
    for wanted in model.inputs:
        found = next(
            (one for one in before.outputs if {one.alias, one.name} & {wanted.alias, wanted.name}), None
        )
        if found is None:
            raise StartUpError(
                f"'{before.servable}' and '{model.servable}' do not fit together: the inputs of '{model.servable}' are "
                f"{_listed(model.inputs)}, and the outputs of '{before.servable}' are {_listed(before.outputs)}; "
                "expected is an output of the same name for each input"
            )
        names.append(_local(at, found))
    return names


def _listed(variables: Sequence[Variable]) -> str:
    return ", ".join(f"{one.alias} ({one.name})" for one in variables)
