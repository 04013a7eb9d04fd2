"""REST bodies to columns of instances, and outcomes to REST bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np
import orjson
import pybase64

from mindspore_serving.errors import Failure, InvalidInput
from mindspore_serving.json_text import load_json
from mindspore_serving.rows import FailedRows, Reply, Rows
from mindspore_serving.server.dialect.native.json_values import read_column, read_value
from mindspore_serving.server.service.error_text import encode_failure, texts_for_client
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import ColumnData, DataType, TensorSpec, runs_of_equal

_SMALL_ARRAY = 64
"""Elements of one instance's output up to which Python lists serialise faster than arrays."""
_DIGITS_AS_ZEROS = bytes(0x30 if byte in b"0123456789" else 0x20 for byte in range(256))
_MANY_DIGITS = b"0" * 19
_LARGE_BODY = 1 << 14
"""Bytes of a body in which a first look for digits with NumPy is quicker."""
_EIGHT_TRUE = np.uint64(0x0101010101010101)
_name_of = attrgetter("name")
_NO_TYPES: Final[Mapping[str, DataType]] = MappingProxyType({})
_DUMP_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY


def parse_body(body: bytes) -> Any:
    """The JSON document of a request.

    Raises:
        InvalidInput: The body is empty or no JSON.
        MemoryError: There is no memory to read it.
    """
    if not body:
        raise InvalidInput("http message invalid")
    try:
        document = load_json(body)
        if _has_many_digits(body):  # orjson silently reads an integer of more than 64 bits as a float
            document = json.loads(body)
        return document
    except orjson.JSONDecodeError as cause:
        raise InvalidInput(f"Illegal JSON format.{cause}") from cause
    except RecursionError as cause:
        raise InvalidInput("Illegal JSON format.nested too deeply") from cause


def _has_many_digits(body: bytes) -> bool:
    """Whether 19 digits follow each other, as in each integer of more than 64 bits."""
    if len(body) > _LARGE_BODY:
        # 19 digits fill one of the blocks of eight bytes: text in base64 hardly ever does.
        digits = np.frombuffer(body, np.uint8, len(body) & ~7) - np.uint8(ord("0")) < 10
        if not (digits.view(np.uint64) == _EIGHT_TRUE).any():
            return False
    return _MANY_DIGITS in body.translate(_DIGITS_AS_ZEROS)


def read_instances(document: Any, model_types: Mapping[str, DataType] = _NO_TYPES) -> list[Rows]:
    """All instances of a request, with every key that they have.

    Args:
        document: The parsed body.
        model_types: What numbers become, by input; see `MethodSignature.number_types`.

    Returns:
        The instances in order, neighbours that agree in names, dtypes and shapes in one block.

    Raises:
        InvalidInput: The document does not hold instances, or a value is no tensor; the text says why.
    """
    try:
        instances = _instances_of(document)
        first = instances[0]
        if len(instances) == 1:  # without a loop for each input
            columns = []
            for name, value in first.items():
                columns.append(read_column(name, [value], model_types.get(name)))
        else:
            columns = _columns_of(instances, model_types)
        if None not in columns:
            specs, data = zip(*columns, strict=True)
            return [Rows(specs, data, len(instances))]
        return _blocks_by_instance(instances, model_types)
    except InvalidInput as cause:
        raise InvalidInput(f"Parser request failed, {cause}") from cause


def _columns_of(
    instances: Sequence[dict[str, Any]], model_types: Mapping[str, DataType]
) -> list[tuple[TensorSpec, ColumnData] | None]:
    """A column for each key, if all instances have the same keys; None where one has to be read value by value."""
    first = instances[0]
    if set(map(len, instances)) != {len(first)}:
        return [None]
    try:
        values = [list(map(itemgetter(name), instances)) for name in first]
    except KeyError:  # as many keys, but others
        return [None]
    return [
        read_column(name, found, model_types.get(name)) for name, found in zip(first, values, strict=True)
    ]


def select_inputs(blocks: Sequence[Rows], servable: str, method: MethodSignature) -> list[Rows]:
    """Keep the method's inputs, in the method's order.

    Raises:
        InvalidInput: An instance lacks an input, or holds text of an impossible shape.
    """
    if len(blocks) == 1:  # nearly always
        return [_select(blocks[0], servable, method)]
    return [_select(block, servable, method) for block in blocks]


def _select(block: Rows, servable: str, method: MethodSignature) -> Rows:
    names = tuple(map(_name_of, block.specs))
    if names == method.input_names and list not in map(type, block.columns):
        return block
    places = {spec.name: i for i, spec in enumerate(block.specs)}
    for name in method.input_names:
        if name not in places:
            raise InvalidInput(
                f"Cannot find input {name} in instance input , servable {servable}, method {method.name}"
            )
        spec = block.specs[places[name]]
        if spec.dtype.is_text and spec.shape not in ((), (1,)):
            raise InvalidInput(
                f"Instances input {name} check failed, detail: Instance tensor check failed: bytes or string "
                f"type input  shape can only be (1,) or empty, but given shape is {list(spec.shape)}"
            )
    chosen = [places[name] for name in method.input_names]
    return Rows(tuple(block.specs[i] for i in chosen), tuple(block.columns[i] for i in chosen), block.count)


def _instances_of(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict) or "instances" not in document:
        raise InvalidInput("key 'instances' expects to exist once, but actually 0 times")
    instances = document["instances"]
    if isinstance(instances, dict):
        if not instances:
            raise InvalidInput("json object, value is empty")
        instances = [instances]
    elif not isinstance(instances, list):
        raise InvalidInput("instances no key mode is not supported")
    elif not instances:
        raise InvalidInput("instances value is array type, but no value")
    elif not isinstance(instances[0], dict):
        raise InvalidInput("instances no key mode is not supported")
    for instance in instances:
        if not isinstance(instance, dict):
            raise InvalidInput("json array, instance is not object type")
        if not instance:
            raise InvalidInput("json array, instance is object type, but no value")
        if "" in instance:
            raise InvalidInput("string key is empty")
    return instances


def _blocks_by_instance(
    instances: Sequence[dict[str, Any]], model_types: Mapping[str, DataType]
) -> list[Rows]:
    specs, values = [], []
    for instance in instances:
        tensors = {
            name: read_value(name, value, model_types.get(name)) for name, value in sorted(instance.items())
        }
        specs.append(tuple(TensorSpec(name, t.dtype, t.shape) for name, t in tensors.items()))
        values.append([tensor.data for tensor in tensors.values()])
    blocks = []
    for start, stop in runs_of_equal(specs):
        run = values[start:stop]
        columns = tuple(_stack([row[i] for row in run]) for i in range(len(specs[start])))
        blocks.append(Rows(specs[start], columns, stop - start))
    return blocks


def _stack(values: list[Any]) -> ColumnData:
    return values if isinstance(values[0], bytes) else np.stack(values)


def encode_reply(groups: Reply) -> tuple[int, bytes]:
    """HTTP status and body for the outcome of every instance.

    Args:
        groups: Results and failures in request order.
    """
    if len(groups) == 1 and isinstance(groups[0], Rows):  # nearly always
        return 200, orjson.dumps({"instances": _objects_of(groups[0])}, option=_DUMP_OPTIONS)
    failures = [group.failure for group in groups if isinstance(group, FailedRows)]
    if len(failures) == len(groups) and len({(failure.code, failure.text) for failure in failures}) == 1:
        return failures[0].status, encode_failure(failures[0])
    instances: list[dict[str, Any]] = []
    texts = iter(texts_for_client(failures) if failures else ())
    for group in groups:
        if isinstance(group, FailedRows):
            instances += [{"error_msg": next(texts)}] * group.count
        else:
            instances += _objects_of(group)
    status = _status_of(failures) if len(failures) == len(groups) else 200
    return status, orjson.dumps({"instances": instances}, option=_DUMP_OPTIONS)


def _status_of(failures: Sequence[Failure]) -> int:
    """HTTP status where every instance has failed: the first that does not say that all of them can be sent again."""
    statuses = [failure.status for failure in failures]
    return next((status for status in statuses if status != HTTPStatus.SERVICE_UNAVAILABLE), statuses[0])


def _objects_of(rows: Rows) -> list[dict[str, Any]]:
    if len(rows.specs) == 1:
        [spec], [column] = rows.specs, rows.columns
        return [{spec.name: value} for value in _json_values(spec, column)]
    names = [spec.name for spec in rows.specs]
    columns = [_json_values(spec, column) for spec, column in zip(rows.specs, rows.columns, strict=True)]
    if not names:
        return [{} for _ in range(rows.count)]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json_values(spec: TensorSpec, column: ColumnData) -> Sequence[Any]:
    """What orjson writes for each instance's value."""
    if isinstance(column, list):
        values = [_json_text(spec.dtype, value) for value in column]
        return [[value] for value in values] if spec.shape else values
    if 0 < column.size <= _SMALL_ARRAY * len(column):
        return cast("list[Any]", column.tolist())
    if spec.dtype in (DataType.FLOAT16, DataType.FLOAT32):
        column = column.astype(np.float64)
    return list(np.ascontiguousarray(column))


def _json_text(dtype: DataType, value: bytes) -> str | dict[str, str]:
    return value.decode() if dtype is DataType.STRING else {"b64": pybase64.b64encode_as_string(value)}
