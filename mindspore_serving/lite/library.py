"""The C interface of `shim.cc`, through ctypes. Calls release the interpreter lock: models run really in parallel."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindspore_serving.errors import ServingError
from mindspore_serving.lite.installation import HOW_TO_BUILD, find_library, folders
from mindspore_serving.lite.reason import reason_of
from mindspore_serving.tensor import NUMPY_OF, Array, DataType

_MOST_DIMS = 16
_NAME_BYTES = 512

MINDIR, MS = 0, 4
"""Formats of models, as Lite numbers them."""
ONNX, FROM_MINDIR = 2, 3
"""Formats that are converted, as Lite numbers them."""

DATA_TYPES = {
    30: DataType.BOOL,
    32: DataType.INT8,
    33: DataType.INT16,
    34: DataType.INT32,
    35: DataType.INT64,
    37: DataType.UINT8,
    38: DataType.UINT16,
    39: DataType.UINT32,
    40: DataType.UINT64,
    42: DataType.FLOAT16,
    43: DataType.FLOAT32,
    44: DataType.FLOAT64,
}
"""Data types as Lite numbers them."""

_Pointer, _Int, _Text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_Ints, _Longs = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int64)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "error": (_Text, ()),
    "context_new": (_Pointer, ()),
    "context_free": (None, (_Pointer,)),
    "context_threads": (None, (_Pointer, _Int, _Int, _Ints, _Int)),
    "context_add_device": (_Int, (_Pointer, _Text)),
    "context_set": (_Int, (_Pointer, _Text, _Text)),
    "context_describe": (ctypes.c_int64, (_Pointer, _Text, ctypes.c_int64)),
    "model_load": (_Pointer, (_Text, _Int, _Pointer, _Text)),
    "model_free": (None, (_Pointer,)),
    "count": (_Int, (_Pointer, _Int)),
    "describe": (_Int, (_Pointer, _Int, _Int, _Text, _Int, _Ints, _Longs, _Int)),
    "resize": (_Int, (_Pointer, _Int, _Longs, _Ints)),
    "predict": (_Int, (_Pointer, _Int, ctypes.POINTER(_Pointer), _Longs)),
    "output": (_Pointer, (_Pointer, _Int, _Longs, _Longs, _Int, _Ints)),
    "convert": (_Int, (_Int, _Text, _Text, _Int, _Int, ctypes.POINTER(_Text), _Longs, _Ints, _Int)),
}


class LiteError(ServingError):
    """Lite failed; the text is its reason."""


@dataclass(frozen=True, slots=True)
class LiteTensor:
    """What Lite says of an input or output.

    Attributes:
        name: Its name.
        data_type: None where Serving has no such type.
        shape: -1 stands for what is not known before a resize.
    """

    name: str
    data_type: DataType | None
    shape: tuple[int, ...]


class Library:
    """The loaded library.

    Args:
        path: Of libserving_lite.so.

    Raises:
        LiteError: It cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        try:
            functions = ctypes.CDLL(str(path))
        except OSError as cause:
            raise LiteError(f"The library of MindSpore Lite cannot be loaded: {cause}") from cause
        self.path = path
        self.call: dict[str, Any] = {}
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(functions, f"serving_lite_{name}")
            function.restype, function.argtypes = result, arguments
            self.call[name] = function

    def error(self) -> LiteError:
        """Why the last call in this thread failed."""
        return LiteError(reason_of(self.call["error"]().decode(errors="replace")))


@functools.cache
def load_library() -> Library:
    """The library, one for the whole process.

    Raises:
        LiteError: It is not built, or cannot be loaded.
    """
    path = find_library()
    if path is None:
        places = " or ".join(map(str, folders()))
        raise LiteError(
            f"The library of MindSpore Lite is not built, or by another release, expected in {places}; "
            f"build it with: {HOW_TO_BUILD}"
        )
    return Library(path)


class LiteContext:
    """Where and how a model runs.

    Args:
        library: The library.
        thread_num: Threads that compute; 0 leaves it to Lite.
        parallel_num: Most operators side by side; 0 leaves it to Lite.
        cores: CPU cores of the threads; empty for any.
        devices: Device types, `cpu`, `gpu` or `ascend`, each with its options by name; the first choice first.

    Raises:
        LiteError: There is no such device type or option, or it cannot have the value.
    """

    def __init__(
        self,
        library: Library,
        thread_num: int,
        parallel_num: int,
        cores: Sequence[int],
        devices: Sequence[tuple[str, Mapping[str, str]]],
    ) -> None:
        self._call = library.call
        self.handle = self._call["context_new"]()
        self._call["context_threads"](
            self.handle, thread_num, parallel_num, (ctypes.c_int * len(cores))(*cores), len(cores)
        )
        for device_type, options in devices:
            if not self._call["context_add_device"](self.handle, device_type.encode()):
                raise library.error()
            for name, value in options.items():
                if not self._call["context_set"](self.handle, name.encode(), value.encode()):
                    raise library.error()

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._call["context_free"](self.handle)

    def describe(self) -> list[dict[str, str]]:
        """What Lite holds, read back from it: first what is common, then one entry per device."""
        capacity = self._call["context_describe"](self.handle, None, 0) + 1
        text = ctypes.create_string_buffer(capacity)
        self._call["context_describe"](self.handle, text, capacity)
        sections: list[dict[str, str]] = [{}]
        for line in text.value.decode().splitlines():
            name, _, value = line.partition("=")
            if name == "device":
                sections.append({})
            sections[-1][name] = value.strip()
        return sections


class LiteModel:
    """A model file that Lite has loaded. One thread at a time may use it; others may use other models meanwhile.

    Args:
        library: The library.
        path: The file.
        model_type: `MINDIR` or `MS`.
        context: Where and how it runs.
        config_file: Further settings; None for none.

    Raises:
        LiteError: It cannot be loaded.
    """

    def __init__(
        self, library: Library, path: Path, model_type: int, context: LiteContext, config_file: str | None
    ) -> None:
        self._library = library
        self._call = library.call
        config = os.fsencode(config_file) if config_file is not None else None
        self._handle = self._call["model_load"](os.fsencode(path), model_type, context.handle, config)
        if not self._handle:
            raise library.error()
        self.inputs = self._tensors(0)
        self.outputs = self._tensors(1)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Unload the model; safe to call twice."""
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            self._call["model_free"](handle)

    def resize(self, shapes: Sequence[Sequence[int]]) -> None:
        """Give the inputs new shapes, which hold until the next call.

        Raises:
            LiteError: The model cannot have them; the shapes are what they were.
        """
        dims, ranks = _flat(shapes)
        if not self._call["resize"](self._handle, len(shapes), dims, ranks):
            raise self._library.error()
        self.inputs = self._tensors(0)

    def predict(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model.

        Args:
            arrays: One C-contiguous array per input, of its dtype and shape.

        Returns:
            One new array per output.

        Raises:
            LiteError: The model failed.
        """
        count = len(arrays)
        data = (_Pointer * count)(*(array.ctypes.data for array in arrays))
        sizes = (ctypes.c_int64 * count)(*(array.nbytes for array in arrays))
        if not self._call["predict"](self._handle, count, data, sizes):
            raise self._library.error()
        return [self._output(index, tensor) for index, tensor in enumerate(self.outputs)]

    def _output(self, index: int, tensor: LiteTensor) -> Array:
        size, rank, dims = ctypes.c_int64(), ctypes.c_int(), (ctypes.c_int64 * _MOST_DIMS)()
        address = self._call["output"](self._handle, index, size, dims, _MOST_DIMS, rank)
        if tensor.data_type is None or not address:
            raise LiteError(f"output {index}, {tensor.name}, has no data")
        array = np.empty(dims[: rank.value], NUMPY_OF[tensor.data_type])
        if array.nbytes != size.value:
            raise LiteError(
                f"output {index} has {size.value} bytes, expected {array.nbytes} by {array.shape}"
            )
        ctypes.memmove(array.ctypes.data, address, size.value)
        return array

    def _tensors(self, outputs: int) -> list[LiteTensor]:
        return [self._tensor(outputs, i) for i in range(self._call["count"](self._handle, outputs))]

    def _tensor(self, outputs: int, index: int) -> LiteTensor:
        name = ctypes.create_string_buffer(_NAME_BYTES)
        data_type = ctypes.c_int()
        dims = (ctypes.c_int64 * _MOST_DIMS)()
        rank = self._call["describe"](
            self._handle, outputs, index, name, _NAME_BYTES - 1, data_type, dims, _MOST_DIMS
        )
        label = name.value.decode(errors="replace")
        return LiteTensor(label, DATA_TYPES.get(data_type.value), tuple(dims[:rank]))


def convert_file(
    library: Library,
    source_format: int,
    source: Path,
    target: Path,
    target_format: int,
    shapes: Mapping[str, Sequence[int]],
    weight_fp16: bool,
) -> None:
    """Convert a model file.

    Args:
        library: The library.
        source_format: `ONNX` or `FROM_MINDIR`.
        source: The file.
        target: The new file, without the ending, which Lite adds.
        target_format: `MINDIR` or `MS`.
        shapes: Input name to the shape that it is to have; inputs that are not named keep theirs.
        weight_fp16: Whether to store weights in float16.

    Raises:
        LiteError: It cannot be converted.
    """
    names = (_Text * len(shapes))(*(name.encode() for name in shapes))
    dims, ranks = _flat(list(shapes.values()))
    done = library.call["convert"](
        source_format,
        os.fsencode(source),
        os.fsencode(target),
        target_format,
        len(shapes),
        names,
        dims,
        ranks,
        int(weight_fp16),
    )
    if not done:
        raise library.error()


def _flat(shapes: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    dims = [dim for shape in shapes for dim in shape]
    return (ctypes.c_int64 * len(dims))(*dims), (ctypes.c_int * len(shapes))(*map(len, shapes))
