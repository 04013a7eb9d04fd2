"""The backend without models, and the check of arrays that all backends share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, InvalidParameter, ModelError, StartUpError
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadedGraph, LoadRequest
from mindspore_serving.server.backend.input_check import InputCheck
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec


def load(folder: Path, name: str, device_type: str = "ascend") -> LoadedGraph:
    (folder / name).write_bytes(b"anything")
    return create_backend("stub").load(LoadRequest(folder / name, True, (), 64, device_type, 0))


def arrays(count: int, shape: tuple[int, ...] = (2, 2)) -> list[Array]:
    return [np.full(shape, 10.0 ** (count - i), np.float32) for i in range(count)]


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("tensor_add.mindir", 2, [110]),
        ("tensor_sub.mindir", 2, [90]),
        ("tensor_add", 2, [110]),
        ("tensor_add_again.mindir", 2, [110]),
        ("tensor_add_3.mindir", 2, [110]),
        ("tensor_add_1_1.mindir", 1, [10]),
        ("tensor_add_3_2.mindir", 3, [1110, 1111]),
        ("tensor_sub_3_3.mindir", 3, [890, 891, 892]),
        ("tensor_sub_4_1.mindir", 4, [8890]),
        ("tensor_add_3_2.mindir@ms_ascend", 3, [1110, 1111]),
        ("model0.mindir", 2, [110]),
        ("my_tensor_sub.mindir", 2, [110]),
        ("resnet_50_2.ms", 2, [110]),
    ],
)
def test_arithmetic(tmp_path: Path, name: str, inputs: int, outputs: list[float]) -> None:
    graph = load(tmp_path, name)
    results = graph.predict(arrays(inputs))
    assert [result.tolist() for result in results] == [[[value] * 2] * 2 for value in outputs]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}
    assert len(graph.signature.inputs) == inputs
    assert len(graph.signature.outputs) == len(outputs)
    assert {spec[1:] for spec in graph.signature.inputs + graph.signature.outputs} == {
        (DataType.FLOAT32, (2, 2))
    }
    assert not graph.dynamic_batch


def test_results_are_the_callers(tmp_path: Path) -> None:
    graph = load(tmp_path, "tensor_add_1_1.mindir")
    [value] = arrays(1)
    [result] = graph.predict([value])
    result[:] = 0
    np.testing.assert_array_equal(value, arrays(1)[0])


@pytest.mark.parametrize(
    ("name", "device_type", "loads"),
    [
        ("tensor_add.mindir@ms_ascend", "ascend", True),
        ("tensor_add.mindir@ms_ascend", "gpu", False),
        ("tensor_add.mindir@ms_gpu", "gpu", True),
        ("tensor_add.mindir@ms_gpu_cpu", "gpu", False),
        ("tensor_add.mindir@ms_cpu", "cpu", True),
        ("tensor_add.mindir@lite_gpu_cpu", "gpu", True),
        ("tensor_add.mindir@lite_gpu", "gpu", False),
        ("tensor_add.mindir@lite_cpu", "cpu", True),
        ("tensor_add.mindir@", "cpu", False),
        ("model0.mindir@ms_gpu", "gpu", True),
        ("model0.mindir@ms_gpu", "cpu", False),
    ],
)
def test_names_that_expect_device_types(tmp_path: Path, name: str, device_type: str, loads: bool) -> None:
    if loads:
        assert load(tmp_path, name, device_type).signature.inputs
        return
    with pytest.raises(StartUpError, match="expects device infos"):
        load(tmp_path, name, device_type)


@pytest.mark.parametrize("name", ["tensor_add_0_1.mindir", "tensor_add_1_0.mindir"])
def test_no_inputs_or_outputs(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartUpError, match="expected 1 or more"):
        load(tmp_path, name)


def test_absent_file(tmp_path: Path) -> None:
    request = LoadRequest(tmp_path / "tensor_add.mindir", True, (), 64, "ascend", 0)
    with pytest.raises(StartUpError, match=r"tensor_add\.mindir' does not exist.*SERVING_BACKEND=stub"):
        create_backend("stub").load(request)


def test_arrays_are_checked(tmp_path: Path) -> None:
    graph = load(tmp_path, "tensor_add.mindir")
    with pytest.raises(InvalidInput, match=r"input 1 shape \[4\] not match the shape \[2, 2\]"):
        graph.predict([*arrays(1), *arrays(1, (4,))])


def test_closed_graph(tmp_path: Path) -> None:
    graph = load(tmp_path, "tensor_add.mindir")
    graph.close()
    graph.close()
    with pytest.raises(ModelError, match="closed"):
        graph.predict(arrays(2))


def test_unknown_backend() -> None:
    with pytest.raises(
        InvalidParameter,
        match="Backend 'tflite' does not exist, expected 'mindspore' or 'lite' or 'onnx' or 'paddle'",
    ):
        create_backend("tflite")


def test_keys_do_not_show_in_text() -> None:
    request = LoadRequest(Path("m"), True, (), 1, "cpu", 0, dec_key=b"0123456789ABCDEF")
    assert "0123456789ABCDEF" not in repr(request)


def check(*shapes: tuple[int, ...], limit: int = 4) -> InputCheck:
    specs = tuple(TensorSpec(f"x{i}", DataType.INT32, shape) for i, shape in enumerate(shapes))
    return InputCheck(GraphSignature(specs, ()), limit)


def ints(*shapes: tuple[int, ...]) -> list[Array]:
    return [np.zeros(shape, np.int32) for shape in shapes]


@pytest.mark.parametrize(
    ("wanted", "given", "rows"),
    [
        ([(2, 3)], [(2, 3)], 0),
        ([()], [()], 0),
        ([(-1, 3)], [(1, 3)], 1),
        ([(-1, 3), (-1,), (2,)], [(4, 3), (4,), (2,)], 4),
    ],
)
def test_arrays_that_fit(wanted: list[tuple[int, ...]], given: list[tuple[int, ...]], rows: int) -> None:
    assert check(*wanted).rows_of(ints(*given)) == rows


@pytest.mark.parametrize(
    ("wanted", "given", "text"),
    [
        ([(2,)], [], "inputs size 0 not match the inputs size 1"),
        ([(2,)], [(2,), (2,)], "inputs size 2 not match the inputs size 1"),
        ([(2,)], [(3,)], r"input 0 shape \[3\] not match the shape \[2\]"),
        ([(2,)], [(2, 1)], r"input 0 shape \[2, 1\]"),
        ([()], [(1,)], r"input 0 shape \[1\] not match the shape \[\]"),
        ([(-1, 3)], [(3,)], r"input 0 shape \[3\] not match the shape \[-1, 3\]"),
        ([(-1, 3)], [(2, 4)], r"input 0 shape \[2, 4\]"),
        ([(-1, 3)], [()], r"input 0 shape \[\]"),
        ([(-1,)], [(0,)], "input 0 has 0 rows, expected 1 to 4"),
        ([(-1,)], [(5,)], "input 0 has 5 rows, expected 1 to 4"),
        ([(-1,), (-1,)], [(2,), (3,)], "input 1 has 3 rows, but an input before it has 2"),
    ],
)
def test_arrays_that_do_not_fit(
    wanted: list[tuple[int, ...]], given: list[tuple[int, ...]], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        check(*wanted).rows_of(ints(*given))


def test_wrong_dtype() -> None:
    with pytest.raises(
        InvalidInput, match="input 0 data type kMSI_Int64 not match the data type kMSI_Int32 defined"
    ):
        check((2,)).rows_of([np.zeros(2, np.int64)])


def test_rows_of_any_length(tmp_path: Path) -> None:
    graph = load(tmp_path, "sequence.mindir")
    assert graph.dynamic_batch
    for rows, length in ((1, 3), (4, 1)):
        x = np.ones((rows, length), np.float32)
        doubled, total = graph.predict([x])
        np.testing.assert_array_equal(doubled, 2 * x)
        np.testing.assert_array_equal(total, [length] * rows)
    with pytest.raises(InvalidInput, match=r"shape \[2, 0\] not match the shape \[-1, -1\] defined in model"):
        graph.predict([np.ones((2, 0), np.float32)])


def test_text(tmp_path: Path) -> None:
    graph = load(tmp_path, "text.mindir")
    [capitals] = graph.predict([np.array([["a"], ["b"]], object)])
    assert capitals.tolist() == [["A"], ["B"]]
    with pytest.raises(InvalidInput, match="data type kMSI_Unknown not match the data type kMSI_String"):
        graph.predict([np.array([["a"]])])
