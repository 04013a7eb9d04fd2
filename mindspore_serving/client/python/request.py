"""Requests as they travel: instances of Python values to the bytes of a PredictRequest.

The bytes are put together here, and not by the generated classes, because these cost more than the data itself when
instances are small, and copy the data twice when it is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mindspore_serving import wire
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType

Instance: TypeAlias = Mapping[str, Any]
Instances: TypeAlias = "Instance | Sequence[Instance]"

# One entry of an instance: its head, its data, and the bytes of the data.
_Entry: TypeAlias = "tuple[bytes, bytes | memoryview, int]"

# A larger array goes from its own memory into the request; for a smaller one the copy in between is the faster way.
_SMALL_ARRAY_BYTES = 16 * 1024
_SHOWN_BITS = 256
"""Integers of more are not written out in an error."""


def encode_request(servable_name: str, method_name: str, version_number: int, instances: Instances) -> bytes:
    """The request of one call, serialized.

    Args:
        servable_name: Name of the servable.
        method_name: Name of the method.
        version_number: Version of the servable; 0 for the newest.
        instances: One instance or several; each maps an input name to its value.

    Raises:
        InvalidParameter: An instance is not a dict, a key is not a str, a value cannot be a tensor, or would become
            another one.
    """
    parts: list[bytes | memoryview] = [_spec_field(servable_name, method_name, version_number)]
    several = instances if isinstance(instances, (list, tuple)) else (instances,)
    alike = _parts_of_alike(several) if len(several) > 1 else None
    if alike is not None:
        parts += alike
    else:
        for instance in several:
            _append_instance(parts, instance)
    return b"".join(parts)


def _append_instance(parts: list[bytes | memoryview], instance: Instance) -> None:
    if not isinstance(instance, dict):
        raise InvalidParameter("instance should be a map")
    place_of_head = len(parts)
    parts.append(b"")
    size = 0
    for name, value in instance.items():
        head, data, data_size = _encode_value(name, value)
        parts += head, data
        size += len(head) + data_size
    parts[place_of_head] = wire.head_of_field(wire.INSTANCE_OF_REQUEST, size)


def _parts_of_alike(instances: Sequence[Instance]) -> Iterable[bytes] | None:
    """The parts of instances that consist of small arrays of the same names, types and shapes.

    Only their data differs, so that going through them input by input takes half of the time.

    Returns:
        Heads and data in turn; None for all other instances, which may be wrong, too.
    """
    form = _small_arrays_of(instances[0])
    if form is None or any(type(one) is not dict or len(one) != len(form) for one in instances):
        return None
    columns: list[Iterable[bytes]] = []
    for name, (dtype, shape, head) in form.items():
        column = []
        for instance in instances:
            array = instance.get(name)
            if type(array) is not np.ndarray or array.dtype is not dtype or array.shape != shape:
                return None
            column.append(array.tobytes())
        columns += repeat(head), column
    return chain.from_iterable(zip(*columns, strict=False))


class _SmallArray(NamedTuple):
    """An input of several instances that are alike; its head includes that of the instance if it is the first."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    head: bytes


def _small_arrays_of(instance: Instance) -> dict[str, _SmallArray] | None:
    """The form of an instance by name; None unless it consists of small arrays that are sent as they are."""
    if type(instance) is not dict or not instance:
        return None
    found: dict[str, _SmallArray] = {}
    size = 0
    for name, value in instance.items():
        if type(value) is not np.ndarray:
            return None
        head, data_size, swapped_dtype = _form(name, value.dtype, value.shape)
        if swapped_dtype is not None or data_size > _SMALL_ARRAY_BYTES:
            return None
        found[name] = _SmallArray(value.dtype, value.shape, head)
        size += len(head) + data_size
    first = next(iter(found))
    head = wire.head_of_field(wire.INSTANCE_OF_REQUEST, size) + found[first].head
    found[first] = found[first]._replace(head=head)
    return found


def _encode_value(name: str, value: object) -> _Entry:
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray:
            _check_nothing_is_masked(name, value)
            value = np.asarray(value)
        return _encode_array(name, value)
    if isinstance(value, (np.number, np.bool_)):
        return _encode_array(name, np.asarray(value))
    if isinstance(value, str):
        return _encode_text(name, DataType.STRING, _utf8(value, "value"))
    if isinstance(value, bytes):
        return _encode_text(name, DataType.BYTES, value)
    if isinstance(value, (bool, int, float)):
        return _encode_array(name, _array_of_scalar(name, value))
    raise InvalidParameter(f"Not support value type {type(value)}")


def _encode_array(name: str, array: Array) -> _Entry:
    head, size, swapped_dtype = _form(name, array.dtype, array.shape)
    if swapped_dtype is not None:
        array = array.astype(swapped_dtype)
    if size <= _SMALL_ARRAY_BYTES or not array.flags.c_contiguous:
        return head, array.tobytes(), size
    return head, array.data, size


def _encode_text(name: str, kind: DataType, value: bytes) -> _Entry:
    head = wire.head_of_entry(_name(name), _shape_and_type(kind, (1,)), wire.TEXT_DATA, len(value))
    return head, value, len(value)


def _check_nothing_is_masked(name: str, value: Array) -> None:
    masked = np.count_nonzero(value.mask) if isinstance(value, np.ma.MaskedArray) else 0
    if masked:
        raise InvalidParameter(
            f"Input '{name}' is a masked array, {masked} of its {value.size} values are masked, and none would be sent "
            "for them: choose one, for example with .filled(0)"
        )


def _array_of_scalar(name: str, value: bool | int | float) -> Array:
    if isinstance(value, bool):
        return np.array([value], np.bool_)
    if isinstance(value, float):
        return np.array([value], np.float64)
    try:
        return np.array([value], np.int64)
    except OverflowError as cause:
        hint = f"; send it as numpy.uint64({value})" if 0 <= value < 1 << 64 else ""
        shown = str(value) if value.bit_length() < _SHOWN_BITS else f"of {value.bit_length()} bits"
        raise InvalidParameter(f"int value {shown} should fit into 64 bits, input '{name}'{hint}") from cause


@lru_cache(16)
def _spec_field(name: str, method_name: str, version_number: int) -> bytes:
    spec = ms_service_pb2.ServableSpec(name=name, method_name=method_name, version_number=version_number)
    serialized = spec.SerializeToString()
    return wire.head_of_field(wire.SPEC, len(serialized)) + serialized


class _ArrayForm(NamedTuple):
    """What is the same for all arrays of one name, type and shape.

    Attributes:
        head: Head of the entry.
        size: Bytes of the data.
        swapped_dtype: Type to convert to first, where the array's is big-endian.
    """

    head: bytes
    size: int
    swapped_dtype: np.dtype[Any] | None


@lru_cache(1024)
def _form(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> _ArrayForm:
    little_endian = dtype.newbyteorder("<")
    kind = DATA_TYPE_OF.get(little_endian)
    if kind is None:
        raise InvalidParameter(f"Unknown data type {dtype}")
    size = prod(shape) * dtype.itemsize
    head = wire.head_of_entry(_name(name), _shape_and_type(kind, shape), wire.ARRAY_DATA, size)
    return _ArrayForm(head, size, None if dtype == little_endian else little_endian)


def _shape_and_type(kind: DataType, shape: tuple[int, ...]) -> bytes:
    dims = ms_service_pb2.TensorShape(dims=shape)
    return ms_service_pb2.Tensor(shape=dims, dtype=f"MS_{kind.name}").SerializeToString()


def _name(name: object) -> bytes:
    if not isinstance(name, str):
        raise InvalidParameter(f"instance key should be str, but actually {type(name)}")
    return _utf8(name, "key")


def _utf8(text: str, role: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as cause:
        raise InvalidParameter(f"str {role} is not valid Unicode text: {cause}") from cause
