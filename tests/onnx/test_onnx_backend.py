"""ONNX models in this process: what is loaded, what it gives, and what is refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from mindspore_serving.errors import InvalidInput, ModelError, StartUpError
from mindspore_serving.server.backend.contract import ConcurrentGraph, LoadedGraph
from mindspore_serving.server.backend.onnx.backend import OnnxGraph, SessionRun
from mindspore_serving.server.backend.onnx.values import TensorReader
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import DATA_TYPE_OF, Array, DataType, TensorSpec
from tests.onnx import models
from tests.onnx.conftest import Load, request_for
from tests.onnx.models import FLOAT, node

Make = Callable[[Path], Path]


def directly(path: Path, *arrays: Array) -> list[Any]:
    """What ONNX Runtime gives for arrays."""
    session = onnxruntime.InferenceSession(str(path))
    results: list[Any] = session.run(
        None, {value.name: array for value, array in zip(session.get_inputs(), arrays, strict=True)}
    )
    return results


def shapes_of(graph: LoadedGraph) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    signature = graph.signature
    return [spec.shape for spec in signature.inputs], [spec.shape for spec in signature.outputs]


@pytest.mark.parametrize(
    ("make", "inputs", "outputs"),
    [
        (models.add, [(-1, 2), (-1, 2)], [(-1, 2)]),
        (models.fixed, [(4, 3)], [(4, 3)]),
        (models.dense, [(-1, 3)], [(-1, 5)]),
        (models.tokens, [(-1, -1), (-1, -1)], [(-1, -1), (-1,)]),
        (models.lenet, [(-1, 1, 32, 32)], [(-1, 10)]),
        (models.classifier, [(-1, 2)], [(-1,), (-1, 3)]),
    ],
)
def test_shapes(
    load: Load, tmp_path: Path, make: Make, inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]
) -> None:
    graph = load(make(tmp_path / "model.onnx"))
    assert shapes_of(graph) == (inputs, outputs)
    assert graph.dynamic_batch is (make is not models.fixed)
    assert isinstance(graph, ConcurrentGraph)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_a_network_gives_what_onnxruntime_gives(load: Load, tmp_path: Path, rows: int) -> None:
    path = models.lenet(tmp_path / "lenet.onnx")
    images = np.random.default_rng(rows).random((rows, 1, 32, 32), np.float32)
    [scores] = load(path).predict([images])
    np.testing.assert_allclose(scores, directly(path, images)[0], rtol=1e-5)


@pytest.mark.parametrize(
    "kind",
    [
        "BOOL",
        "INT8",
        "UINT8",
        "INT16",
        "UINT16",
        "INT32",
        "UINT32",
        "INT64",
        "UINT64",
        "FLOAT16",
        "FLOAT",
        "DOUBLE",
    ],
)
def test_data_types(load: Load, tmp_path: Path, kind: str) -> None:
    graph = load(models.identity(tmp_path / "model.onnx", getattr(TensorProto, kind)))
    numbers = np.array([[0, 1], [1, 100], [3, 2]])
    array = numbers.astype({"FLOAT": "float32", "DOUBLE": "float64"}.get(kind, kind.lower()))
    [output] = graph.predict([array])
    assert graph.signature.inputs[0].dtype is graph.signature.outputs[0].dtype is DATA_TYPE_OF[array.dtype]
    assert output.dtype == array.dtype
    assert output.tolist() == array.tolist()


def test_text(load: Load, tmp_path: Path) -> None:
    graph = load(models.identity(tmp_path / "model.onnx", TensorProto.STRING, ("n", 1)))
    assert graph.signature.inputs[0].dtype is DataType.STRING
    texts = np.array([["a"], ["\u8bed"], [""], ["nul\0"]], object)
    [output] = graph.predict([texts])
    assert output.tolist() == texts.tolist()
    assert all(type(one) is str for one in output.flat)


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN"])
def test_data_types_that_numpy_has_not(load: Load, tmp_path: Path, kind: str) -> None:
    path = models.identity(tmp_path / "model.onnx", getattr(TensorProto, kind), opset=21)
    with pytest.raises(
        StartUpError, match=rf"model input 0 'x' is unsupported, data type: tensor\({kind.lower()}\)"
    ):
        load(path)
    models.write(
        tmp_path / "out.onnx",
        [node("Cast", "x", "y", to=getattr(TensorProto, kind))],
        [("x", FLOAT, ("n",))],
        [("y", getattr(TensorProto, kind), ("n",))],
        opset=21,
        ir_version=10,
    )
    with pytest.raises(
        StartUpError, match=r"output 0 'y' is unsupported.* a Cast before it, or choose other outputs"
    ):
        load(tmp_path / "out.onnx")


def test_dynamic_dimensions_beside_the_batch(load: Load, tmp_path: Path) -> None:
    path = models.tokens(tmp_path / "model.onnx")
    graph = load(path)
    for rows, length in ((1, 1), (2, 7), (5, 300)):
        ids = np.arange(rows * length, dtype=np.int64).reshape(rows, length)
        mask = np.full((rows, length), 0.5, np.float32)
        for output, expected in zip(graph.predict([ids, mask]), directly(path, ids, mask), strict=True):
            np.testing.assert_array_equal(output, expected)


def test_a_dynamic_first_dimension_that_is_no_batch(load: Load, tmp_path: Path) -> None:
    graph = load(models.dense(tmp_path / "model.onnx"), with_batch_dim=False, max_batch_size=1)
    assert graph.dynamic_batch is False
    assert graph.predict([np.ones((9, 3), np.float32)])[0].shape == (9, 5)


def test_sizes_that_do_not_run_are_no_reason_to_refuse(load: Load, tmp_path: Path) -> None:
    sum_with_5 = models.write(
        tmp_path / "model.onnx",
        [node("Add", "x five", "y")],
        [("x", FLOAT, ("n", "length"))],
        [("y", FLOAT, ("n", "length"))],
        {"five": np.arange(5, dtype=np.float32)},
    )
    [y] = load(sum_with_5).predict([np.ones((1, 5), np.float32)])
    assert y.tolist() == [[1, 2, 3, 4, 5]]
    # None of the sizes fits this one.
    matmul = models.write(
        tmp_path / "matmul.onnx",
        [node("MatMul", "x w", "y")],
        [("x", FLOAT, ("n", "length"))],
        [("y", FLOAT, ("n", 2))],
        {"w": np.ones((5, 2), np.float32)},
    )
    graph = load(matmul)
    assert shapes_of(graph) == ([(-1, -1)], [(-1, 2)])
    assert graph.predict([np.ones((3, 5), np.float32)])[0].tolist() == [[5, 5]] * 3
    with pytest.raises(ModelError):
        graph.predict([np.ones((3, 4), np.float32)])


def test_outputs_of_which_the_file_says_nothing(load: Load, tmp_path: Path) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Shape", "x", "s"), node("Reshape", "x s", "y")],
        [("x", FLOAT, ("n", 2))],
        [("y", FLOAT, None)],
    )
    graph = load(path)
    assert shapes_of(graph) == ([(-1, 2)], [(-1, -1)])
    assert graph.predict([np.ones((3, 2), np.float32)])[0].tolist() == [[1, 1]] * 3


def test_outputs_of_which_the_file_is_wrong(
    load: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As MindSpore exports a network: the input is dynamic, and the output has the sizes of the example."""
    path = models.write(
        tmp_path / "model.onnx",
        [node("Reshape", "x shape", "y")],
        [("x", FLOAT, ("n", 4))],
        [("y", FLOAT, (2, 2, 2))],
        {"shape": np.int64([-1, 2, 2])},
    )
    graph = load(path)
    assert shapes_of(graph) == ([(-1, 4)], [(-1, 2, 2)])
    assert graph.predict([np.ones((3, 4), np.float32)])[0].shape == (3, 2, 2)
    assert "Expected shape" not in capfd.readouterr().err


def test_an_output_that_does_not_follow_the_batch(load: Load, tmp_path: Path) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Identity", "x", "y"), node("ReduceSum", "x", "total", keepdims=0)],
        [("x", FLOAT, ("n", 2))],
        [("y", FLOAT, ("n", 2)), ("total", FLOAT, ())],
    )
    with pytest.raises(StartUpError, match=r"output 'total' of the shapes \[\[\], \[\]\] for \[1, 2\] rows"):
        load(path)
    graph = load(path, options={"outputs": "y"})
    assert [spec.name for spec in graph.signature.outputs] == ["y"]
    whole = load(path, with_batch_dim=False)
    assert [output.tolist() for output in whole.predict([np.ones((3, 2), np.float32)])] == [[[1, 1]] * 3, 6]


def test_outputs_are_chosen_in_order(load: Load, tmp_path: Path) -> None:
    path = models.tokens(tmp_path / "model.onnx")
    graph = load(path, options={"outputs": "sum, masked"})
    assert shapes_of(graph)[1] == [(-1,), (-1, -1)]
    total, masked = graph.predict([np.ones((2, 3), np.int64), np.ones((2, 3), np.float32)])
    assert (total.tolist(), masked.tolist()) == ([3, 3], [[1, 1, 1]] * 2)
    with pytest.raises(StartUpError, match="no output 'mean', expected 'masked', 'sum'"):
        load(path, options={"outputs": "mean"})


def test_a_batch_that_is_dynamic_by_its_file_only(load: Load, tmp_path: Path) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Reshape", "x shape", "y")],
        [("x", FLOAT, ("n", 2))],
        [("y", FLOAT, ("n", 2))],
        {"shape": np.int64([1, 2])},
    )
    with pytest.raises(StartUpError, match=r"runs with one row, but not with more: .*max_batch_size=1"):
        load(path)
    one = load(path, max_batch_size=1)
    assert shapes_of(one) == ([(-1, 2)], [(-1, 2)])
    assert one.predict([np.ones((1, 2), np.float32)])[0].tolist() == [[1, 1]]


def test_classes_of_a_classifier_are_columns(load: Load, tmp_path: Path) -> None:
    path = models.classifier(tmp_path / "model.onnx")
    x = np.float32([[1, 2], [3, 1], [-3, -1]])
    label, probabilities = load(path).predict([x])
    labels, maps = directly(path, x)
    assert label.tolist() == labels.tolist() == ["dog", "cat", "fox"]
    assert probabilities.dtype == np.float32
    expected = [[row[one] for one in ("cat", "dog", "fox")] for row in maps]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6)


def test_sequences_are_refused(load: Load, tmp_path: Path) -> None:
    from onnx import helper

    path = models.write(
        tmp_path / "model.onnx", [node("SplitToSequence", "x", "y")], [("x", FLOAT, ("n", 2))], []
    )
    model = models.onnx.load(path)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output.append(helper.make_value_info("y", kind))
    models.onnx.save(model, path)
    with pytest.raises(
        StartUpError, match=r"output 0 'y' is unsupported, data type: seq\(tensor\(float\)\); expected"
    ):
        load(path)


def test_weights_in_files_of_their_own(load: Load, tmp_path: Path) -> None:
    path = models.dense(tmp_path / "model.onnx", external=True)
    data = tmp_path / "model.onnx.data"
    x = np.float32([[1, 2, 3]])
    assert load(path).predict([x])[0].tolist() == directly(models.dense(tmp_path / "one.onnx"), x)[0].tolist()
    content = data.read_bytes()
    data.write_bytes(content[:30])
    with pytest.raises(
        StartUpError, match="with its weights is damaged or incomplete, it has 30 bytes, expected at"
    ):
        load(path)
    data.unlink()
    with pytest.raises(
        StartUpError, match=r"model\.onnx\.data' with its weights is missing; copy it beside the model"
    ):
        load(path)


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Images to find the ranges of numbers with."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._left: Iterator[Array] = iter(random.random((8, 1, 1, 32, 32), np.float32))

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._left, None)
        return None if image is None else {"image": image}


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_quantised_models(load: Load, tmp_path: Path, way: str) -> None:
    path, quantised = models.lenet(tmp_path / "lenet.onnx"), tmp_path / "int8.onnx"
    if way == "static":
        quantize_static(str(path), str(quantised), Calibration())
    else:
        quantize_dynamic(str(path), str(quantised))
    assert quantised.stat().st_size < 0.5 * path.stat().st_size
    images = np.random.default_rng(3).random((5, 1, 32, 32), np.float32)
    [scores], [exact] = load(quantised).predict([images]), load(path).predict([images])
    np.testing.assert_allclose(scores, directly(quantised, images)[0], rtol=1e-5)
    assert 0 < np.abs(scores - exact).max() < 0.1 * np.abs(exact).max()


def test_what_a_run_gives_stays(load: Load, tmp_path: Path) -> None:
    constant = models.write(
        tmp_path / "model.onnx",
        [node("Identity", "x", "y"), node("Add", "x w", "z")],
        [("x", FLOAT, (2,))],
        [("y", FLOAT, (2,)), ("w", FLOAT, (2,)), ("z", FLOAT, (2,))],
        {"w": np.float32([3, 4])},
    )
    graph = load(constant, with_batch_dim=False)
    x = np.float32([1, 2])
    first = graph.predict([x])
    x[:] = 9
    assert [one.tolist() for one in first] == [[1, 2], [3, 4], [4, 6]]
    for one in first:
        one[:] = -1
    second = graph.predict([x])
    assert [one.tolist() for one in second] == [[9, 9], [3, 4], [12, 13]]
    assert all(one.flags.c_contiguous and one.flags.writeable for one in second)


def test_arrays_in_any_layout(load: Load, tmp_path: Path) -> None:
    graph = load(models.add(tmp_path / "model.onnx"))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    y = np.asfortranarray(np.ones((3, 2), np.float32))
    y.setflags(write=False)
    assert graph.predict([x, y])[0].tolist() == (x + y).tolist()


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ([np.ones((1, 2), np.float32)], "inputs size 1 not match the inputs size 2"),
        ([np.ones((1, 2)), np.ones((1, 2), np.float32)], "kMSI_Float64 not match the data type kMSI_Float32"),
        ([np.ones((1, 3), np.float32)] * 2, "shape"),
        ([np.ones((65, 2), np.float32)] * 2, "has 65 rows, expected 1 to 64"),
        ([np.ones((0, 2), np.float32)] * 2, "has 0 rows, expected 1 to 64"),
        (
            [np.ones((1, 2), np.float32), np.ones((2, 2), np.float32)],
            "has 2 rows, but an input before it has 1",
        ),
    ],
)
def test_wrong_inputs(load: Load, tmp_path: Path, arrays: list[Array], text: str) -> None:
    graph = load(models.add(tmp_path / "model.onnx"))
    with pytest.raises(InvalidInput, match=text):
        graph.predict(arrays)
    assert graph.predict([np.ones((1, 2), np.float32)] * 2)[0].tolist() == [[2, 2]]


def test_a_run_that_fails(load: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = models.write(
        tmp_path / "model.onnx",
        [node("Gather", "table index", "y")],
        [("index", TensorProto.INT64, ("n",))],
        [("y", FLOAT, ("n",))],
        {"table": np.float32([5, 6, 7])},
    )
    graph = load(path)
    with pytest.raises(
        ModelError, match=r"runtime error occurred: Non-zero status code returned while running Gather"
    ):
        graph.predict([np.int64([1, 3])])
    assert graph.predict([np.int64([1, 2])])[0].tolist() == [6, 7]
    assert capfd.readouterr().err == ""


def test_closed(load: Load, tmp_path: Path) -> None:
    graph = load(models.add(tmp_path / "model.onnx"))
    assert repr(graph).endswith("model.onnx ready>")
    graph.close()
    graph.close()
    assert repr(graph).endswith("model.onnx closed>")
    with pytest.raises(ModelError, match="the model is closed"):
        graph.predict([np.ones((1, 2), np.float32)] * 2)


def test_threads_run_a_model_at_the_same_time(load: Load, tmp_path: Path) -> None:
    path = models.lenet(tmp_path / "lenet.onnx")
    graph = load(path)
    images = np.random.default_rng(0).random((4, 8, 1, 32, 32), np.float32)
    expected = [directly(path, one)[0] for one in images]
    begin = threading.Barrier(4)

    def run(index: int) -> bool:
        begin.wait()
        results = [graph.predict([images[index]])[0] for _ in range(20)]
        return all(np.allclose(one, expected[index], rtol=1e-4) for one in results)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


def new_threads(before: set[int]) -> list[int]:
    return [thread.id for thread in psutil.Process().threads() if thread.id not in before]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads(load: Load, tmp_path: Path, threads: int) -> None:
    path = models.lenet(tmp_path / "lenet.onnx")
    before = set(new_threads(set()))
    graph = load(path, thread_num=threads)
    assert len(new_threads(before)) == threads - 1  # the calling thread computes as well
    graph.close()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_threads_are_as_many_as_cores(load: Load, tmp_path: Path) -> None:
    path = models.lenet(tmp_path / "lenet.onnx")
    usable = os.sched_getaffinity(0)
    before = set(new_threads(set()))
    graph = load(path)
    assert len(new_threads(before)) == len(usable) - 1
    graph.close()
    try:
        os.sched_setaffinity(0, {min(usable)})
        before = set(new_threads(set()))
        graph = load(path)
        assert new_threads(before) == []
    finally:
        os.sched_setaffinity(0, usable)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_threads_keep_to_their_cores(load: Load, tmp_path: Path) -> None:
    path = models.lenet(tmp_path / "lenet.onnx")
    usable = os.sched_getaffinity(0)
    core = max(usable)
    before = set(new_threads(set()))
    graph = load(path, thread_num=2, thread_affinity_core_list=(core,))
    [thread] = new_threads(before)
    assert os.sched_getaffinity(thread) == {core}
    graph.predict([np.ones((1, 1, 32, 32), np.float32)])
    assert os.sched_getaffinity(0) == usable


class WhereItRuns(SessionRun):
    """Gives the cores of the calling thread."""

    def __call__(self, arrays: Sequence[Array]) -> list[Any]:
        return [np.array(sorted(os.sched_getaffinity(0)))]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_calling_thread_keeps_to_the_cores_too(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    for cores in ((max(usable),), ()):
        request = request_for(tmp_path / "model.onnx", thread_affinity_core_list=cores)
        reader = TensorReader(TensorSpec("cores", DataType.INT64, (-1,)))
        graph = OnnxGraph(WhereItRuns(None, [], []), GraphSignature((), (reader.spec,)), [reader], request)
        assert set(graph.predict([])[0]) == set(cores or usable)
    assert os.sched_getaffinity(0) == usable
