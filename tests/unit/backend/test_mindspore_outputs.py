"""How outputs of MindSpore are read, with tensors that only look like MindSpore's."""

from __future__ import annotations

import numpy as np
import pytest

from mindspore_serving.server.backend.mindspore.outputs import OutputReader, tensors_of
from mindspore_serving.tensor import DATA_TYPE_OF, Array, TensorSpec

LARGE = 50_000
"""Float32 numbers, which are more bytes than are read by `get_bytes`."""


class FakeTensor:
    """What is read of a tensor, and how it was read.

    Args:
        array: Its memory.
        content: What `get_bytes` gives instead of the array's; an error is raised.
    """

    def __init__(self, array: Array, content: bytes | Exception | None = None) -> None:
        self.array = array
        self.shape = array.shape
        self.nbytes = array.nbytes
        self.reads: list[str] = []
        self._content = array.tobytes() if content is None else content

    def asnumpy(self) -> Array:
        self.reads.append("asnumpy")
        return self.array.view()

    def get_bytes(self) -> bytes:
        self.reads.append("get_bytes")
        if isinstance(self._content, Exception):
            raise self._content
        return self._content


def specs(*arrays: Array) -> list[TensorSpec]:
    return [TensorSpec("", DATA_TYPE_OF[array.dtype], array.shape) for array in arrays]


def floats(*shape: int) -> Array:
    return np.arange(np.prod(shape)).astype(np.float32).reshape(shape)


def tried(*arrays: Array) -> OutputReader:
    """A reader for a graph that gave these arrays, in other memory each time."""
    return OutputReader.tried(
        specs(*arrays),
        [FakeTensor(array.copy()) for array in arrays],
        [FakeTensor(array) for array in arrays],
    )


@pytest.mark.parametrize(
    "array",
    [
        floats(2, 2),
        np.array(3, np.int64),
        np.zeros((0, 2), np.float32),
        np.array([True, False]),
        floats(LARGE),
    ],
    ids=["matrix", "scalar", "empty", "bool", "large"],
)
def test_an_output_is_read_as_it_is(array: Array) -> None:
    reader = tried(array)
    assert reader.by_bytes
    [output] = reader.read([FakeTensor(array)], [])
    assert (output.dtype, output.shape) == (array.dtype, array.shape)
    assert output.tobytes() == array.tobytes()
    assert output.flags.carray


@pytest.mark.parametrize(("size", "way"), [(2, "get_bytes"), (LARGE, "asnumpy")])
def test_small_outputs_are_read_by_their_bytes(size: int, way: str) -> None:
    tensor = FakeTensor(floats(size))
    tried(floats(size)).read([tensor], [])
    assert tensor.reads == [way]


@pytest.mark.parametrize("size", [2, LARGE])
def test_an_input_that_comes_out_is_copied(size: int) -> None:
    given = floats(size)
    [output] = tried(floats(size)).read([FakeTensor(given)], [floats(1), given])
    assert not np.shares_memory(output, given)


@pytest.mark.parametrize("size", [2, LARGE])
def test_a_constant_is_copied(size: int) -> None:
    constant = floats(size)
    tensor = FakeTensor(constant)
    reader = OutputReader.tried(specs(constant), [tensor], [tensor])
    [output] = reader.read([tensor], [])
    assert not np.shares_memory(output, constant)


def test_large_outputs_are_not_copied() -> None:
    array = floats(LARGE)
    [output] = tried(floats(LARGE)).read([FakeTensor(array)], [floats(LARGE)])
    assert np.shares_memory(output, array)


@pytest.mark.parametrize(
    "content",
    [bytes(16), bytes(4), AttributeError("get_bytes"), RuntimeError("not on this device")],
    ids=["other bytes", "too few bytes", "not there", "fails"],
)
def test_asnumpy_reads_where_get_bytes_does_not(content: bytes | Exception) -> None:
    array = floats(2, 2)
    reader = OutputReader.tried(specs(array), [FakeTensor(array.copy())], [FakeTensor(array, content)])
    assert not reader.by_bytes
    tensor = FakeTensor(array, content)
    [output] = reader.read([tensor], [array])
    assert tensor.reads == ["asnumpy"]
    np.testing.assert_array_equal(output, array)
    assert not np.shares_memory(output, array)


def test_another_number_of_outputs_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        tried(floats(2)).read([FakeTensor(floats(2))] * 2, [])


def test_nested_results_come_flat() -> None:
    tensors = [FakeTensor(floats(1)) for _ in range(4)]
    assert tensors_of((tensors[0], (tensors[1], [tensors[2], tensors[3]]), ())) == tensors
    assert tensors_of(tensors[0]) == tensors[:1]
