"""Tensors: values for a datatype and a shape, and their forms on the wire."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oip_conformance.check import Deviation, expect
from oip_conformance.messages import new
from oip_conformance.trail import shown


@dataclass(frozen=True)
class Datatype:
    """One datatype of the protocol.

    Args:
        name: As on the wire.
        size: Bytes of one element; 0 where it varies.
        array: The numpy type that holds the values; BF16 is held as float32, BYTES as objects.
        contents: The typed field of gRPC; empty where there is none.
    """

    name: str
    size: int
    array: npt.DTypeLike
    contents: str

    @property
    def is_float(self) -> bool:
        """Whether values have fractions."""
        return self.name in ("FP16", "BF16", "FP32", "FP64")

    @property
    def is_integer(self) -> bool:
        """Whether values are whole numbers."""
        return "INT" in self.name


DATATYPES: dict[str, Datatype] = {
    each.name: each
    for each in (
        Datatype("BOOL", 1, np.bool_, "bool_contents"),
        Datatype("UINT8", 1, np.uint8, "uint_contents"),
        Datatype("UINT16", 2, np.uint16, "uint_contents"),
        Datatype("UINT32", 4, np.uint32, "uint_contents"),
        Datatype("UINT64", 8, np.uint64, "uint64_contents"),
        Datatype("INT8", 1, np.int8, "int_contents"),
        Datatype("INT16", 2, np.int16, "int_contents"),
        Datatype("INT32", 4, np.int32, "int_contents"),
        Datatype("INT64", 8, np.int64, "int64_contents"),
        Datatype("FP16", 2, np.float16, ""),
        Datatype("FP32", 4, np.float32, "fp32_contents"),
        Datatype("FP64", 8, np.float64, "fp64_contents"),
        Datatype("BYTES", 0, np.object_, "bytes_contents"),
        Datatype("BF16", 2, np.float32, ""),
    )
}
# Datatypes whose values have no form as JSON numbers, and no typed field.
BINARY_ONLY = ("FP16", "BF16")

_TOLERANCE = {"FP16": 2e-3, "BF16": 2e-2, "FP32": 1e-5, "FP64": 1e-9}


@dataclass(frozen=True)
class Tensor:
    """A named tensor; ``array`` has the shape, and for BYTES holds ``bytes``."""

    name: str
    datatype: str
    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.array.shape

    def with_array(self, array: npt.NDArray[Any]) -> Tensor:
        """Return a tensor of the same name and datatype."""
        return Tensor(self.name, self.datatype, array)

    def __str__(self) -> str:
        values = shown(str(self.array.reshape(-1)[:8].tolist()), 120)
        return f"{self.name} {self.datatype} {list(self.shape)} {values}"


def filled(name: str, datatype: str, shape: Sequence[int], salt: int = 0) -> Tensor:
    """Return a tensor of small values that every datatype holds exactly.

    Args:
        name: Of the tensor.
        datatype: Of the protocol.
        shape: Dimensions, 0 or larger.
        salt: Another number gives other values.
    """
    count = math.prod(shape)
    numbers = (np.arange(count) + salt) % 7
    if datatype == "BYTES":
        array = np.empty(count, np.object_)
        array[:] = [b"%d" % number for number in numbers]
    elif datatype == "BOOL":
        array = numbers % 2 == 0
    elif DATATYPES[datatype].is_float:
        array = (numbers / 4 + 0.25).astype(DATATYPES[datatype].array)
    else:
        array = numbers.astype(DATATYPES[datatype].array)
    return Tensor(name, datatype, array.reshape(tuple(shape)))


# --- Bytes: the binary form of REST, and the raw form of gRPC ---------------------------------------------------------


def to_bytes(tensor: Tensor) -> bytes:
    """Return the elements, little-endian, row-major."""
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(element)) + element for element in tensor.array.reshape(-1))
    if tensor.datatype == "BF16":
        words = np.ascontiguousarray(tensor.array, "<f4").reshape(-1).view("<u4")
        return (words >> 16).astype("<u2").tobytes()
    array = tensor.array
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def from_bytes(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Tensor:
    """Return the tensor of a binary or raw form.

    Raises:
        Deviation: The size is not that of the datatype and the shape.
    """
    kind = _known(datatype)
    count = math.prod(shape)
    if datatype == "BYTES":
        array = _byte_strings(name, count, data)
        return Tensor(name, datatype, array.reshape(tuple(shape)))
    expect(
        len(data) == count * kind.size,
        f"{count * kind.size} bytes for {name!r}, {datatype} {list(shape)}",
        f"{len(data)} bytes",
    )
    if datatype == "BF16":
        words = np.frombuffer(data, "<u2").astype("<u4") << 16
        return Tensor(name, datatype, words.view("<f4").reshape(tuple(shape)))
    array = np.frombuffer(data, np.dtype(kind.array).newbyteorder("<")).astype(kind.array)
    return Tensor(name, datatype, array.reshape(tuple(shape)))


def _byte_strings(name: str, count: int, data: bytes) -> npt.NDArray[Any]:
    elements: list[bytes] = []
    place = 0
    while place < len(data):
        expect(
            place + 4 <= len(data), f"a length of 4 bytes before each element of {name!r}", shown(data, 100)
        )
        (size,) = struct.unpack_from("<I", data, place)
        place += 4
        expect(
            place + size <= len(data),
            f"elements of {name!r} within their {len(data)} bytes",
            f"a length of {size}",
        )
        elements.append(data[place : place + size])
        place += size
    expect(len(elements) == count, f"{count} elements in {name!r}", f"{len(elements)} elements")
    return _objects(elements)


def _objects(elements: Sequence[bytes]) -> npt.NDArray[Any]:
    array = np.empty(len(elements), np.object_)
    array[:] = list(elements)
    return array


# --- JSON -------------------------------------------------------------------------------------------------------------


def to_json(tensor: Tensor, *, nested: bool = False) -> list[Any]:
    """Return the elements as a flat array, or nested like the shape."""
    array = tensor.array if nested else tensor.array.reshape(-1)
    if tensor.datatype == "BYTES":
        text = np.empty(array.shape, np.object_)
        for place in np.ndindex(array.shape):
            text[place] = array[place].decode("utf-8")
        array = text
    values: list[Any] = array.tolist()
    return values


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Tensor:
    """Return the tensor of a JSON array, flat or nested.

    Raises:
        Deviation: The values do not fit the datatype or the shape.
    """
    kind = _known(datatype)
    if not isinstance(data, list):
        raise Deviation(f"an array as the data of {name!r}", repr(data)[:100])
    values = list(_flat(data)) if list in set(map(type, data)) else data
    count = math.prod(shape)
    expect(
        len(values) == count, f"{count} values for {name!r} of shape {list(shape)}", f"{len(values)} values"
    )
    # The types first: most data has one, and a look at each value takes seconds where there are many.
    if not (kind.is_float and set(map(type, values)) <= {int, float}):
        for value in values:
            if not _fits(kind, value):
                raise Deviation(f"values of {datatype} in {name!r}", repr(value)[:100])
    if datatype == "BYTES":
        array = _objects([value.encode("utf-8") for value in values])
    else:
        try:
            array = np.array(values, kind.array)
        except (OverflowError, ValueError) as error:
            raise Deviation(f"values of {datatype} in {name!r}", str(error)) from error
    return Tensor(name, datatype, array.reshape(tuple(shape)))


def _flat(data: Any) -> Iterable[Any]:
    if isinstance(data, list):
        for each in data:
            yield from _flat(each)
    else:
        yield data


def _fits(kind: Datatype, value: Any) -> bool:
    if kind.name == "BYTES":
        return isinstance(value, str)
    if kind.name == "BOOL":
        return isinstance(value, bool) or value in (0, 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind.is_float:
        return True
    limits = np.iinfo(np.dtype(kind.array))
    return limits.min <= value <= limits.max and int(value) == value


def json_input(tensor: Tensor, *, nested: bool = False) -> dict[str, Any]:
    """Return an input of a JSON request."""
    return {**_described(tensor), "data": to_json(tensor, nested=nested)}


def binary_input(tensor: Tensor) -> dict[str, Any]:
    """Return an input whose bytes follow the JSON."""
    return {**_described(tensor), "parameters": {"binary_data_size": len(to_bytes(tensor))}}


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}


# --- gRPC -------------------------------------------------------------------------------------------------------------


def raw_input(tensor: Tensor) -> Any:
    """Return an input without contents: they go into ``raw_input_contents``."""
    return new("Tensor", name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def typed_input(tensor: Tensor) -> Any:
    """Return an input with typed contents."""
    message = raw_input(tensor)
    getattr(message.contents, DATATYPES[tensor.datatype].contents).extend(tensor.array.reshape(-1).tolist())
    return message


def from_reply_tensor(output: Any, raw: bytes | None) -> Tensor:
    """Return an output of a gRPC reply.

    Args:
        output: The message.
        raw: Its entry of ``raw_output_contents``; None without raw contents.

    Raises:
        Deviation: Contents and shape do not fit together.
    """
    shape = list(output.shape)
    expect(all(dimension >= 0 for dimension in shape), "dimensions of 0 or more", f"{output.name!r} {shape}")
    if raw is not None:
        return from_bytes(output.name, output.datatype, shape, raw)
    kind = _known(output.datatype)
    expect(bool(kind.contents), f"raw contents for {kind.name}", "typed contents")
    values = list(getattr(output.contents, kind.contents))
    count = math.prod(shape)
    expect(
        len(values) == count,
        f"{count} elements in {kind.contents} of {output.name!r}",
        f"{len(values)} elements",
    )
    array = _objects(values) if kind.name == "BYTES" else np.array(values, kind.array)
    return Tensor(output.name, output.datatype, array.reshape(shape))


# --- Comparison -------------------------------------------------------------------------------------------------------


def _known(datatype: Any) -> Datatype:
    if datatype not in DATATYPES:
        raise Deviation(f"a datatype of the protocol: {', '.join(DATATYPES)}", repr(datatype))
    return DATATYPES[datatype]


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree in datatype, shape and values; floating point within the rounding of its width."""
    if (one.datatype, one.shape) != (other.datatype, other.shape):
        return False
    if DATATYPES[one.datatype].is_float:
        tolerance = _TOLERANCE[one.datatype]
        with np.errstate(all="ignore"):
            return bool(np.allclose(one.array, other.array, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(np.array_equal(one.array, other.array))


def expect_same(name: str, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Raise a deviation unless two sets of outputs agree.

    Args:
        name: What the first set is, for the message.
        one: Outputs by name.
        other: Outputs by name, those that are expected.

    Raises:
        Deviation: They differ.
    """
    expect(set(one) == set(other), f"{name} with the outputs {sorted(other)}", sorted(one))
    for output, tensor in other.items():
        expect(same_values(one[output], tensor), f"{name} with {tensor}", one[output])
