"""Values as a person reads them, as JSON has them, and as files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pybase64

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.tensor import Array

_MOST_SHOWN = 64
"""Elements of an array that are all shown."""
_LONGEST_TEXT = 2000
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpg",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"RIFF": "webp",
}


def picture_kind(data: bytes) -> str:
    """`png` or the like, where bytes are an encoded picture; else ""."""
    return next((kind for head, kind in _PICTURES.items() if data.startswith(head)), "")


def type_of(value: Any) -> str:
    """What a value is, as `float32[2,3]`."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]" if value.shape else str(value.dtype)
    if isinstance(value, bytes):
        return "image" if picture_kind(value) else "bytes"
    if isinstance(value, list):
        return f"{type_of(value[0])}[{len(value)}]" if value else "[]"
    return "text" if isinstance(value, str) else type(value).__name__


def text_of_value(value: Any) -> str:
    """A value for a person: large arrays and long bytes are shortened."""
    if isinstance(value, np.ndarray):
        return _array_text(value)
    if isinstance(value, bytes):
        return _bytes_text(value)
    if isinstance(value, list):
        return "\n".join(text_of_value(one) for one in value[:_MOST_SHOWN])
    text = str(value)
    more = len(text) - _LONGEST_TEXT
    return f"{text[:_LONGEST_TEXT]} ... ({more} more characters)" if more > 0 else text


def _array_text(array: Array) -> str:
    text = np.array2string(array, threshold=_MOST_SHOWN, edgeitems=3, precision=6, separator=", ")
    if array.size > _MOST_SHOWN and array.dtype.kind in "fiu":
        text += f"\nmin {array.min():.6g}, mean {array.mean():.6g}, max {array.max():.6g}"
    return text


def _bytes_text(data: bytes) -> str:
    kind = picture_kind(data)
    if not kind:
        return f"{len(data)} bytes: {data[:32].hex(' ')}{' ...' if len(data) > 32 else ''}"
    size = ""
    if kind == "png" and len(data) >= 24:
        size = " of {}x{}".format(*struct.unpack(">II", data[16:24]))
    return f"{kind.upper()} picture{size}, {len(data)} bytes"


def json_of_value(value: Any) -> Any:
    """A value in JSON, whole; bytes as `{"b64": ...}`."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, bytes):
        return {"b64": pybase64.b64encode_as_string(value)}
    return [json_of_value(one) for one in value] if isinstance(value, list) else value


def save_value(folder: Path, stem: str, value: Any) -> Path:
    """Write a value into a file: an array as `.npy`, text as `.txt`, a picture under its own suffix, else `.bin`.

    Raises:
        CommandError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(value, np.ndarray):
            path = folder / f"{stem}.npy"
            np.save(path, value)
        elif isinstance(value, bytes):
            path = folder / f"{stem}.{picture_kind(value) or 'bin'}"
            path.write_bytes(value)
        else:
            path = folder / f"{stem}.txt"
            path.write_text(str(value))
    except OSError as cause:
        raise CommandError(f"--output: '{folder}' cannot be written: {cause}") from cause
    return path
