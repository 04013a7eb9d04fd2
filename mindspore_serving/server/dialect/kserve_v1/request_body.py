"""Bodies of `:predict`: rows of named values, or columns of them.

| body | means |
|---|---|
| `{"instances": [{"x": 1, "y": 2}, ...]}` | row form: an object for each row |
| `{"instances": [1, 2, ...]}` | row form, of a method with one input |
| `{"inputs": {"x": [1, ...], "y": [2, ...]}}` | column form: a value for each row in each list |
| `{"inputs": [1, 2, ...]}` | column form, of a method with one input |

`signature_name` beside that is the method, and `parameters` an object for stages that ask for the parameters of
requests. Other keys are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypedDict

import numpy as np
import orjson

from mindspore_serving.errors import InvalidInput, excerpt
from mindspore_serving.json_text import load_json_with_nan
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.kserve_v1.values import is_b64, read_values
from mindspore_serving.server.transport.http_routes import BodyContent, BodyFormat
from mindspore_serving.tensor import ColumnData, DataType, TensorSpec, join_columns, runs_of_equal

DEFAULT_SIGNATURE: Final = "serving_default"
"""How TensorFlow Serving calls the method that is meant where none is said."""
ROW_FORM: Final = "predictions"
COLUMN_FORM: Final = "outputs"
"""The form of a request, by the key of its reply."""
_MOST_SHARED_BYTES = 1 << 29
"""Bytes that values may come to which all rows have in common."""


class _Input(NamedTuple):
    """What is known of an input.

    Attributes:
        name: Its name.
        dtype: Data type; UNKNOWN where any is taken.
        shared: Whether all rows have one value in common.
    """

    name: str
    dtype: DataType
    shared: bool


class Methods(TypedDict):
    """What a body may ask for: a JSON document, for the process that reads large bodies.

    Attributes:
        model: Name of the model.
        default: The method that is meant where the body names none.
        inputs: Name, data type by its number and `shared` of each input, by method.
    """

    model: str
    default: str
    inputs: dict[str, list[tuple[str, int, bool]]]


def read_predict(body: bytes, argument: Methods) -> BodyContent:
    """The rows of a request.

    Args:
        body: JSON.
        argument: What it may ask for.

    Returns:
        The rows, with the inputs of the method in order, and a document: `method`, `form` and `parameters`.

    Raises:
        InvalidInput: It is no JSON, or not what the method takes; the text says what is wrong.
    """
    document = load_json_with_nan(body)
    if not isinstance(document, dict):
        raise InvalidInput("The body should be a JSON object with 'instances' or 'inputs'")
    method = _method_of(document, argument)
    inputs = [_Input(name, DataType(dtype), shared) for name, dtype, shared in argument["inputs"][method]]
    if ("instances" in document) == ("inputs" in document):
        got = "both" if "instances" in document else "neither"
        raise InvalidInput(f"The body should have one of the keys 'instances' and 'inputs', but has {got}")
    if "instances" in document:
        form, columns, count = ROW_FORM, *_rows_of(document["instances"], inputs)
    else:
        form, columns, count = COLUMN_FORM, *_columns_of(document["inputs"], inputs)
    rest = {"method": method, "form": form, "parameters": _parameters_of(document)}
    return BodyContent(_blocks_of(inputs, columns, count), rest)


def _method_of(document: Mapping[str, Any], methods: Methods) -> str:
    """The method that a request asks for.

    Raises:
        InvalidInput: There is none of that name.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidInput("'signature_name' should be a string, the name of a method")
    if name in methods["inputs"]:
        return name
    if name in ("", DEFAULT_SIGNATURE):
        return methods["default"]
    known = ", ".join(methods["inputs"])
    raise InvalidInput(
        f"Serving signature name '{excerpt(name)}' is not found: the methods of model '{excerpt(methods['model'])}' "
        f"are {known}"
    )


def _parameters_of(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters of a request; None where it has none.

    Raises:
        InvalidInput: They are no object, or cannot be passed on.
    """
    parameters = document.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'parameters' should be an object, but got {_kind(parameters)}")
    try:
        orjson.dumps(parameters)
    except orjson.JSONEncodeError as cause:  # nested too deeply, or an integer of more than 64 bits
        raise InvalidInput(f"'parameters' cannot be passed on: {cause}") from cause
    return parameters


def _rows_of(instances: Any, inputs: Sequence[_Input]) -> tuple[list[list[Any]], int]:
    """The values of each input in order of rows, and the number of rows.

    Raises:
        InvalidInput: `instances` is no list of rows of these inputs.
    """
    if not isinstance(instances, list):
        raise InvalidInput(f"'instances' should be a list of rows, but got {_kind(instances)}")
    if not instances:
        raise InvalidInput("'instances' has no rows, at least one is expected")
    if not _is_named(instances[0]):
        _check_one_input(inputs, "'instances' has values without names")
        for at, row in enumerate(instances):
            if _is_named(row):
                raise InvalidInput(f"Row {at} of 'instances' is an object of names, but row 0 is a value")
        return [instances], len(instances)
    names = {one.name for one in inputs}
    for at, row in enumerate(instances):
        if not _is_named(row):
            raise InvalidInput(f"Row {at} of 'instances' is a value, but row 0 is an object of names")
        if row.keys() != names:
            raise _wrong_names(f"Row {at} of 'instances'", row, inputs)
    return [[row[one.name] for row in instances] for one in inputs], len(instances)


def _columns_of(values: Any, inputs: Sequence[_Input]) -> tuple[list[list[Any]], int]:
    """As `_rows_of`, of columns; of an input that all rows have in common there is one value.

    Raises:
        InvalidInput: `inputs` holds no columns of these inputs, or their lengths differ.
    """
    if _is_named(values):
        if values.keys() != {one.name for one in inputs}:
            raise _wrong_names("'inputs'", values, inputs)
    else:
        _check_one_input(inputs, "'inputs' is a value without a name")
        values = {inputs[0].name: values}
    columns, counts = [], {}
    for one in inputs:
        value = values[one.name]
        if one.shared:
            columns.append([value])
            continue
        if not isinstance(value, list) or not value:
            raise InvalidInput(
                f"Input '{one.name}' in 'inputs' should be a list with a value for each row, but got "
                f"{'an empty list' if value == [] else _kind(value)}"
            )
        columns.append(value)
        counts[one.name] = len(value)
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
        raise InvalidInput(f"The inputs should have the same number of rows, but {excerpt(shown, 1000)}")
    return columns, next(iter(counts.values()), 1)


def _blocks_of(inputs: Sequence[_Input], columns: Sequence[Sequence[Any]], count: int) -> list[Rows]:
    """All rows of a request, neighbours that are alike in one block."""
    read: list[list[tuple[TensorSpec, ColumnData]]] = []
    for one, values in zip(inputs, columns, strict=True):
        if one.shared and len(values) == 1 and count > 1:
            read.append(_shared_column(one, values[0], count))
            continue
        column = read_values(one.name, values, one.dtype)
        if column is None:
            read.append(_runs_of(one, values))
        else:
            read.append([column])
    if all(len(parts) == 1 for parts in read):
        specs = tuple(parts[0][0] for parts in read)
        return [Rows(specs, tuple(parts[0][1] for parts in read), count)]
    return _aligned(read, count)


def _shared_column(one: _Input, value: Any, count: int) -> list[tuple[TensorSpec, ColumnData]]:
    """A value that all rows have in common, once for each of them.

    Raises:
        InvalidInput: That would be too much.
    """
    column = read_values(one.name, [value], one.dtype)
    assert column is not None  # a single row agrees with itself
    spec, data = column
    size = len(data[0]) if isinstance(data, list) else data.nbytes
    if size * count > _MOST_SHARED_BYTES:
        raise InvalidInput(
            f"Input '{one.name}' has {size} bytes that {count} rows have in common, which is more than "
            f"{_MOST_SHARED_BYTES} bytes together: send fewer rows"
        )
    if isinstance(data, list):
        return [(spec, data * count)]
    return [(spec, np.repeat(data, count, axis=0))]


def _runs_of(one: _Input, values: Sequence[Any]) -> list[tuple[TensorSpec, ColumnData]]:
    """An input whose rows differ, neighbours that are alike joined."""
    each = []
    for value in values:
        column = read_values(one.name, [value], one.dtype)
        assert column is not None  # a single row agrees with itself
        each.append(column)
    specs = [spec for spec, _ in each]
    return [
        (specs[start], join_columns([data for _, data in each[start:stop]]))
        for start, stop in runs_of_equal(specs)
    ]


def _aligned(read: Sequence[Sequence[tuple[TensorSpec, ColumnData]]], count: int) -> list[Rows]:
    """Blocks that begin wherever any input begins to look otherwise."""
    starts = {0, count}
    places: list[list[int]] = []
    for parts in read:
        begins = [0]
        for _, data in parts:
            begins.append(begins[-1] + len(data))
        starts.update(begins)
        places.append(begins)
    blocks = []
    bounds = sorted(starts)
    at = [0] * len(read)
    for start, stop in pairwise(bounds):
        specs, columns = [], []
        for i, parts in enumerate(read):
            if places[i][at[i] + 1] <= start:
                at[i] += 1
            spec, data = parts[at[i]]
            begin = places[i][at[i]]
            specs.append(spec)
            columns.append(data[start - begin : stop - begin])
        blocks.append(Rows(tuple(specs), tuple(columns), stop - start))
    return blocks


def _is_named(value: Any) -> bool:
    """Whether a value is an object of names and values."""
    return isinstance(value, dict) and not is_b64(value)


def _check_one_input(inputs: Sequence[_Input], what: str) -> None:
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise InvalidInput(f"{what}, but the method has {len(inputs)} inputs: {names}")


def _wrong_names(where: str, got: Mapping[str, Any], inputs: Sequence[_Input]) -> InvalidInput:
    names = [one.name for one in inputs]
    expected = f"inputs are {', '.join(names) or 'none'}"
    for name in names:
        if name not in got:
            return InvalidInput(f"{where} has no input '{name}', {expected}")
    unknown = next(name for name in got if name not in names)
    return InvalidInput(f"{where} has the unknown input '{excerpt(unknown)}', {expected}")


def _kind(value: Any) -> str:
    """What a JSON value is, in an error text."""
    if value is None:
        return "null"
    kinds = {bool: "a bool", int: "a number", float: "a number", str: "a string", dict: "an object"}
    return kinds.get(type(value), "a list")


PREDICT: Final = BodyFormat(read_predict)
