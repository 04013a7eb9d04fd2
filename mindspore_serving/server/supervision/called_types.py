"""Types that a method has from those that it calls: known once all of them have registered.

An input that goes straight into a call is what the called method takes there, and an output that comes straight out of
one is what the called method gives. The rules are those of models (`worker.method_types`): what the servable_config.py
of the caller declares wins, and may not contradict. An input that the called method declares counts as declared here,
too: requests that do not fit are refused before they reach any worker.

`rows` is as for models, too. A called method whose types are those of whole requests makes those of the caller such; a
pipeline tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple, TypeAlias

from mindspore_serving.errors import StartUpError
from mindspore_serving.signature import CalledMethod, MethodSignature, TensorType
from mindspore_serving.tensor import DataType

_Calls: TypeAlias = Sequence[tuple[CalledMethod, MethodSignature]]
"""What a method calls, with all that is known of it."""


class _Use(NamedTuple):
    """An input or output of a called method."""

    known: TensorType
    label: str


def with_called_types(where: str, method: MethodSignature, calls: _Calls) -> MethodSignature:
    """A method with what those tell that it calls.

    Args:
        where: How error texts call it.
        method: As its worker has registered it.
        calls: What it calls.

    Raises:
        StartUpError: What it declares is not what a called method takes or gives; the text has both.
    """
    inputs = tuple(
        _input_type(f"input '{one.name}' of {where}", one, list(_uses(index, calls)))
        for index, one in enumerate(method.inputs)
    )
    outputs = tuple(
        _output_type(f"output '{one.name}' of {where}", one, index, calls)
        for index, one in enumerate(method.outputs)
    )
    return replace(method, inputs=inputs, outputs=outputs, rows=_has_rows(method, calls, (*inputs, *outputs)))


def _has_rows(method: MethodSignature, calls: _Calls, types: Iterable[TensorType]) -> bool:
    if any(_takes_whole_requests(called) for _, called in calls):
        return False
    if method.rows or any(call.beside_models for call, _ in calls):
        return method.rows
    return any(called.rows for _, called in calls) or any(one.is_known for one in types)


def _takes_whole_requests(method: MethodSignature) -> bool:
    """Whether the tensors of a request are one instance, as is known of a method whose model has no batch dimension."""
    return (
        not method.rows
        and not method.is_pipeline
        and any(one.is_known for one in (*method.inputs, *method.outputs))
    )


def _uses(index: int, calls: _Calls) -> Iterator[_Use]:
    """The inputs of called methods that an input goes straight into, of those of which something is known."""
    for call, called in calls:
        for source, known in zip(
            call.given, called.inputs, strict=False
        ):  # a method's parameters come after them
            if source == index and known.is_known:
                yield _Use(known, call.label)


def _input_type(where: str, own: TensorType, uses: Sequence[_Use]) -> TensorType:
    if not uses:
        return own
    if own.declared:
        for use in uses:
            _check_agrees(where, "goes into", own, use)
        return reduce(TensorType.narrowed, [use.known.shape for use in uses], own)
    known = [*([own] if own.is_known else []), *(use.known for use in uses)]
    first = known[0]
    if any((one.dtype, one.shape) != (first.dtype, first.shape) for one in known):
        dtypes, shapes = {one.dtype for one in known}, {one.shape for one in known}
        return replace(
            own,
            dtype=dtypes.pop() if len(dtypes) == 1 else DataType.UNKNOWN,
            shape=shapes.pop() if len(shapes) == 1 else None,
            shared=all(one.shared for one in known),
            file_name="",
        )
    file_names = {one.file_name for one in known}
    return replace(
        own,
        dtype=first.dtype,
        shape=first.shape,
        content=first.content if len({one.content for one in known}) == 1 else "",
        shared=all(one.shared for one in known),
        declared=any(one.declared for one in known),
        description=own.description or (first.description if len(known) == 1 else ""),
        file_name=file_names.pop() if len(file_names) == 1 else "",
    )


def _output_type(where: str, own: TensorType, index: int, calls: _Calls) -> TensorType:
    found = [
        _Use(called.outputs[call.results[index]], call.label)
        for call, called in calls
        if index < len(call.results) and 0 <= call.results[index] < len(called.outputs)
    ]
    if not found or not found[0].known.is_known:
        return own
    [use] = found
    known = use.known
    if not own.declared:
        return replace(known, name=own.name, declared=False, description=own.description or known.description)
    if known.declared or known.file_name:  # else examples have shown it
        _check_agrees(where, "comes from", own, use)
        own = own.narrowed(known.shape)
    return replace(own, file_name=known.file_name)


def _check_agrees(where: str, way: str, own: TensorType, use: _Use) -> None:
    """Check that what is declared can be what a called method has.

    Raises:
        StartUpError: It cannot.
    """
    known = use.known
    if not own.agrees(known.dtype, known.shape):
        raise StartUpError(
            f"The {where} is declared as {own.text}, but {way} '{known.name}' of method '{use.label}', which is "
            f"{known.text}; declare that, or leave it out"
        )
