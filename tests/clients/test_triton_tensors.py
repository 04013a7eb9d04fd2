"""Tensors of every type and form through tritonclient, over HTTP and gRPC, there and back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.clients.servables import DATA_TYPES
from tests.clients.triton import Array, Triton, texts


def extremes(kind: Any) -> Array:
    """Two rows of a data type, with its smallest and its largest number."""
    if kind is np.bool_:
        return np.array([[True, False, True], [False, False, True]])
    limits = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(kind)
    return np.array([[limits.min, 0, 1], [limits.max, 2, 3]], kind)


def method_of(datatype: str) -> str:
    return f"echo.identity_{np.dtype(DATA_TYPES[datatype]).name}"


def assert_same(result: Any, name: str, expected: Array, datatype: str) -> None:
    output = result.get_output(name)
    described = output if isinstance(output, dict) else {"datatype": output.datatype, "shape": output.shape}
    assert described["datatype"] == datatype
    assert list(described["shape"]) == list(expected.shape)
    found = result.as_numpy(name)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("datatype", DATA_TYPES)
def test_numbers_as_bytes(triton: Triton, datatype: str) -> None:
    sent = extremes(DATA_TYPES[datatype])
    result = triton.infer(method_of(datatype), {"x": sent})
    assert_same(result, "y", sent, datatype)


@pytest.mark.parametrize("datatype", DATA_TYPES)
@pytest.mark.parametrize("triton", ["http"], indirect=True)
def test_numbers_as_json(triton: Triton, datatype: str) -> None:
    sent = extremes(DATA_TYPES[datatype])
    outputs = [triton.output("y", binary=False)]
    result = triton.infer(method_of(datatype), {"x": sent}, binary=False, outputs=outputs)
    assert "binary_data_size" not in result.get_output("y").get("parameters", {})
    assert len(np.ravel(result.get_output("y")["data"])) == sent.size
    assert_same(result, "y", sent, datatype)


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
@pytest.mark.parametrize(
    "sent",
    [
        texts("plain", "", "你好", "a\nb\0c"),
        texts(*(f"text {number}" for number in range(500))),
        texts("x" * 100_000),
    ],
    ids=["any", "many", "long"],
)
def test_texts(triton: Triton, sent: Array, binary: bool) -> None:
    result = triton.infer(
        "echo.identity_text", {"x": sent}, binary=binary, outputs=[triton.output("y", binary=binary)]
    )
    assert result.get_output("y") is not None
    found = [one if isinstance(one, str) else one.decode() for one in result.as_numpy("y")]
    assert found == list(sent)


def test_bytes_that_are_no_text(triton: Triton) -> None:
    sent = texts(b"\xff\xfe\0\x80", b"", bytes(range(256)))
    result = triton.infer("echo.identity_bytes", {"x": sent})
    assert list(result.as_numpy("y")) == list(sent)


def test_bytes_of_fixed_width(triton: Triton) -> None:
    """An array of numpy's type `S`."""
    sent = np.array([b"one", b"three"])
    result = triton.infer("echo.identity_bytes", {"x": sent})
    assert list(result.as_numpy("y")) == list(sent)


def test_bfloat16(triton: Triton) -> None:
    sent = np.array([[1.5, -2.0, 3.0e38], [0.0, 0.15625, -1.0e-38]], ml_dtypes.bfloat16)
    result = triton.infer("echo.as_sent", {"x": sent})
    found = result.as_numpy("y")
    assert found.shape == sent.shape
    np.testing.assert_array_equal(found.astype(np.float32), sent.astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_numbers_that_json_has_not(triton: Triton, value: float) -> None:
    sent = np.array([[value, 1.0]], np.float32)
    assert_same(triton.infer("echo.identity_float32", {"x": sent}), "y", sent, "FP32")


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
@pytest.mark.parametrize(
    ("method", "shape"), [("identity_float32", (1, 0)), ("as_sent", (2, 0)), ("as_sent", (0,))]
)
def test_tensors_without_elements(triton: Triton, method: str, shape: tuple[int, ...], binary: bool) -> None:
    sent = np.zeros(shape, np.float32)
    outputs = [triton.output("y", binary=binary)]
    result = triton.infer(f"echo.{method}", {"x": sent}, binary=binary, outputs=outputs)
    assert_same(result, "y", sent, "FP32")


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
def test_no_rows(triton: Triton, binary: bool) -> None:
    sent = np.zeros((0, 4), np.float32)
    outputs = [triton.output("y", binary=binary)]
    result = triton.infer("echo.scores", {"x": sent}, binary=binary, outputs=outputs)
    assert_same(result, "y", sent, "FP32")


@pytest.mark.parametrize("rows", [1, 2, 7, 300])
def test_rows_are_instances_and_come_back_in_order(triton: Triton, rows: int) -> None:
    a = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    b = np.full((rows, 3), 0.5, np.float32)
    result = triton.infer("echo.add_sub", {"a": a, "b": b})
    assert_same(result, "total", a + b, "FP32")
    assert_same(result, "difference", a - b, "FP32")


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_rows_of_a_model_with_a_batch_dimension(triton: Triton, rows: int) -> None:
    """The batch of the model has two rows."""
    x1 = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    result = triton.infer("add.add", {"x1": x1, "x2": np.ones_like(x1)})
    assert_same(result, "y", x1 + 1, "FP32")


def test_a_model_without_batch_dimension_takes_the_tensor_whole(triton: Triton) -> None:
    x1 = np.array([[5, 6], [7, 8]], np.float32)
    result = triton.infer("add.subtract", {"x1": x1, "x2": np.ones_like(x1)})
    assert_same(result, "y", x1 - 1, "FP32")


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 1)], ids=str)
def test_a_method_without_types_takes_tensors_as_sent(triton: Triton, shape: tuple[int, ...]) -> None:
    sent = np.arange(np.prod(shape, dtype=int), dtype=np.int16).reshape(shape)
    assert_same(triton.infer("echo.as_sent", {"x": sent}), "y", sent, "INT16")


def test_arrays_that_are_not_contiguous(triton: Triton) -> None:
    sent = np.arange(24, dtype=np.int32).reshape(4, 6).T[::2]
    assert_same(triton.infer("echo.identity_int32", {"x": sent}), "y", sent, "INT32")


def test_a_large_tensor(triton: Triton) -> None:
    """Larger than what a frame of either transport holds, and than grpcio takes by default."""
    sent = np.random.default_rng(1).random((4, 400_000), np.float32)
    assert_same(triton.infer("echo.identity_float32", {"x": sent}), "y", sent, "FP32")


def test_a_servable_by_its_name_is_its_first_method(triton: Triton) -> None:
    sent = np.array([[True, False]])
    assert_same(triton.infer("echo", {"x": sent}), "y", sent, "BOOL")


@pytest.mark.parametrize("triton", ["http"], indirect=True)
@pytest.mark.parametrize(
    ("first", "second"), [(True, False), (False, True), (False, False), (True, True)], ids=str
)
def test_each_input_and_output_as_bytes_or_json(triton: Triton, first: bool, second: bool) -> None:
    a, b = np.full((2, 3), 4, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    result = triton.infer(
        "echo.add_sub",
        [triton.input("a", a, binary=first), triton.input("b", b, binary=second)],
        outputs=[triton.output("difference", binary=second), triton.output("total", binary=first)],
    )
    assert_same(result, "total", a + b, "FP32")
    assert_same(result, "difference", a - b, "FP32")
    for name, binary in (("total", first), ("difference", second)):
        assert ("data" in result.get_output(name)) is not binary


def test_only_outputs_that_are_asked_for(triton: Triton) -> None:
    ones = np.ones((1, 3), np.float32)
    result = triton.infer("echo.add_sub", {"a": ones, "b": ones}, outputs=[triton.output("difference")])
    assert_same(result, "difference", np.zeros((1, 3), np.float32), "FP32")
    assert result.as_numpy("total") is None


def test_outputs_in_any_order(triton: Triton) -> None:
    ones = np.ones((1, 3), np.float32)
    outputs = [triton.output("difference"), triton.output("total")]
    result = triton.infer("echo.add_sub", {"b": ones, "a": ones * 2}, outputs=outputs)
    assert_same(result, "total", ones * 3, "FP32")
    assert_same(result, "difference", ones, "FP32")


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "JSON"])
def test_classification(triton: Triton, binary: bool) -> None:
    scores = np.array([[0.1, 0.7, 0.15, 0.05], [3, 2, 1, 4]], np.float32)
    outputs = [triton.output("y", binary=binary, classes=2)]
    result = triton.infer("echo.scores", {"x": scores}, outputs=outputs)
    found = result.as_numpy("y")
    assert found.shape == (2, 2)
    entries = [[(one if isinstance(one, str) else one.decode()).split(":") for one in row] for row in found]
    assert [[int(index) for _, index in row] for row in entries] == [[1, 2], [3, 0]]
    values = [[float(value) for value, _ in row] for row in entries]
    np.testing.assert_allclose(values, [[0.7, 0.15], [4, 3]], rtol=1e-5)
