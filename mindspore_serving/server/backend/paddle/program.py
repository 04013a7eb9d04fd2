"""What a program says of its inputs, outputs and parameters, read before Paddle makes a predictor of it.

A predictor does not tell shapes before it runs. And Paddle crashes, or computes with whatever is in memory, where files
are damaged or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from google.protobuf.message import DecodeError

from mindspore_serving.errors import StartUpError
from mindspore_serving.json_text import load_json
from mindspore_serving.server.backend.paddle.library import LIBRARY, messages, reason_of
from mindspore_serving.server.backend.paddle.model_files import ModelFiles
from mindspore_serving.tensor import MAX_DIMENSIONS, DataType, TensorSpec

_DATA_TYPES = {
    "BOOL": DataType.BOOL,
    "INT8": DataType.INT8,
    "UINT8": DataType.UINT8,
    "INT16": DataType.INT16,
    "INT32": DataType.INT32,
    "INT64": DataType.INT64,
    "FLOAT16": DataType.FLOAT16,
    "FLOAT32": DataType.FLOAT32,
    "FLOAT64": DataType.FLOAT64,
}
_OLD_NAMES = {"FP16": "FLOAT16", "FP32": "FLOAT32", "FP64": "FLOAT64", "BF16": "BFLOAT16"}
"""As programs before Paddle 3 have them."""
_NO_PROGRAM = "the file is no program of Paddle for inference"
_EXPECTED = "expected what paddle.jit.save has written; an encrypted file needs a dec_key"


class Value(NamedTuple):
    """An input, an output or a parameter.

    Attributes:
        name: Its name in the file.
        dtype: Paddle's name for its data type.
        shape: -1 for a dimension of any size.
        lod_level: How many levels of sequences of different lengths are in one tensor; 0 for a plain one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    lod_level: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """What a program says.

    Attributes:
        inputs: In order.
        outputs: In order.
        parameters: Its parameters, in no order.
    """

    inputs: Sequence[Value]
    outputs: Sequence[Value]
    parameters: Sequence[Value]


def read_program(paddle: Any, files: ModelFiles) -> Program:
    """Read a program.

    Args:
        paddle: The module.
        files: Where it is.

    Raises:
        StartUpError: It is damaged, something else than a program, or has no outputs.
    """
    program = _read_json(paddle, files) if files.is_json else _read_message(files)
    if not program.outputs:
        raise StartUpError(f"Model file '{files.declared}': {_NO_PROGRAM}, it has no outputs")
    return program


def spec_of(what: str, index: int, value: Value) -> TensorSpec:
    """An input or output as the server has it.

    Args:
        what: `input` or `output`.
        index: Which one.
        value: As the program has it.

    Raises:
        StartUpError: Its data type or shape cannot be served.
    """
    kind = _DATA_TYPES.get(value.dtype)
    if kind is None:
        raise StartUpError(
            f"The data type of model {what} {index} '{value.name}' is unsupported, data type: {value.dtype.lower()}, "
            f"expected one of {', '.join(_DATA_TYPES).lower()}: change the export"
        )
    if len(value.shape) > MAX_DIMENSIONS or (what == "input" and 0 in value.shape):
        raise StartUpError(
            f"The shape of model {what} {index} '{value.name}' is invalid, shape: {list(value.shape)}, expected at "
            f"most {MAX_DIMENSIONS} dimensions above 0, or -1 for any"
        )
    return TensorSpec(value.name, kind, value.shape)


def dtype_name(code: int) -> str:
    """Paddle's name for a data type that has a number in a message.

    Raises:
        ValueError: There is none of that number.
    """
    name: str = messages().VarType.Type.Name(code)
    return _OLD_NAMES.get(name, name)


def _read_message(files: ModelFiles) -> Program:
    """A program before Paddle 3: a protobuf message."""
    description = messages().ProgramDesc()
    try:
        description.ParseFromString(files.content())
    except DecodeError as cause:
        raise StartUpError(f"Model file '{files.declared}': {_NO_PROGRAM} or damaged, {_EXPECTED}") from cause
    if not description.blocks:
        raise StartUpError(f"Model file '{files.declared}': {_NO_PROGRAM}, {_EXPECTED}")
    block = description.blocks[0]
    values = {one.name: one for one in block.vars}
    try:
        return Program(
            [_old_value(values[name]) for name in _named_by(block.ops, "feed")],
            [_old_value(values[name]) for name in _named_by(block.ops, "fetch")],
            [_old_value(one) for one in values.values() if _is_parameter(one)],
        )
    except KeyError as cause:
        raise StartUpError(f"Model file '{files.declared}': the file is damaged, it lacks {cause}") from cause


def _named_by(operators: Any, kind: str) -> list[str]:
    """Names of what operators of a kind, `feed` or `fetch`, bring in or out, by their column."""
    found: list[tuple[int, str]] = []
    for operator in operators:
        if operator.type == kind:
            ends = operator.outputs if kind == "feed" else operator.inputs
            [column] = [one.i for one in operator.attrs if one.name == "col"] or [len(found)]
            found.append((column, next(iter(ends[0].arguments), "") if ends else ""))
    return [name for _, name in sorted(found)]


def _is_parameter(one: Any) -> bool:
    return bool(one.persistable) and one.type.type == messages().VarType.DENSE_TENSOR


def _old_value(one: Any) -> Value:
    tensor = one.type.dense_tensor
    shape = tuple(tensor.tensor.dims)
    return Value(one.name, dtype_name(tensor.tensor.data_type), shape, tensor.legacy_lod_level)


def _read_json(paddle: Any, files: ModelFiles) -> Program:
    """A program of Paddle 3, which only Paddle's own reader knows in all its versions."""
    try:
        text = load_json(files.content())
    except orjson.JSONDecodeError as cause:
        raise StartUpError(
            f"Model file '{files.declared}': {_NO_PROGRAM} or damaged, it is no JSON: {cause}; {_EXPECTED}"
        ) from cause
    base = text.get("base_code") if isinstance(text, dict) else None
    if not isinstance(base, dict) or base.get("magic") != "pir" or "program" not in text:
        raise StartUpError(f"Model file '{files.declared}': {_NO_PROGRAM}, {_EXPECTED}")
    program = paddle.pir.Program()
    try:
        paddle.base.core.deserialize_pir_program(str(files.program), program)
    except Exception as cause:  # Paddle raises errors of many types
        raise StartUpError(f"{LIBRARY} cannot load '{files.declared}': {reason_of(cause)}") from cause
    return _of_operators(program.global_block().ops)


def _of_operators(operators: Any) -> Program:
    inputs, outputs, parameters = [], [], []
    for operator in operators:
        match operator.name():
            case "pd_op.data" | "pd_op.feed":
                inputs.append(_new_value(operator, "name"))
            case "pd_op.fetch":
                outputs.append((operator.attrs()["col"], _new_value(operator, "name")))
            case "builtin.parameter":
                parameters.append(_new_value(operator, "parameter_name"))
    return Program(inputs, [value for _, value in sorted(outputs)], parameters)


def _new_value(operator: Any, attribute: str) -> Value:
    result = operator.results()[0]
    return Value(operator.attrs()[attribute], result.dtype.name, tuple(result.shape))
