"""What a MindIR file says about its inputs and outputs, read without MindSpore itself.

A graph that MindSpore has loaded tells neither names nor shapes. The file does: it is one protobuf message, whose
schema MindSpore ships as a module that loads alone, in milliseconds.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.runtime_version import VersionError

from mindspore_serving.errors import StartUpError, excerpt
from mindspore_serving.server.backend.encrypted_model import WrongKey, decrypt, mode_of
from mindspore_serving.server.backend.families import FAMILIES
from mindspore_serving.server.backend.mindspore.devices import find_mindspore
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import MAX_DIMENSIONS, DataType, TensorSpec

_SCHEMA_MODULE = "mindspore.train.mind_ir_pb2"

# protobuf takes no message of this size or more. MindSpore keeps the parameters of larger models in files of their own.
_SIZE_LIMIT = 2**31

_DATA_TYPES = {
    "BOOL": DataType.BOOL,
    "INT8": DataType.INT8,
    "UINT8": DataType.UINT8,
    "INT16": DataType.INT16,
    "UINT16": DataType.UINT16,
    "INT32": DataType.INT32,
    "UINT32": DataType.UINT32,
    "INT64": DataType.INT64,
    "UINT64": DataType.UINT64,
    "FLOAT16": DataType.FLOAT16,
    "FLOAT": DataType.FLOAT32,
    "FLOAT64": DataType.FLOAT64,
    "DOUBLE": DataType.FLOAT64,
}


def read_signature(path: Path, dec_key: bytes | None = None) -> GraphSignature:
    """Read names, data types and shapes of the inputs and outputs of a MindIR file.

    Args:
        path: The file.
        dec_key: Key of an encrypted file, which is decrypted in memory; None for a plain one.

    Returns:
        The signature. Several outputs that the model returns nested stand one after the other.

    Raises:
        StartUpError: The file cannot be read, is no MindIR file, is encrypted although there is no key or the other
            way round, is not decrypted by the key, is newer than the installed MindSpore, or has an input or output
            that cannot be served; names the file, what was found and what was expected.
    """
    schema = mindir_schema()
    try:
        model = _decrypt_and_parse(_read(path), dec_key, schema)
        _check_version(model, schema)
        inputs = tuple(_input_specs(model.graph.input, schema))
        outputs = tuple(_output_specs(model.graph.output, schema))
    except DecodeError as cause:
        raise StartUpError(
            f"Model file '{path}' holds something else or is damaged, expected a MindIR model: {cause}"
        ) from cause
    except StartUpError as cause:
        raise StartUpError(f"Model file '{path}': {cause}") from cause
    return GraphSignature(inputs, outputs)


@functools.cache
def mindir_schema() -> Any:
    """The protobuf module of the MindIR format, from the installed MindSpore, which itself stays unimported.

    Raises:
        StartUpError: MindSpore is not installed, or the installed protobuf is too old for it.
    """
    if _SCHEMA_MODULE in sys.modules:
        return sys.modules[_SCHEMA_MODULE]
    folder = find_mindspore()
    file = folder / "train" / "mind_ir_pb2.py" if folder else None
    if file is None or not file.is_file():
        raise StartUpError(
            f"MindSpore is needed to load MindIR models, expected an installed package with {_SCHEMA_MODULE}, but "
            f"found {folder or 'none'}; install it with: {FAMILIES['mindspore'].install}"
        )
    spec = importlib.util.spec_from_file_location("_mindspore_serving_mind_ir_pb2", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except VersionError as cause:
        raise StartUpError(f"The installed protobuf does not fit the installed MindSpore: {cause}") from cause
    return module


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size >= _SIZE_LIMIT:
            raise StartUpError(f"the file has {size} bytes, expected less than {_SIZE_LIMIT}")
        content = path.read_bytes()
    except OSError as cause:
        raise StartUpError(f"the file cannot be read: {cause.strerror}") from cause
    if not content:
        raise StartUpError("the file is empty, expected a MindIR model")
    return content


def _decrypt_and_parse(content: bytes, dec_key: bytes | None, schema: Any) -> Any:
    mode = mode_of(content)
    if mode is None:
        if dec_key is not None:
            raise StartUpError(
                "the file is not encrypted, but dec_key was given; leave it out for plain models"
            )
        return _parse(content, schema)
    if dec_key is None:
        raise StartUpError(
            f"the file is encrypted with {mode}, but no dec_key was given, expected its enc_key"
        )
    plain = decrypt(content, dec_key)
    try:
        return _parse(plain, schema)
    except (DecodeError, StartUpError) as cause:
        raise WrongKey(mode) from cause


def _parse(content: bytes, schema: Any) -> Any:
    model = schema.ModelProto()
    model.ParseFromString(content)
    if not model.HasField("graph") or not model.graph.output:
        raise StartUpError("no graph with outputs was found, expected a MindIR model")
    return model


def _check_version(model: Any, schema: Any) -> None:
    newest = max(schema.Version.values())
    if not 0 <= model.mind_ir_version <= newest:
        raise StartUpError(
            f"the format has version {model.mind_ir_version}, but the installed MindSpore knows versions up to {newest}"
        )


def _input_specs(values: Sequence[Any], schema: Any) -> Iterator[TensorSpec]:
    for index, value in enumerate(values):
        if len(value.tensor) != 1:
            raise StartUpError(f"model input {index} is no tensor, expected a tensor")
        yield _spec(f"model input {index}", _text(value.name).rpartition(":")[2], value.tensor[0], schema)


def _output_specs(values: Sequence[Any], schema: Any) -> Iterator[TensorSpec]:
    index = 0
    for value in values:
        # Before the first colon stands the name of the graph.
        name = _text(value.name).partition(":")[2] or _text(value.name)
        tensors = value.tensor or list(_flattened(value.attr_info))
        for position, tensor in enumerate(tensors):
            unique = name if len(tensors) == 1 else f"{name}[{position}]"
            yield _spec(f"model output {index}", unique, tensor, schema)
            index += 1


def _flattened(attribute: Any) -> Iterator[Any]:
    """All tensors of a tuple or list, which may hold further tuples and lists."""
    if attribute.seq_info.is_dyn_len:
        raise StartUpError(
            "the model returns a sequence of varying length, expected a fixed number of tensors"
        )
    if attribute.tensors and attribute.type == attribute.TENSORS:
        yield from attribute.tensors
        return
    if attribute.type not in (attribute.TUPLE, attribute.LIST) or not attribute.values:
        kind = _label(attribute.AttributeType, attribute.type)
        raise StartUpError(f"the model returns a value of type {kind}, expected tensors")
    for value in attribute.values:
        yield from _flattened(value)


def _spec(what: str, name: str, tensor: Any, schema: Any) -> TensorSpec:
    label = _label(schema.TensorProto.DataType, tensor.data_type)
    dtype = _DATA_TYPES.get(label)
    if dtype is None:
        raise StartUpError(
            f"The data type of {what} is unsupported, data type: {label}, expected one of {', '.join(_DATA_TYPES)}"
        )
    shape = tuple(tensor.dims)
    if len(shape) > MAX_DIMENSIONS or any(dim < 1 and dim != -1 for dim in shape):
        raise StartUpError(
            f"The shape of {what} is invalid, shape: {excerpt(str(list(shape)))}, expected up to {MAX_DIMENSIONS} "
            "dimensions above 0, or -1 for one of any size; export the model with a known number of dimensions"
        )
    return TensorSpec(name, dtype, shape)


def _text(name: str | bytes) -> str:
    """A name; protobuf gives bytes for one that is no UTF-8."""
    return name if isinstance(name, str) else name.decode(errors="replace")


def _label(enumeration: Any, number: int) -> str:
    """Name of a value; a damaged file may hold numbers that have none."""
    for name, value in enumeration.items():
        if value == number:
            return str(name)
    return f"number {number}"
