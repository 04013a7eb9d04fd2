"""What a user writes for an input, as a value of the type that the server says.

| written | is |
|---|---|
| `x=1.5`, `x=[[1, 2]]`, `x=true` | JSON |
| `x=cat` | text, where it is no JSON or the input is text |
| `x=@cat.png` | the file: `.npy` and `.npz` an array, `.json` JSON, `.txt` text, all others their bytes |
| `x=@arrays.npz:NAME` | one array of several |
| `x=-` | standard input: bytes, or JSON where the input takes numbers |
| `x=@@cat` | the text `@cat` |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybase64

from mindspore_serving.cli.asking.method import TEXT_OR_BYTES, Method, type_text
from mindspore_serving.cli.asking.wire import Instance, Value
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF, Array, DataType

_WITHOUT_TYPE = {"i": DataType.INT32, "u": DataType.INT32, "f": DataType.FLOAT32, "b": DataType.BOOL}
"""What numbers of JSON are where the server does not say a type, as REST reads them."""


@dataclass(frozen=True, slots=True)
class Written:
    """A value as it was written.

    Attributes:
        content: A text that may be JSON, bytes of a file, an array, or what was in JSON.
        source: How errors call it.
        is_json: Whether `content` is from JSON already.
    """

    content: Any
    source: str
    is_json: bool = False


def read_written(text: str, standard_input: Callable[[], bytes] = lambda: sys.stdin.buffer.read()) -> Written:
    """Read the right side of `-i NAME=VALUE`.

    Args:
        text: It.
        standard_input: Reads all of it.

    Raises:
        CommandError: A file cannot be read.
    """
    if text == "-":
        return Written(standard_input(), "standard input")
    if not text.startswith("@"):
        return Written(text, f"'{text[:60]}'")
    if text.startswith("@@"):
        return Written(text[1:], f"'{text[1:60]}'", is_json=True)
    name, member = text[1:], ""
    if not Path(name).exists() and ".npz:" in name:
        name, _, member = name.rpartition(":")
    path = Path(name)
    try:
        return Written(_content_of(path, member), str(path), is_json=path.suffix == ".json")
    except (OSError, ValueError, KeyError) as cause:
        raise CommandError(f"File '{path}' cannot be read: {cause}", exit_code=USAGE) from cause


def _content_of(path: Path, member: str) -> Any:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            if not member and len(arrays.files) != 1:
                raise ValueError(f"it holds {', '.join(arrays.files)}; name one as @{path}:{arrays.files[0]}")
            return arrays[member or arrays.files[0]]
    if path.suffix == ".json":
        return json.loads(path.read_bytes())
    return path.read_text() if path.suffix == ".txt" else path.read_bytes()


def fitted(written: Written, wanted: TensorType) -> Value:
    """A value as the server takes it.

    Args:
        written: What was written.
        wanted: What the server says of the input.

    Returns:
        An array of the type that is wanted, a text, or bytes.

    Raises:
        CommandError: It cannot be what is wanted; says both.
    """
    try:
        if wanted.dtype is DataType.STRING:
            return _text(written.content, written.is_json)
        if wanted.content == TEXT_OR_BYTES and isinstance(written.content, str) and not _is_object(written):
            return _text(written.content, written.is_json)
        if wanted.dtype is DataType.BYTES:
            return _bytes(written)
        content = _parsed(written, wanted)
        if isinstance(content, (str, bytes)):
            if wanted.dtype is DataType.UNKNOWN:
                return content
            kind = "bytes" if isinstance(content, bytes) else "text"
            raise ValueError(f"it is {kind}, not numbers")
        return _array(content, wanted.dtype)
    except (ValueError, TypeError, OverflowError) as cause:
        raise CommandError(
            f"Input '{wanted.name}' takes {type_text(wanted)}, and {written.source} does not fit: {cause}",
            _advice(wanted),
            USAGE,
        ) from cause


def _advice(wanted: TensorType) -> str:
    if wanted.dtype.is_text:
        return f"Give a file: -i {wanted.name}=@FILE"
    return f"Give JSON, or an array in a file of NumPy: -i {wanted.name}=@FILE.npy"


def _text(content: Any, is_json: bool) -> str:
    if isinstance(content, bytes):
        return content.decode()
    if not isinstance(content, str):
        raise TypeError(f"it is {type(content).__name__}, not text")
    if not is_json and content[:1] == '"':
        parsed = json.loads(content)
        return parsed if isinstance(parsed, str) else content
    return content


def _is_object(written: Written) -> bool:
    return isinstance(written.content, str) and not written.is_json and written.content[:1] == "{"


def _bytes(written: Written) -> bytes:
    content = json.loads(written.content) if _is_object(written) else written.content
    if isinstance(content, Mapping):
        return pybase64.b64decode(content["b64"], validate=True)
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes):
        return content
    if isinstance(content, np.ndarray) and content.dtype == np.uint8:
        return content.tobytes()
    raise TypeError(f"it is {type(content).__name__}, not bytes")


def _parsed(written: Written, wanted: TensorType) -> Any:
    """What was written, its JSON read where it may be some."""
    content = written.content
    if (
        isinstance(content, bytes)
        and written.source == "standard input"
        and wanted.dtype is not DataType.UNKNOWN
    ):
        content = content.decode()
    if isinstance(content, str) and not written.is_json:
        try:
            content = json.loads(content)
        except ValueError:
            return content
    return _typed(content) if isinstance(content, Mapping) else content


def _typed(value: Mapping[str, Any]) -> Any:
    """`{"b64": ..., "type": ..., "shape": ...}`, as REST of MindSpore Serving writes any array."""
    if "b64" not in value:
        raise ValueError('an object of JSON is no value, but for {"b64": ...}')
    data = pybase64.b64decode(value["b64"], validate=True)
    name = str(value.get("type", "bytes"))
    if name in ("bytes", "str"):
        return data if name == "bytes" else data.decode()
    dtype = np.dtype({"fp16": "float16", "fp32": "float32", "fp64": "float64"}.get(name, name))
    return np.frombuffer(data, dtype.newbyteorder("<")).reshape(value.get("shape", []))


def _array(content: Any, dtype: DataType) -> Array:
    array = np.asarray(content)
    if array.dtype.kind not in "biuf":
        raise ValueError("lists of numbers with the same length were expected")
    if dtype is DataType.UNKNOWN:
        if isinstance(content, np.ndarray) and content.dtype.newbyteorder("<") in DATA_TYPE_OF:
            return content.astype(content.dtype.newbyteorder("<"), copy=False)
        dtype = _WITHOUT_TYPE[array.dtype.kind]
    wanted = NUMPY_OF[dtype]
    if array.dtype == wanted or not array.size:
        return array.astype(wanted)
    if wanted.kind in "biu":
        if array.dtype.kind == "f" and (array != np.rint(array)).any():
            raise ValueError("it has numbers with a fraction")
        least, most = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if int(array.min()) < least or int(array.max()) > most:
            raise ValueError(f"{array.min()} to {array.max()} do not all fit into {dtype.name.lower()}")
    return array.astype(wanted)


def instances_of(
    method: Method,
    inputs: Sequence[str],
    instances: Sequence[Mapping[str, Any]],
    standard_input: Callable[[], bytes] = lambda: sys.stdin.buffer.read(),
) -> list[Instance]:
    """The instances that a user asks for.

    Args:
        method: What is asked.
        inputs: Each `-i NAME=VALUE`; together one instance.
        instances: Or those of `--instances`.
        standard_input: Reads all of it.

    Raises:
        CommandError: An input is missing, unknown or given twice, or a value does not fit.
    """
    written: dict[str, Written] = {}
    for text in inputs:
        name, equals, value = text.partition("=")
        if not equals or name in written:
            problem = "is there twice" if equals else "has no '='"
            raise CommandError(f"-i {text[:60]} {problem}", "Write -i NAME=VALUE once for each input.", USAGE)
        written[name] = read_written(value, standard_input)
    if instances:
        return [
            _instance(
                method, {name: Written(value, f"instance {i}", is_json=True) for name, value in one.items()}
            )
            for i, one in enumerate(instances, 1)
        ]
    return [_instance(method, written)]


def _instance(method: Method, written: Mapping[str, Written]) -> Instance:
    types = {one.name: one for one in method.inputs}
    if not method.typed:
        types = {name: TensorType(name) for name in written}
    missing = [name for name in types if name not in written]
    unknown = [name for name in written if name not in types]
    if missing or unknown:
        words = [f"input '{name}' is missing" for name in missing]
        words += [f"'{name}' is no input" for name in unknown]
        takes = ", ".join(f"{one.name} ({type_text(one)})" for one in method.inputs) or "nothing"
        arguments = " ".join(f"-i {one.name}={_form(one)}" for one in method.inputs)
        raise CommandError(
            f"{method.model}: {'; '.join(words)}. It takes {takes}",
            f"mindspore-serving infer {method.model} {arguments}",
            USAGE,
        )
    return {name: fitted(written[name], one) for name, one in types.items()}


def _form(one: TensorType) -> str:
    """How a value may be written."""
    if one.content or one.dtype is DataType.BYTES:
        return "@FILE"
    if one.dtype is DataType.STRING:
        return "TEXT"
    return "JSON" if one.shape is None or len(one.shape) < 3 else "@FILE.npy"


def read_instances(path: str) -> list[Mapping[str, Any]]:
    """The instances of a file: `{"instances": [...]}`, a list, one object, or an object on each line.

    Args:
        path: Of the file; `-` for standard input.

    Raises:
        CommandError: It cannot be read, or holds something else.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        try:
            document = json.loads(text)
        except ValueError:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as cause:
        raise CommandError(
            f"--instances '{path}' cannot be read as JSON: {cause}", exit_code=USAGE
        ) from cause
    if isinstance(document, dict) and "instances" in document:
        document = document["instances"]
    instances = document if isinstance(document, list) else [document]
    if not instances or not all(isinstance(one, dict) for one in instances):
        raise CommandError(
            f"--instances '{path}' should hold objects of JSON, each with a value for every input",
            exit_code=USAGE,
        )
    return instances


def batch_as_instances(method: Method, instance: Instance) -> list[Instance]:
    """Rows as instances, where each array has one dimension more than the server says of an instance.

    Args:
        method: What is asked.
        instance: Values that fit.

    Returns:
        As many instances as there are rows, or the one that was given.
    """
    arrays: dict[str, Array] = {}
    for name, value in instance.items():
        wanted = method.input_named(name)
        if wanted is None or wanted.shape is None or isinstance(value, (str, bytes)) or wanted.shared:
            return [instance]
        if value.ndim != len(wanted.shape) + 1 or not wanted.takes(value.shape[1:]):
            return [instance]
        arrays[name] = value
    counts = {len(array) for array in arrays.values()}
    if not method.rows or len(counts) != 1 or counts == {0}:
        return [instance]
    return [{name: np.asarray(array[row]) for name, array in arrays.items()} for row in range(counts.pop())]
