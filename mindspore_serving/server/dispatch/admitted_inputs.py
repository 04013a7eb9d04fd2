"""What instances must be to be queued, and what is added to them.

`Dispatcher.admit` asks here, so that no dialect can forget it. Only what the servable_config.py declares is checked:
what just a model's file tells is checked by the worker that holds the model, whose texts are those of MindSpore
Serving. Instances that do not fit have an error of their own; the others of a request are served.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mindspore_serving.errors import Failure, InvalidInput
from mindspore_serving.rows import FailedRows, Group, Rows
from mindspore_serving.signature import NO_PARAMETERS, PARAMETERS_SPEC, MethodSignature, TensorType
from mindspore_serving.tensor import Specs, TensorSpec

MOST_PARAMETERS_BYTES = 8 << 10
"""Bytes of a request's parameters as JSON: each of its instances carries them."""
MOST_REPEATED_BYTES = 1 << 29
"""Bytes that they may come to for all instances of a request, as large as the largest message."""
_REMEMBERED = 256
"""Kinds of instances whose verdict is kept: clients choose shapes."""


class InputCheck:
    """Checks instances of one method against what is declared, and remembers the verdict on each kind of them.

    Args:
        method: The method.
    """

    def __init__(self, method: MethodSignature) -> None:
        self._method = method
        self._verdicts: dict[Specs, Failure | None] = {}

    def __repr__(self) -> str:
        return f"<InputCheck of {self._method.name}, {len(self._verdicts)} kinds known>"

    def checked(self, blocks: Sequence[Rows]) -> Sequence[Group]:
        """The blocks in order, those that do not fit as failures."""
        verdicts = self._verdicts
        try:
            if len(blocks) == 1 and verdicts[blocks[0].specs] is None:  # nearly always
                return blocks
        except KeyError:
            pass
        groups: list[Group] = []
        for block in blocks:
            failure = self._verdict(block.specs)
            groups.append(block if failure is None else FailedRows(failure, block.count))
        return groups

    def _verdict(self, specs: Specs) -> Failure | None:
        if specs not in self._verdicts:
            if len(self._verdicts) >= _REMEMBERED:
                self._verdicts.clear()
            self._verdicts[specs] = self._look(specs)
        return self._verdicts[specs]

    def _look(self, specs: Specs) -> Failure | None:
        """Why instances of a kind do not fit; None if they do."""
        problems = [
            _problem(spec, known)
            for spec, known in zip(specs, self._method.inputs, strict=False)  # the parameters come after them
            if known.declared and not (spec.dtype is known.dtype and known.takes(spec.shape))
        ]
        return InvalidInput("; ".join(problems)).failure() if problems else None


def _problem(spec: TensorSpec, known: TensorType) -> str:
    return f"Input '{known.name}' is {TensorType(*spec).text}, expected {known.text}"


def with_parameters(blocks: Sequence[Rows], parameters: Mapping[str, Any] | None) -> list[Rows]:
    """Instances with the parameters of their request, for a method that takes them.

    Raises:
        InvalidInput: There is too much of them, or they cannot be written as JSON.
    """
    text = parameters_text(parameters)
    count = sum([block.count for block in blocks])
    if len(text) * count > MOST_REPEATED_BYTES:
        raise InvalidInput(
            f"The parameters of the request have {len(text)} bytes as JSON for each of {count} instances, expected at "
            f"most {MOST_REPEATED_BYTES} bytes together; send fewer instances"
        )
    return [
        Rows((*block.specs, PARAMETERS_SPEC), (*block.columns, [text] * block.count), block.count)
        for block in blocks
    ]


def parameters_text(parameters: Mapping[str, Any] | None) -> bytes:
    """Parameters of a request as JSON.

    Raises:
        InvalidInput: As `with_parameters`.
    """
    if not parameters:
        return NO_PARAMETERS.encode()
    try:
        text = orjson.dumps(parameters)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits, for one
        try:
            text = json.dumps(dict(parameters)).encode()
        except (TypeError, ValueError) as cause:
            raise InvalidInput(f"The parameters of the request cannot be written as JSON: {cause}") from cause
    if len(text) > MOST_PARAMETERS_BYTES:
        raise InvalidInput(
            f"The parameters of the request have {len(text)} bytes as JSON, expected at most {MOST_PARAMETERS_BYTES}"
        )
    return text
