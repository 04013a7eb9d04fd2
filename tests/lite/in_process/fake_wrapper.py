"""Stands in for the native module of the package `mindspore_lite`, on the compiled library.

The package is Python above one native module for Python 3.7. With this module in its place the Python part, as it was
published, runs on every Python: what Serving calls is what the package really has.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from mindspore_serving.lite.installation import find_library
from mindspore_serving.lite.library import LiteContext, LiteError, LiteModel, load_library
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF

_NAMES = "BOOL:Bool INT8:Int8 INT16:Int16 INT32:Int32 INT64:Int64 UINT8:UInt8 UINT16:UInt16 UINT32:UInt32 "
_NAMES += "UINT64:UInt64 FLOAT16:Float16 FLOAT32:Float32 FLOAT64:Float64"
_NATIVE_NAMES = {line.split(":")[0]: f"kNumberType{line.split(':')[1]}" for line in _NAMES.split()}


class _AnyName:
    """An enumeration whose values are their own names."""

    def __getattr__(self, name: str) -> str:
        return name


class _Status:
    def __init__(self, text: str = "") -> None:
        self._text = text

    def IsOk(self) -> bool:
        return not self._text

    def ToString(self) -> str:
        return self._text


class _Device:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.options: dict[str, str] = {}

    def get_device_type(self) -> str:
        return self.kind

    def set_device_id(self, number: int) -> None:
        self.options["device_id"] = str(number)

    def set_precision_mode(self, mode: str) -> None:
        self.options["precision_mode"] = mode

    def set_enable_fp16(self, enable: bool) -> None:
        self.options["precision_mode"] = "fp16" if enable else "origin"

    def get_enable_fp16(self) -> bool:
        return self.options.get("precision_mode") == "fp16"


class _Context:
    def __init__(self) -> None:
        self.threads = self.parallel = 0
        self.cores: list[int] = []
        self.devices: list[_Device] = []

    def set_thread_num(self, number: int) -> None:
        self.threads = number

    def set_inter_op_parallel_num(self, number: int) -> None:
        self.parallel = number

    def set_thread_affinity_core_list(self, cores: list[int]) -> None:
        self.cores = cores

    def clear_device_info(self) -> None:
        self.devices.clear()

    def append_device_info(self, device: _Device) -> None:
        self.devices.append(device)

    def native(self) -> LiteContext:
        devices = [(device.kind, device.options) for device in self.devices]
        return LiteContext(load_library(), self.threads, self.parallel, self.cores, devices)


class _Tensor:
    def __init__(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._name, self._dtype, self._shape = name, dtype, shape
        self.array: Any = None

    def get_tensor_name(self) -> str:
        return self._name

    def get_shape(self) -> list[int]:
        return list(self._shape)

    def get_data_type(self) -> str:
        return _NATIVE_NAMES[DATA_TYPE_OF[self._dtype].name]

    def get_element_num(self) -> int:
        return int(np.prod(self._shape))

    def get_data_size(self) -> int:
        return self.get_element_num() * self._dtype.itemsize

    def set_data_from_numpy(self, array: Any) -> None:
        self.array = array

    def get_data_to_numpy(self) -> Any:
        return self.array


class _Model:
    def __init__(self) -> None:
        self._model: LiteModel | None = None
        self._config: str | None = None

    def load_config(self, path: str) -> _Status:
        self._config = path
        return _Status()

    def build_from_file(self, path: str, kind: str, context: _Context) -> _Status:
        model_type = 0 if kind == "kMindIR" else 4
        try:
            self._model = LiteModel(load_library(), Path(path), model_type, context.native(), self._config)
        except LiteError:
            return _Status("Common error code.")
        return _Status()

    def get_inputs(self) -> list[_Tensor]:
        assert self._model is not None
        return [
            _Tensor(one.name, NUMPY_OF[one.data_type], one.shape)
            for one in self._model.inputs
            if one.data_type is not None
        ]

    def resize(self, inputs: list[_Tensor], dims: list[list[int]]) -> _Status:
        assert self._model is not None and len(inputs) == len(dims)
        try:
            self._model.resize(dims)
        except LiteError as error:
            return _Status(str(error))
        return _Status()

    def predict(self, inputs: list[_Tensor]) -> list[_Tensor]:
        assert self._model is not None
        try:
            arrays = self._model.predict([tensor.array for tensor in inputs])
        except LiteError:
            return []
        outputs = []
        for one, array in zip(self._model.outputs, arrays, strict=True):
            outputs.append(_Tensor(one.name, array.dtype, array.shape))
            outputs[-1].array = array
        return outputs


@contextlib.contextmanager
def mindspore_lite() -> Iterator[ModuleType]:
    """A context in which the package can be imported; gives its module."""
    library = find_library()
    assert library is not None
    wrapper = types.ModuleType("mindspore_lite.lib._c_lite_wrapper")
    lib = types.ModuleType("mindspore_lite.lib")
    names: dict[str, Any] = {kind: _AnyName() for kind in ("ModelType", "DataType", "Format", "FmkType")}
    names |= {
        "ModelBind": _Model,
        "ContextBind": _Context,
        "TensorBind": _Tensor,
        "ConverterBind": SimpleNamespace,
    }
    names |= {f"{name}DeviceInfoBind": partial(_Device, name.lower()) for name in ("CPU", "GPU", "Ascend")}
    vars(wrapper).update(names)
    vars(lib)["_c_lite_wrapper"] = wrapper
    folder = str(library.parents[1] / "python")
    sys.path.insert(0, folder)
    sys.modules.update({lib.__name__: lib, wrapper.__name__: wrapper})
    try:
        yield importlib.import_module("mindspore_lite")
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] == "mindspore_lite"]:
            del sys.modules[name]
