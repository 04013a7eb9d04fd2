"""A REST body: the JSON codec against the module json, and many instances at once against each by itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.native.json_codec import (
    encode_reply,
    parse_body,
    read_instances,
    select_inputs,
)
from mindspore_serving.server.dialect.native.json_values import JsonTensor, read_value
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import NUMPY_OF, DataType
from tests.fuzz.oracle import demand, demand_text

METHOD = MethodSignature("m", ("x",), 64)
_DEEPEST = 500
"""Levels of nesting up to which a document must be read."""


def one_input(data: bytes) -> None:
    """Read a body as far as it goes, and write what was read."""
    reference, known = _reference(data)
    try:
        document = parse_body(data)
    except InvalidInput as error:
        _told(error)
        demand(not known, "JSON is read", error, data)
        return
    if known:
        demand(_same(document, reference), "JSON is read as the module json reads it", document, reference)
    try:
        blocks = read_instances(document)
    except InvalidInput as error:
        _told(error)
        demand(_first_refusal(document) is not None, "what is refused together is refused alone", error)
        return
    _compare(document, blocks)
    try:
        read_instances(document, {"x": DataType.FLOAT32})
    except InvalidInput as error:
        _told(error)
    try:
        select_inputs(blocks, "s", METHOD)
    except InvalidInput as error:
        _told(error)


def _told(error: InvalidInput) -> None:
    body = json.loads(encode_failure(error.failure()))
    demand(body == {"error_msg": demand_text(error)}, "a refusal is told", body)


def _reference(data: bytes) -> tuple[Any, bool]:
    """The document as the module json reads it, and whether it must be read."""
    try:
        text = data.decode()
        deep = max(text.count("["), text.count("{")) > _DEEPEST
        document = json.loads(text, parse_constant=_refuse, parse_int=_int64, parse_float=_finite)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None, False
    return document, not deep


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _int64(digits: str) -> int:
    value = int(digits)
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(digits)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(text)
    return value


def _same(one: Any, other: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart."""
    return json.dumps(one) == json.dumps(other)


def _first_refusal(document: Any) -> InvalidInput | None:
    """Why one of the instances is refused by itself, or the document is none."""
    instances = document.get("instances") if isinstance(document, dict) else None
    for instance in instances if isinstance(instances, list) and instances else [instances]:
        try:
            read_instances({"instances": [instance]})
        except InvalidInput as error:
            return error
    return None


def _compare(document: Any, blocks: list[Rows]) -> None:
    instances = document["instances"]
    instances = instances if isinstance(instances, list) else [instances]
    demand(sum(block.count for block in blocks) == len(instances), "every instance is read", blocks)
    _, body = encode_reply(blocks)
    replies = json.loads(body)["instances"]
    at = 0
    for block in blocks:
        for row in range(block.count):
            demand(
                {spec.name for spec in block.specs} == instances[at].keys(),
                "every input is read",
                block.specs,
            )
            for spec, column in zip(block.specs, block.columns, strict=True):
                value = instances[at][spec.name]
                tensor = JsonTensor(spec.dtype, spec.shape, column[row])
                _compare_value(tensor, value)
                demand(
                    _same(replies[at][spec.name], _written(tensor)), "a value is written", tensor, replies[at]
                )
            at += 1


def _compare_value(tensor: JsonTensor, value: Any) -> None:
    alone = read_value("x", value)
    demand(
        (alone.dtype, alone.shape) == (tensor.dtype, tensor.shape) and _raw(alone) == _raw(tensor),
        "a value is read as it is read by itself",
        tensor,
        alone,
    )
    if (
        isinstance(value, list)
        or tensor.dtype in (DataType.STRING, DataType.BYTES)
        or isinstance(value, dict)
    ):
        leaf = value
        while isinstance(leaf, list):
            leaf = leaf[0]
        if isinstance(leaf, dict):
            demand(base64.b64decode(leaf["b64"]) == _raw(tensor), "base64 is decoded", tensor, value)
        elif isinstance(leaf, str):
            demand(leaf.encode() == _raw(tensor), "text is UTF-8", tensor, value)
        else:
            _compare_array(tensor, value)
    else:
        _compare_array(tensor, value)


def _compare_array(tensor: JsonTensor, value: Any) -> None:
    with np.errstate(over="ignore"):
        expected = np.asarray(value).astype(NUMPY_OF[tensor.dtype])
    demand(expected.shape == tensor.shape, "the shape is that of the list", tensor, value)
    demand(expected.tobytes() == _raw(tensor), "the numbers are those of the list", tensor, value)


def _raw(tensor: JsonTensor) -> bytes:
    return tensor.data if isinstance(tensor.data, bytes) else tensor.data.tobytes()


def _written(tensor: JsonTensor) -> Any:
    """What the reply says."""
    if isinstance(tensor.data, bytes):
        text: Any = tensor.data.decode() if tensor.dtype is DataType.STRING else None
        text = {"b64": base64.b64encode(tensor.data).decode()} if text is None else text
        return [text] if tensor.shape else text
    return _finite_only(tensor.data.tolist())


def _finite_only(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite_only(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
