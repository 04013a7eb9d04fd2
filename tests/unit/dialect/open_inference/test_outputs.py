"""Outcomes as output tensors: views, joined batches, classes, and what no tensor can hold."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.open_inference.classification import classes_of
from mindspore_serving.server.dialect.open_inference.http.reply import texts_in
from mindspore_serving.server.dialect.open_inference.messages import OutputTensor, RequestedOutput
from mindspore_serving.server.dialect.open_inference.outputs import (
    empty_tensors,
    numbers_in,
    raw_numbers,
    tensors_of,
    wanted_outputs,
)
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType, TensorSpec
from tests.unit.dialect.open_inference.fake_service import method, untyped

A = TensorType("a", DataType.FLOAT32, (2,))
B = TensorType("b", DataType.STRING, ())
CALLED = method(outputs=(A, B))


def block(array: Array, texts: list[bytes] | None = None) -> Rows:
    """Rows of an output `a`, and of an output `b` where there are texts."""
    specs = [TensorSpec("a", DATA_TYPE_OF[array.dtype], array.shape[1:])]
    columns: list[Any] = [array]
    if texts is not None:
        specs.append(TensorSpec("b", DataType.STRING, ()))
        columns.append(texts)
    return Rows(tuple(specs), tuple(columns), len(array))


def outputs(
    blocks: list[Rows], called: MethodSignature = CALLED, *asked: RequestedOutput
) -> list[OutputTensor]:
    return asyncio.run(tensors_of(blocks, called, wanted_outputs(asked, called)))


def test_all_outputs_come_in_the_order_of_the_method() -> None:
    array = np.array([[1, 2], [3, 4]], np.float32)
    a, b = outputs([block(array, [b"p", b"qq"])])
    assert (a.name, a.datatype, a.shape) == ("a", "FP32", (2, 2))
    assert (b.name, b.datatype, b.shape) == ("b", "BYTES", (2,))
    assert numbers_in(a).tolist() == [1, 2, 3, 4]
    assert (b.data, texts_in(b)) == (b"\x01\0\0\0p\x02\0\0\0qq", ["p", "qq"])


def test_outputs_come_in_the_order_in_which_they_are_asked_for() -> None:
    found = outputs(
        [block(np.ones((1, 2), np.float32), [b""])], CALLED, RequestedOutput("b"), RequestedOutput("a")
    )
    assert [tensor.name for tensor in found] == ["b", "a"]
    [only] = outputs([block(np.ones((1, 2), np.float32), [b""])], CALLED, RequestedOutput("a"))
    assert only.name == "a"


def test_the_result_of_one_batch_is_not_copied() -> None:
    array = np.zeros((2, 2), np.int32)
    [tensor] = outputs([block(array)], method(outputs=(A,)))
    array[1, 1] = 7
    assert numbers_in(tensor).tolist() == [0, 0, 0, 7]


def test_results_of_several_batches_are_joined() -> None:
    blocks = [block(np.full((1, 2), n, np.float64), [b"%d" % n]) for n in range(3)]
    a, b = outputs(blocks)
    assert (a.datatype, a.shape, numbers_in(a).tolist()) == ("FP64", (3, 2), [0, 0, 1, 1, 2, 2])
    assert (b.shape, texts_in(b)) == ((3,), ["0", "1", "2"])


@pytest.mark.parametrize(
    ("other", "shown"),
    [(np.zeros((1, 3), np.float32), "FP32 [3]"), (np.zeros((1, 2), np.float64), "FP64 [2]")],
)
def test_rows_that_differ_are_no_tensor(other: Array, shown: str) -> None:
    blocks = [block(np.zeros((2, 2), np.float32)), block(other)]
    with pytest.raises(InvalidInput) as caught:
        outputs(blocks, method(outputs=(A,)))
    text = f"Output 'a' is FP32 [2] in row 0, but {shown} in row 2: one tensor cannot hold both"
    assert text in str(caught.value)


def test_one_instance_has_no_dimension_for_rows() -> None:
    called = untyped("m", ["x"], ["a", "b"])
    a, b = outputs([block(np.zeros((1, 3, 2), np.uint8), [b"t"])], called)
    assert (a.shape, b.shape) == ((3, 2), (1,))


@pytest.mark.parametrize("array", [np.zeros((3, 0), np.int8), np.zeros((1, 0, 4), np.float16)])
def test_outputs_without_elements(array: Array) -> None:
    [tensor] = outputs([block(array)], method(outputs=(A,)))
    assert (tensor.shape, tensor.data) == (array.shape, b"")


def test_an_array_whose_rows_are_apart() -> None:
    array = np.arange(8, dtype=np.int16).reshape(2, 4)[:, ::2]
    assert bytes(raw_numbers(array)) == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ([RequestedOutput("c")], "Output 'c' is unknown, outputs are a, b"),
        ([RequestedOutput("a"), RequestedOutput("a")], "Output 'a' is asked for more than once"),
        ([RequestedOutput("a", {"classification": -1})], "a whole number from 0 on, but is -1"),
        ([RequestedOutput("a", {"classification": True})], "a whole number from 0 on, but is True"),
        ([RequestedOutput("a", {"classification": "3"})], "a whole number from 0 on, but is '3'"),
        ([RequestedOutput("a", {"classification": 1 << 32})], "a whole number from 0 on, but is 4294967296"),
        (
            [RequestedOutput("a", {"shared_memory_region": "r", "binary_data": True})],
            "Output 'a' cannot be both in shared memory and in the reply as binary data",
        ),
    ],
)
def test_outputs_that_cannot_be_asked_for(asked: list[RequestedOutput], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        wanted_outputs(asked, CALLED)
    assert text in str(caught.value)


# --- Without rows ---


def test_no_rows_have_outputs_without_elements() -> None:
    called = method(outputs=(TensorType("a", DataType.INT8, (2, -1)), B))
    asked = [RequestedOutput("b"), RequestedOutput("a")]
    b, a = empty_tensors(called, wanted_outputs(asked, called))
    assert (a.datatype, a.shape, a.data) == ("INT8", (0, 2, 0), b"")
    assert (b.datatype, b.shape, b.data) == ("BYTES", (0,), b"")
    classes = [RequestedOutput("a", {"classification": 3})]
    [found] = empty_tensors(CALLED, wanted_outputs(classes, CALLED))
    assert (found.datatype, found.shape) == ("BYTES", (0, 2))


@pytest.mark.parametrize("output", [TensorType("a"), TensorType("a", DataType.INT8)])
def test_no_rows_of_outputs_that_are_not_known(output: TensorType) -> None:
    called = method(outputs=(output,))
    with pytest.raises(InvalidInput, match="what output 'a' looks like is not known"):
        empty_tensors(called, wanted_outputs((), called))


# --- Classes ---


def classes(array: Array, most: int, rows: bool = True) -> tuple[tuple[int, ...], list[str]]:
    called = method(outputs=(A,), rows=rows)
    [tensor] = outputs([block(array)], called, RequestedOutput("a", {"classification": most}))
    assert tensor.datatype == "BYTES"
    return tensor.shape, texts_in(tensor)


@pytest.mark.parametrize(
    ("values", "dtype", "most", "expected"),
    [
        ([0.25, 2, -1], np.float32, 2, ["2.000000:1", "0.250000:0"]),
        ([0.25, 2, -1], np.float32, 9, ["2.000000:1", "0.250000:0", "-1.000000:2"]),
        ([7, 7, 9, 7], np.int64, 4, ["9:2", "7:0", "7:1", "7:3"]),
        ([2, 200], np.uint8, 1, ["200:1"]),
        ([False, True], np.bool_, 2, ["1:1", "0:0"]),
        ([np.nan, 1, -np.inf], np.float32, 3, ["1.000000:1", "-inf:2", "nan:0"]),
        ([0.0, -0.0, 3], np.float16, 3, ["3.000000:2", "0.000000:0", "-0.000000:1"]),
    ],
)
def test_classes_of_a_row(values: list[Any], dtype: Any, most: int, expected: list[str]) -> None:
    shape, found = classes(np.array([values], dtype), most)
    assert (shape, found) == ((1, len(expected)), expected)


def test_classes_of_several_rows_and_dimensions() -> None:
    array = np.arange(8, dtype=np.int32).reshape(2, 2, 2)
    assert classes(array, 1) == ((2, 1), ["3:3", "7:3"])
    assert classes(array[:1], 2, rows=False) == ((2,), ["3:3", "2:2"])
    assert classes(np.zeros((3, 0), np.int8), 2) == ((3, 0), [])


def test_classes_of_many_values() -> None:
    array = np.tile(np.arange(5000, dtype=np.float32), (9, 1))
    assert classes(array, 1) == ((9, 1), ["4999.000000:4999"] * 9)


def test_others_have_their_turns_while_one_row_has_many_classes() -> None:
    count = 100_000

    async def scene() -> int:
        finding = asyncio.ensure_future(classes_of(np.arange(count, dtype=np.int32).reshape(1, -1), count))
        turns = 0
        while not finding.done():
            await asyncio.sleep(0)
            turns += 1
        texts = finding.result()
        assert (len(texts), texts[0], texts[-1]) == (count, b"99999:99999", b"0:0")
        return turns

    assert asyncio.run(scene()) > 5


def test_zero_classes_are_the_values_themselves() -> None:
    [tensor] = outputs(
        [block(np.ones((1, 2), np.int8))], method(outputs=(A,)), RequestedOutput("a", {"classification": 0})
    )
    assert tensor.datatype == "INT8"


def test_strings_have_no_classes() -> None:
    with pytest.raises(InvalidInput, match="Output 'b' is BYTES, which has no classes"):
        outputs(
            [block(np.ones((1, 2), np.float32), [b""])], CALLED, RequestedOutput("b", {"classification": 1})
        )
