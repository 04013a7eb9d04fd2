"""Whether parameters are there, whole, and those of the program.

Paddle does not notice all of it: without its file a model computes with whatever is in memory.

A file has one tensor after the other, without names:

| field | what it is |
| --- | --- |
| version | 4 bytes, 0 |
| levels of sequences | 8 bytes, and for each level its size in 8 bytes and as many bytes |
| version | 4 bytes, 0 |
| length, description | 4 bytes and a message with data type and shape |
| data | as many bytes as these say |
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any

from google.protobuf.message import DecodeError

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.model_file import reading
from mindspore_serving.server.backend.paddle.library import messages
from mindspore_serving.server.backend.paddle.model_files import ModelFiles
from mindspore_serving.server.backend.paddle.program import Program, dtype_name

_ITEM_SIZES = {
    "BOOL": 1,
    "INT8": 1,
    "UINT8": 1,
    "INT16": 2,
    "FLOAT16": 2,
    "BFLOAT16": 2,
    "INT32": 4,
    "FLOAT32": 4,
    "INT64": 8,
    "FLOAT64": 8,
    "COMPLEX64": 8,
    "COMPLEX128": 16,
}
_HEAD = struct.Struct("<IQ")
_SIZE = struct.Struct("<Q")
_DESCRIPTION = struct.Struct("<Ii")
_LARGEST_DESCRIPTION = 4096
_ASK = "save the model again, and copy both files"

Kind = tuple[str, tuple[int, ...]]
"""Data type and shape of a tensor."""


def check_parameters(files: ModelFiles, program: Program) -> None:
    """Check the parameters of a program.

    Raises:
        StartUpError: They are missing, damaged, or those of another model; names the file.
    """
    if files.parameters is None:
        for value in program.parameters:
            path = files.program.with_name(value.name)
            _check_file(files, path, Counter([(value.dtype, value.shape)]))
    elif program.parameters:
        wanted = Counter((value.dtype, value.shape) for value in program.parameters)
        _check_file(files, files.parameters, wanted)


def _check_file(files: ModelFiles, path: Path, wanted: Counter[Kind]) -> None:
    if not path.is_file():
        raise StartUpError(
            f"Model file '{files.declared}': its parameters are missing, expected the file '{path.name}' beside it"
        )
    with reading(path), path.open("rb") as file:
        try:
            found = Counter(_tensors_of(file))
        except ValueError as cause:
            raise StartUpError(
                f"Model file '{files.declared}': its parameters in '{path.name}' are damaged or incomplete, {cause}; "
                f"{_ASK}"
            ) from cause
    if found != wanted:
        raise StartUpError(
            f"Model file '{files.declared}': the parameters in '{path.name}' are those of another model, "
            f"{_difference(found, wanted)}; {_ASK}"
        )


def _difference(found: Counter[Kind], wanted: Counter[Kind]) -> str:
    missing, surplus = wanted - found, found - wanted
    parts = [
        f"{what} {dtype.lower()} {list(shape)}"
        for what, kinds in (("it lacks", missing), ("it has", surplus))
        for dtype, shape in list(kinds)[:1]
    ]
    return " and ".join(parts)


def _tensors_of(file: IO[bytes]) -> Iterator[Kind]:
    """Data types and shapes of all tensors of a file; the data is skipped.

    Raises:
        ValueError: The file is damaged or incomplete.
    """
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise ValueError("the file is empty")
    while (begin := file.tell()) < size:
        kind, length = _description_of(file, begin)
        if length > size - file.tell():
            raise ValueError(f"the tensor at byte {begin} ends behind the file, which has {size} bytes")
        file.seek(length, os.SEEK_CUR)
        yield kind


def _description_of(file: IO[bytes], begin: int) -> tuple[Kind, int]:
    """What stands before the data of a tensor, and the length of the data."""
    version, levels = _read(file, _HEAD)
    if version or levels > _LARGEST_DESCRIPTION:
        raise ValueError(f"no tensor begins at byte {begin}")
    for _ in range(levels):
        file.seek(_read(file, _SIZE)[0], os.SEEK_CUR)
    version, length = _read(file, _DESCRIPTION)
    if version or not 0 <= length <= _LARGEST_DESCRIPTION:
        raise ValueError(f"no tensor begins at byte {begin}")
    try:
        description = messages().VarType.TensorDesc.FromString(file.read(length))
        dtype = dtype_name(description.data_type)
        item_size = _ITEM_SIZES[dtype]
    except (DecodeError, ValueError, KeyError) as cause:
        raise ValueError(f"no tensor begins at byte {begin}") from cause
    shape = tuple(description.dims)
    return (dtype, shape), prod(shape) * item_size


def _read(file: IO[bytes], form: struct.Struct) -> tuple[Any, ...]:
    content = file.read(form.size)
    if len(content) < form.size:
        raise ValueError("the file ends within a tensor")
    return form.unpack(content)
