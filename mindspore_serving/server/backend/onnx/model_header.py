"""What stands around the graph of an ONNX file, read without a library: is it one, is it whole, for which operators.

The file is one protobuf message. Only its outermost fields are walked; the graph, which may have gigabytes, is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_file import check_path, reading

_IR_VERSION, _GRAPH, _OPSET_IMPORT = 1, 7, 8
_NUMBERS = {_IR_VERSION, 5}
_MESSAGES = {2, 3, 4, 6, _GRAPH, _OPSET_IMPORT, 14, 20, 25, 26}
_VARINT, _LENGTH = 0, 2
_ORT_MARK, _ORT_MARK_AT = b"ORTM", 4
_LONGEST_VARINT = 10
_LONGEST_OPSET = 1024
_OPSET_VERSION = 2
_FOREIGN = "the file holds something else or is damaged, expected an ONNX model"


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What a file says of itself.

    Attributes:
        ir_version: Of the file format; 0 where it says none.
        opsets: Version of the operators by domain, "" for those of ONNX.
    """

    ir_version: int
    opsets: Mapping[str, int]


def read_header(path: Path) -> ModelHeader | None:
    """Look at a file before the library does.

    Args:
        path: The file.

    Returns:
        Its header; None for a file in ONNX Runtime's own format (.ort), which only that reads.

    Raises:
        StartUpError: It cannot be read, is empty, holds something else, or ends too early; names it.
    """
    check_path(path)
    with reading(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise StartUpError(f"Model file '{path}': the file is empty, expected an ONNX model")
        head = file.read(_ORT_MARK_AT + len(_ORT_MARK))
        file.seek(0)
        if head[_ORT_MARK_AT:] == _ORT_MARK:
            return None
        try:
            return _walk(file, size)
        except ValueError as cause:
            raise StartUpError(f"Model file '{path}': {cause}") from cause


def _walk(file: IO[bytes], size: int) -> ModelHeader:
    """Read the outermost fields.

    Raises:
        ValueError: They are not those of an ONNX file.
    """
    ir_version, opsets, has_graph = 0, {}, False
    while file.tell() < size:
        at = file.tell()
        field, kind = divmod(_varint(file), 8)
        if kind == _VARINT and field in _NUMBERS:
            number = _varint(file)
            ir_version = number if field == _IR_VERSION else ir_version
            continue
        if kind != _LENGTH or field not in _MESSAGES:
            raise ValueError(_foreign(field, kind, at))
        length = _varint(file)
        if file.tell() + length > size:
            if not has_graph and field != _GRAPH:
                raise ValueError(_foreign(field, kind, at))
            raise ValueError(
                f"the file is damaged or incomplete, it has {size} bytes, expected at least {file.tell() + length}"
            )
        if field == _OPSET_IMPORT:
            domain, version = _opset(file.read(min(length, _LONGEST_OPSET)))
            opsets[domain] = version
        else:
            file.seek(length, os.SEEK_CUR)
        has_graph |= field == _GRAPH
    if not has_graph:
        raise ValueError("no graph was found in the file, expected an ONNX model; the file may be incomplete")
    return ModelHeader(ir_version, opsets)


def _foreign(field: int, kind: int, at: int) -> str:
    if (field, kind) == (_IR_VERSION, _LENGTH) and at == 0:
        return "the file holds no ONNX model but looks like MindIR: declare it with model_format='MindIR'"
    return _FOREIGN


def _opset(content: bytes) -> tuple[str, int]:
    """Domain and version of an entry of `opset_import`."""
    domain, version, entry = "", 0, BytesIO(content)
    while entry.tell() < len(content):
        field, kind = divmod(_varint(entry), 8)
        value = _varint(entry)
        if kind == _LENGTH:
            domain = entry.read(min(value, len(content))).decode(errors="replace")
        elif field == _OPSET_VERSION:
            version = value
    return "" if domain == "ai.onnx" else domain, version


def _varint(file: IO[bytes]) -> int:
    """The number that comes next.

    Raises:
        ValueError: It has no end.
    """
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << 7 * position
        if byte[0] < 128:
            return value
    raise ValueError(_FOREIGN)
