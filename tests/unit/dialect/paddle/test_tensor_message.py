"""Messages of tensors: read and written as the protobuf library does."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto.foreign import paddle_general_model_pb2 as pb2
from mindspore_serving.server.dialect.paddle.elements import WIDE
from mindspore_serving.server.dialect.paddle.packed import decoded_varints, encoded_varints
from mindspore_serving.server.dialect.paddle.tensor_message import (
    MOST_FIELDS,
    TensorFields,
    cut,
    decode,
    decode_slowly,
    sent_tensor,
    tensor_bytes,
)
from mindspore_serving.tensor import NUMPY_OF

FIELDS = TensorFields(pb2.Tensor, "alias_name", "tensor_content", "data")
INTEGERS = some.integers(-(2**63), 2**63 - 1) | some.integers(-300, 300)
many = settings(max_examples=100, deadline=None)


@many
@given(some.lists(some.integers(0, 2**64 - 1) | some.integers(0, 300), max_size=40))
def test_varints_come_back(numbers: list[int]) -> None:
    written = b"".join(encoded_varints(np.array(numbers, np.uint64)))
    parts = list(decoded_varints(written))
    assert [number for part in parts for number in part.tolist()] == numbers
    assert list(pb2.Response(profile_time=[1]).profile_time) == [1]


@many
@given(
    some.lists(INTEGERS, max_size=9),
    some.lists(some.floats(width=32), max_size=9),
    some.lists(some.integers(-(2**31), 2**31 - 1), max_size=9),
    some.lists(some.booleans(), max_size=9),
    some.lists(some.text(max_size=3), max_size=3),
    some.binary(max_size=9),
)
def test_tensors_as_protobuf_has_them(
    wide: list[int], floats: list[float], narrow: list[int], bools: list[bool], texts: list[str], raw: bytes
) -> None:
    message = pb2.Tensor(
        int64_data=wide,
        float_data=floats,
        int_data=narrow,
        float64_data=floats,
        uint32_data=[abs(one) for one in narrow],
        bool_data=bools,
        data=texts,
        tensor_content=raw,
        elem_type=3,
        shape=[1, 2],
        lod=[1],
        name="n",
        alias_name="a",
    )
    tensor = sent_tensor(memoryview(message.SerializeToString()), FIELDS)
    decode(tensor)
    assert (tensor.name, tensor.alias, tensor.elem_type, tensor.shape, tensor.lod) == ("n", "a", 3, (1, 2), 1)
    for name in (*WIDE, "data"):
        expected = list(getattr(message, name))
        got = tensor.fields.get(name, [])
        np.testing.assert_array_equal(np.array(got), np.array(expected))
    assert bytes(tensor.fields.get("tensor_content", b"")) == raw  # type: ignore[arg-type]


@many
@given(some.sampled_from([*WIDE, "tensor_content"]), some.lists(some.integers(0, 300), max_size=20))
def test_what_is_written_is_read_by_protobuf(field: str, numbers: list[int]) -> None:
    dtype = np.dtype(np.int8) if field == "tensor_content" else NUMPY_OF[WIDE[field]]
    array = np.array(numbers).astype(dtype)
    message = pb2.Tensor.FromString(tensor_bytes(pb2.Tensor(name="n", shape=[2]), field, array))
    assert (message.name, list(message.shape)) == ("n", [2])
    got = getattr(message, field)
    assert (got == array.tobytes()) if field == "tensor_content" else (list(got) == array.tolist())


def test_negative_numbers_are_written() -> None:
    for field, dtype in (("int64_data", np.int64), ("int_data", np.int32), ("int_data", np.int16)):
        array = np.array([-1, -(2**15), 5], dtype)
        message = pb2.Tensor.FromString(tensor_bytes(pb2.Tensor(), field, array))
        assert list(getattr(message, field)) == array.tolist()


def test_many_numbers_are_read_in_parts() -> None:
    numbers = np.arange(-20_000, 20_000) * 12345
    message = memoryview(pb2.Tensor(int64_data=numbers.tolist()).SerializeToString())
    at_once, slowly = sent_tensor(message, FIELDS), sent_tensor(message, FIELDS)
    decode(at_once)
    asyncio.run(decode_slowly(slowly))
    for tensor in (at_once, slowly):
        np.testing.assert_array_equal(tensor.fields["int64_data"], numbers)
    written = tensor_bytes(pb2.Tensor(), "int64_data", numbers)
    assert written == bytes(message)


def field(number: int, kind: int, content: bytes) -> bytes:
    return bytes([number << 3 | kind]) + content


def test_numbers_that_are_not_packed() -> None:
    single = field(1, 0, b"\x05") + field(2, 5, np.float32(1.5).tobytes()) + field(1, 0, b"\x06")
    tensor = sent_tensor(memoryview(single), FIELDS)
    decode(tensor)
    np.testing.assert_array_equal(tensor.fields["int64_data"], [5, 6])
    np.testing.assert_array_equal(tensor.fields["float_data"], [1.5])
    packed = pb2.Tensor(int64_data=[7]).SerializeToString()
    with pytest.raises(InvalidInput, match="int64_data both packed and not packed"):
        sent_tensor(memoryview(single + packed), FIELDS)


def test_of_several_contents_the_last_one_counts() -> None:
    message = b"".join(pb2.Tensor(tensor_content=one).SerializeToString() for one in (b"first", b"last"))
    assert pb2.Tensor.FromString(message).tensor_content == b"last"
    content = sent_tensor(memoryview(message), FIELDS).fields["tensor_content"]
    assert bytes(content) == b"last"  # type: ignore[arg-type]


def test_a_field_in_several_pieces() -> None:
    pieces = pb2.Tensor(int64_data=[1], float_data=[1.5]).SerializeToString()
    tensor = sent_tensor(memoryview(pieces + pieces), FIELDS)
    decode(tensor)
    np.testing.assert_array_equal(tensor.fields["int64_data"], [1, 1])
    np.testing.assert_array_equal(tensor.fields["float_data"], [1.5, 1.5])


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05\x01",
        b"\x0a\x01\x80",  # a varint without an end
        b"\x0a\x0c" + b"\xff" * 11 + b"\x01",
        b"\x12\x03abc",
        b"\x22\x04abcd",
        b"\x07",
        b"\x00",
        b"\x6a\x05a",
    ],
)
def test_what_is_no_tensor(message: bytes) -> None:
    def read() -> Any:
        tensor = sent_tensor(memoryview(message), FIELDS)
        decode(tensor)

    with pytest.raises(DecodeError):
        read()


def test_fields_are_counted() -> None:
    with pytest.raises(InvalidInput, match="more than 65536 fields"):
        sent_tensor(memoryview(b"\x4a\x00" * (MOST_FIELDS + 1)), FIELDS)
    with pytest.raises(InvalidInput, match="more than 65536 fields"):
        cut(b"\x0a\x00" * (MOST_FIELDS + 1), 0x0A)


def test_varints_beyond_one_part() -> None:
    numbers = np.full(70_000, 2**63, np.uint64)
    written = b"".join(encoded_varints(numbers))
    parts = list(decoded_varints(written))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), numbers)
    with pytest.raises(ValueError, match="without an end"):
        list(decoded_varints(written + b"\x80"))
