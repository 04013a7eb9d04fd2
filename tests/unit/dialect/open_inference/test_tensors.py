"""What inputs may be: every rule of datatypes, shapes and data, with the text of its error."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.inputs import instances_of
from mindspore_serving.server.dialect.open_inference.messages import InputTensor
from mindspore_serving.server.dialect.open_inference.shared_data import SharedData, UnknownPeer
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import NUMPY_OF, DataType, TensorSpec
from tests.unit.dialect.open_inference.fake_service import method, untyped

NONE = SharedData(SharedMemoryRegions(), UnknownPeer())


def read(tensors: Sequence[InputTensor], called: MethodSignature) -> Rows:
    return asyncio.run(instances_of(tensors, called, NONE))


def one(
    datatype: str, shape: tuple[int, ...], data: Any, wanted: TensorType | None = None, rows: bool = True
) -> Rows:
    """A request with the one input `x`; without a type, of a method of which nothing is known."""
    called = method(inputs=(wanted,), rows=rows) if wanted else untyped("m", ["x"], ["y"])
    return read([InputTensor("x", datatype, shape, data)], called)


def typed(dtype: DataType, *shape: int, shared: bool = False) -> TensorType:
    return TensorType("x", dtype, shape, shared=shared)


def framed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


NUMBERS = [
    ("INT8", DataType.INT8, [-128, 127]),
    ("UINT8", DataType.UINT8, [0, 255]),
    ("INT16", DataType.INT16, [-32768, 32767]),
    ("UINT16", DataType.UINT16, [0, 65535]),
    ("INT32", DataType.INT32, [-(2**31), 2**31 - 1]),
    ("UINT32", DataType.UINT32, [0, 2**32 - 1]),
    ("INT64", DataType.INT64, [-(2**63), 2**63 - 1]),
    ("UINT64", DataType.UINT64, [0, 2**64 - 1]),
    ("FP16", DataType.FLOAT16, [-1.5, 3]),
    ("FP32", DataType.FLOAT32, [-1.5, 3]),
    ("FP64", DataType.FLOAT64, [-1.5, 3]),
    ("BOOL", DataType.BOOL, [True, False]),
]


@pytest.mark.parametrize(("datatype", "dtype", "values"), NUMBERS)
def test_numbers_come_as_raw_bytes_and_as_lists(datatype: str, dtype: DataType, values: list[Any]) -> None:
    expected = np.array(values, NUMPY_OF[dtype])
    for data in (expected.tobytes(), memoryview(expected.tobytes()), values, [[values[0]], [values[1]]]):
        rows = one(datatype, (2, 1), data, typed(dtype, 1))
        [column] = rows.columns
        assert isinstance(column, np.ndarray)
        assert (rows.count, rows.specs) == (2, (TensorSpec("x", dtype, (1,)),))
        assert (column.dtype, column.shape) == (NUMPY_OF[dtype], (2, 1))
        np.testing.assert_array_equal(column, expected.reshape(2, 1))


def test_raw_numbers_are_not_copied() -> None:
    data = bytearray(8)
    [column] = one("INT32", (2, 1), memoryview(data), typed(DataType.INT32, 1)).columns
    data[4] = 7
    assert isinstance(column, np.ndarray)
    assert column.tolist() == [[0], [7]]


@pytest.mark.parametrize("wanted", [typed(DataType.FLOAT32, 2), None])
def test_bf16_becomes_float32(wanted: TensorType | None) -> None:
    values = np.array([1.5, -np.inf], np.float32)
    data = values.view(np.uint32).__rshift__(16).astype(np.uint16).tobytes()
    rows = one("BF16", (1, 2), data, wanted)
    assert rows.specs[0].dtype is DataType.FLOAT32
    np.testing.assert_array_equal(np.ravel(rows.columns[0]), values)


@pytest.mark.parametrize(
    ("wanted", "data", "dtype"),
    [
        (TensorType("x", DataType.STRING, ()), ["a", "é"], DataType.STRING),
        (TensorType("x", DataType.STRING, ()), framed(b"a", "é".encode()), DataType.STRING),
        (TensorType("x", DataType.BYTES, ()), ["a", "é"], DataType.BYTES),
        (TensorType("x", DataType.BYTES, ()), framed(b"a", "é".encode()), DataType.BYTES),
        (TensorType("x"), ["a", "é"], DataType.STRING),
        (TensorType("x"), [b"a", "é".encode()], DataType.BYTES),
        (TensorType("x"), framed(b"a", "é".encode()), DataType.BYTES),
    ],
)
@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 1, 1)])
def test_strings(wanted: TensorType, data: Any, dtype: DataType, shape: tuple[int, ...]) -> None:
    rows = one("BYTES", shape, data, wanted)
    assert (rows.count, rows.specs) == (2, (TensorSpec("x", dtype, ()),))
    assert rows.columns == ([b"a", "é".encode()],)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_string_without_rows(shape: tuple[int, ...]) -> None:
    rows = one("BYTES", shape, framed(b"\xff"))
    assert (rows.count, rows.columns) == (1, ([b"\xff"],))


def test_a_tensor_without_rows_is_one_instance() -> None:
    rows = one("FP32", (3, 2), bytes(24))
    assert (rows.count, rows.specs) == (1, (TensorSpec("x", DataType.FLOAT32, (3, 2)),))
    assert rows.columns[0].shape == (1, 3, 2)  # type: ignore[union-attr]


def test_sizes_that_vary_take_any() -> None:
    assert one("INT8", (2, 3, 5), bytes(30), typed(DataType.INT8, -1, 5)).specs[0].shape == (3, 5)


@pytest.mark.parametrize(
    ("shape", "count", "row"),
    [((0, 2), 0, (2,)), ((3, 0), 3, (0,)), ((1024, 0), 1024, (0,)), ((0, 1 << 40), 0, (1 << 40,))],
)
@pytest.mark.parametrize("data", [b"", []])
def test_tensors_without_elements(
    shape: tuple[int, ...], count: int, row: tuple[int, ...], data: Any
) -> None:
    rows = one("FP32", shape, data, typed(DataType.FLOAT32, -1))
    assert (rows.count, rows.specs[0].shape) == (count, row)


def test_a_value_that_all_rows_have_in_common() -> None:
    types = (
        typed(DataType.INT32),
        TensorType("s", DataType.INT8, (2,), shared=True),
        TensorType("t", DataType.STRING, (), shared=True),
    )
    tensors = [
        InputTensor("t", "BYTES", (1,), ["a"]),
        InputTensor("s", "INT8", (2,), [1, 2]),
        InputTensor("x", "INT32", (3,), [1, 2, 3]),
    ]  # fmt: skip
    rows = read(tensors, method(inputs=types))
    assert rows.count == 3
    assert rows.columns[1].tolist() == [[1, 2]] * 3  # type: ignore[union-attr]
    assert rows.columns[2] == [b"a"] * 3
    tensors[2] = InputTensor("x", "INT32", (0,), [])
    assert read(tensors, method(inputs=types)).count == 0


def test_a_value_of_all_rows_that_comes_to_too_much() -> None:
    types = (typed(DataType.INT8), TensorType("s", DataType.INT8, (1 << 20,), shared=True))
    tensors = [
        InputTensor("x", "INT8", (1 << 10,), bytes(1 << 10)),
        InputTensor("s", "INT8", (1 << 20,), bytes(1 << 20)),
    ]
    with pytest.raises(InvalidInput, match="one value for 1024 rows, which come to 1073741824 bytes"):
        read(tensors, method(inputs=types))


def test_a_method_without_inputs_has_one_instance() -> None:
    assert read([], method(inputs=())) == Rows((), (), 1)


F32 = typed(DataType.FLOAT32, 2)
TEXT = TensorType("x", DataType.STRING, ())
NESTED: Any = 1
for _ in range(900):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "wanted", "text"),
    [
        # Datatypes: the protocol does not cast.
        ("FP64", (1, 2), bytes(16), F32, "Input 'x' has datatype FP64, expected FP32"),
        ("BYTES", (1, 2), framed(b"", b""), F32, "Input 'x' has datatype BYTES, expected FP32"),
        ("FP32", (1,), bytes(4), TEXT, "Input 'x' has datatype FP32, expected BYTES"),
        ("BF16", (1, 2), bytes(4), typed(DataType.FLOAT16, 2), "Input 'x' has datatype BF16, expected FP16"),
        ("FP8", (1, 2), bytes(2), F32, "datatype 'FP8', which is unknown; known are BOOL, INT8"),
        ("fp32", (1, 2), bytes(8), None, "datatype 'fp32', which is unknown"),
        ("X" * 999, (1, 2), bytes(8), None, "X... (999 characters)', which is unknown"),
        # Shapes.
        ("FP32", (1, 3), bytes(12), F32, "Input 'x' has shape [1, 3], expected [-1, 2], where -1 stands for any size"),
        ("FP32", (2,), bytes(8), F32, "Input 'x' has shape [2], expected [-1, 2]"),
        ("FP32", (1, 1, 2), bytes(8), F32, "Input 'x' has shape [1, 1, 2], expected [-1, 2]"),
        ("FP32", (), bytes(4), typed(DataType.FLOAT32), "Input 'x' has shape [], expected a first dimension"),
        ("FP32", (), bytes(4), TensorType("x", DataType.FLOAT32), "counts the rows: [-1, ...]"),
        ("FP32", (-1, 2), bytes(8), F32, "Input 'x' has shape [-1, 2], in which a size is negative"),
        ("FP32", (1,) * 32, bytes(4), None, "Input 'x' has 32 dimensions, expected are at most 31"),
        ("FP32", (1 << 62, 1 << 62, 2), bytes(8), None, "which is too large"),
        ("INT8", (1 << 41, 0), b"", typed(DataType.INT8, -1), "which is too large"),
        ("INT8", (1025, 0), b"", typed(DataType.INT8, -1), "Input 'x' has shape [1025, 0], which is too large"),
        ("INT8", (0, 1 << 62, 1 << 62), b"", None, "which is too large"),
        ("BYTES", (2, 2), framed(*[b""] * 4), TEXT, "has shape [2, 2], expected [N] or [N, 1]: one element for each"),
        ("BYTES", (), framed(b""), TEXT, "has shape [], expected [N] or [N, 1]"),
        ("BYTES", (2,), framed(b"", b""), None, "Input 'x' of datatype BYTES has shape [2], expected [1]"),
        ("BYTES", (-1,), b"", TEXT, "in which a size is negative"),
        # Raw data.
        ("FP32", (1, 2), bytes(7), F32, "Input 'x' has 7 bytes of data, expected 8: shape [1, 2] of FP32"),
        ("FP32", (1, 2), bytes(9), F32, "Input 'x' has 9 bytes of data, expected 8"),
        ("BF16", (1, 2), bytes(8), F32, "Input 'x' has 8 bytes of data, expected 4: shape [1, 2] of BF16"),
        ("FP32", (0, 2), bytes(1), F32, "Input 'x' has 1 bytes of data, expected 0"),
        ("BOOL", (1, 2), b"\x01\x02", typed(DataType.BOOL, 2), "Input 'x' has 2 as element 1, expected 0 or 1"),
        ("BYTES", (2,), framed(b"a"), TEXT, "Input 'x' has 5 bytes of data, which end within element 1 of 2"),
        ("BYTES", (1,), framed(b"ab")[:-1], TEXT, "Input 'x' has 5 bytes of data, which end within element 0 of 1"),
        ("BYTES", (1,), b"\xff\xff\xff\xff", TEXT, "which end within element 0 of 1"),
        ("BYTES", (1 << 40,), b"", TEXT, "which end within element 0 of"),
        ("BYTES", (1,), framed(b"a", b"b"), TEXT, "Input 'x' has 10 bytes of data, expected 5: its shape [1] has 1"),
        ("BYTES", (1,), framed(b"\xff"), TEXT, "Input 'x' should be text in UTF-8, element 0 is not"),
        # Lists.
        ("FP32", (1, 2), [1.0], F32, "data of input 'x' has 1 elements, but shape [1, 2] has 2"),
        ("FP32", (2, 2), [[1.0, 2.0], [3.0]], F32, "as shape [2, 2] says, but is nested otherwise in dimension 1"),
        ("FP32", (2, 2), [[1.0, 2.0], 3.0], F32, "nested otherwise in dimension 1"),
        ("FP32", (1, 2), [[1.0, 2.0], [3.0, 4.0]], F32, "nested otherwise in dimension 1"),
        ("FP32", (1, 2), [1.0, [2.0]], F32, "has a list as element 1, which is no FP32"),
        ("FP32", (1,), NESTED, None, "has a list as element 0, which is no FP32"),
        ("FP32", (1, 2), [1.0, None], F32, "has null as element 1, which is no FP32"),
        ("FP32", (1, 2), [1.0, "a"], F32, "has 'a' as element 1, which is no FP32"),
        ("FP32", (1, 2), [1.0, True], F32, "has True as element 1, which is no FP32"),
        ("FP32", (1, 2), [1.0, {}], F32, "has an object as element 1, which is no FP32"),
        ("FP32", (1, 2), [1.0, 1e39], F32, "has 1e+39 as element 1, which is no FP32"),
        ("FP16", (1,), [70000], typed(DataType.FLOAT16), "has 70000 as element 0, which is no FP16"),
        ("FP64", (1,), [10**400], typed(DataType.FLOAT64), "as element 0, which is no FP64"),
        ("INT8", (2,), [1, 128], typed(DataType.INT8), "has 128 as element 1, which is no INT8"),
        ("UINT64", (1,), [-1], typed(DataType.UINT64), "has -1 as element 0, which is no UINT64"),
        ("INT32", (1,), [1.0], typed(DataType.INT32), "has 1.0 as element 0, which is no INT32"),
        ("BOOL", (1,), [2], typed(DataType.BOOL), "has 2 as element 0, which is no BOOL"),
        ("BOOL", (1,), [300], typed(DataType.BOOL), "has 300 as element 0, which is no BOOL"),
        ("BF16", (1, 2), [1.0, 2.0], F32, "Input 'x' of datatype BF16 should be raw bytes"),
        ("BYTES", (2,), ["a", 1], TEXT, "has 1 as element 1, expected a string, since the datatype is BYTES"),
        ("BYTES", (1,), ["\ud800"], TEXT, "as element 0, expected a string"),
        ("BYTES", (2,), ["a"], TEXT, "data of input 'x' has 1 elements, but shape [2] has 2"),
        ("BYTES", (5000,), ["a"] * 4999 + [0], TEXT, "has 0 as element 4999, expected a string"),
        ("FP32", (1, 2), None, F32, "Input 'x' has no data"),
    ],
)  # fmt: skip
def test_inputs_that_are_refused(
    datatype: str, shape: tuple[int, ...], data: Any, wanted: TensorType | None, text: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        one(datatype, shape, data, wanted)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((2, 2), "Input 'x' has shape [1, 2], expected [2, 2]"),
        ((2, -1), "Input 'x' has shape [1, 2], expected [2, -1], where -1 stands for any size"),
    ],
)
def test_a_shape_of_a_method_without_rows(sizes: tuple[int, ...], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        one("FP32", (1, 2), bytes(8), typed(DataType.FLOAT32, *sizes), rows=False)
    assert str(caught.value) == text


X, Y = InputTensor("x", "INT8", (1,), [1]), InputTensor("y", "INT8", (1,), [1])


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ([X], "Input 'y' is missing, inputs are x, y"),
        ([], "Input 'x' is missing, inputs are x, y"),
        ([X, X], "Input 'x' is there more than once"),
        ([X, Y, Y], "Input 'y' is there more than once"),
        ([X, Y, InputTensor("z", "INT8", (1,), [1])], "Input 'z' is unknown, inputs are x, y"),
        (
            [X, InputTensor("z" * 999, "INT8", (1,), [1])],
            "z... (999 characters)' is unknown, inputs are x, y",
        ),
        ([X, InputTensor("y", "INT8", (2,), [1, 2])], "the same number of rows, but 'x' has 1, 'y' has 2"),
    ],
)
def test_inputs_that_are_not_those_of_the_method(tensors: list[InputTensor], text: str) -> None:
    types = (typed(DataType.INT8), TensorType("y", DataType.INT8, ()))
    with pytest.raises(InvalidInput) as caught:
        read(tensors, method(inputs=types))
    assert text in str(caught.value)


def test_the_element_that_is_no_text_is_named_whichever_it_is() -> None:
    texts = [b"a"] * 5000 + [b"\xff"]
    with pytest.raises(InvalidInput, match="Input 'x' should be text in UTF-8, element 5000 is not"):
        read([InputTensor("x", "BYTES", (5001,), framed(*texts))], method(inputs=(TEXT,)))


def test_others_have_their_turns_while_many_strings_are_read() -> None:
    async def scene() -> int:
        reading = asyncio.ensure_future(
            instances_of(
                [InputTensor("x", "BYTES", (20_000,), framed(*[b"a"] * 20_000))], method(inputs=(TEXT,)), NONE
            )
        )
        turns = 0
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert reading.result().count == 20_000
        return turns

    assert asyncio.run(scene()) > 3
