"""Predict requests of any form: they are read as the generated classes read them, or refused with a short text."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.server.dialect.native import predict_codec
from mindspore_serving.server.dialect.native.predict_codec import PredictMessage
from mindspore_serving.server.dialect.native.wire_layout import LayoutMemory, reply_layout
from mindspore_serving.signature import MethodSignature
from mindspore_serving.tensor import MAX_DIMENSIONS, DataType, TensorSpec
from mindspore_serving.wire import varint
from tests.fuzz import predict_message
from tests.fuzz.oracle import LONGEST_TEXT

many = settings(max_examples=200)
METHOD = MethodSignature("m", ("x",), 64)
DIMS = some.lists(
    some.integers(0, 4) | some.sampled_from([-1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]), max_size=4
)
TENSORS = some.builds(
    lambda dtype, dims, data, texts: _tensor(dtype, dims, data, texts),
    some.integers(0, 16),
    DIMS,
    some.binary(max_size=16) | some.sampled_from([bytes(n) for n in (1, 2, 4, 8, 16, 24, 32)]),
    some.lists(some.binary(max_size=3), max_size=2),
)
INSTANCES = some.lists(some.dictionaries(some.sampled_from(["x1", "x2", "x3", ""]), TENSORS), max_size=4)


def _tensor(dtype: int, dims: list[int], data: bytes, texts: list[bytes]) -> ms_service_pb2.Tensor:
    tensor = ms_service_pb2.Tensor(dtype=dtype, data=data, bytes_val=texts)
    tensor.shape.dims.extend(dims)
    return tensor


def message_of(instances: list[dict[str, ms_service_pb2.Tensor]], name: str = "add") -> bytes:
    request = ms_service_pb2.PredictRequest()
    request.servable_spec.name = name
    for instance in instances:
        items = request.instances.add().items
        for key, tensor in instance.items():
            items[key].CopyFrom(tensor)
    return bytes(request.SerializeToString(deterministic=True))


def refusal(message: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        PredictMessage(message).read_instances(METHOD, LayoutMemory())
    text = str(refused.value)
    assert 0 < len(text) <= LONGEST_TEXT
    return text


@many
@given(INSTANCES)
def test_any_instances(instances: list[dict[str, ms_service_pb2.Tensor]]) -> None:
    predict_message.one_input(message_of(instances))


@many
@given(TENSORS, some.integers(1, 5))
def test_instances_that_are_alike(tensor: ms_service_pb2.Tensor, count: int) -> None:
    predict_message.one_input(message_of([{"x1": tensor, "x2": tensor}] * count))


@many
@given(INSTANCES, some.data())
def test_a_message_that_was_damaged(
    instances: list[dict[str, ms_service_pb2.Tensor]], data: some.DataObject
) -> None:
    message = bytearray(message_of(instances))
    for _ in range(data.draw(some.integers(1, 3))):
        message[data.draw(some.integers(0, len(message) - 1))] = data.draw(some.integers(0, 255))
    predict_message.one_input(bytes(message[: data.draw(some.integers(0, len(message)))]))


@many
@given(some.binary(max_size=80))
def test_any_bytes(message: bytes) -> None:
    predict_message.one_input(message)


@pytest.mark.parametrize(
    "dims",
    [
        [2**31, 2**31, 4],
        [2**32, 2**32],
        [2**62, 2**62, 0],
        [2**63 - 1, 0],
        [10**9, 0],
        [-1],
        [-1, -4],
        [0, 4],
        [1] * 40,
        [1] * 1_000_000,
        [2**62] * 100_000,
    ],
    ids=lambda dims: f"{dims[:3]}x{len(dims)}",
)
@pytest.mark.parametrize("dtype", [DataType.INT8, DataType.FLOAT64])
@pytest.mark.parametrize("size", [0, 8])
def test_an_absurd_shape_is_refused(dims: list[int], dtype: DataType, size: int) -> None:
    assert "Tensor check failed: input" in refusal(message_of([{"x": _tensor(dtype, dims, bytes(size), [])}]))


def test_many_dimensions_of_text_are_refused() -> None:
    assert "Tensor check failed" in refusal(message_of([{"x": _tensor(13, [2**40] * 100_000, b"", [b"a"])}]))


def test_dimensions_are_counted_before_they_are_read() -> None:
    message = message_of([{"x": _tensor(DataType.INT8, [1000] * 2_000_000, b"a", [])}])
    call = PredictMessage(message)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="2000000 dimensions"):
        call.read_instances(METHOD, LayoutMemory())
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_instances_are_looked_at_up_to_the_first_that_is_refused() -> None:
    call = PredictMessage(message_of([]) + b"\x12\0" * 200_000)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="Cannot find input x"):
        call.read_instances(METHOD, LayoutMemory())
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_as_many_dimensions_as_numpy_has_are_read() -> None:
    [rows] = PredictMessage(
        message_of([{"x": _tensor(DataType.INT8, [1] * MAX_DIMENSIONS, b"a", [])}] * 3)
    ).read_instances(METHOD, LayoutMemory())
    assert np.asarray(rows.columns[0]).ndim == MAX_DIMENSIONS + 1


def test_a_target_of_any_length_is_read_and_only_a_usual_one_is_remembered() -> None:
    for size in (10, 100_000):
        before = predict_codec._target_of.cache_info().currsize
        call = PredictMessage(message_of([{"x": _tensor(DataType.INT8, [], b"a", [])}], name="n" * size))
        assert call.name == "n" * size
        assert call.read_instances(METHOD, LayoutMemory())[0].count == 1
        assert predict_codec._target_of.cache_info().currsize - before == (size == 10)


def test_layouts_of_large_replies_take_no_memory() -> None:
    tracemalloc.start()
    layout = reply_layout((TensorSpec("y", DataType.INT8, (50_000_000,)),))
    assert layout is not None
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_fields_of_other_types_do_not_hide_a_second_target() -> None:
    spec = ms_service_pb2.ServableSpec(name="other").SerializeToString()
    second = b"\x0a" + varint(len(spec)) + spec
    predict_message.one_input(second + message_of([{"x": _tensor(DataType.INT8, [], b"a", [])}]))
