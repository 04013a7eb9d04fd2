"""Real models through the MindSpore Lite backend."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, ModelError, StartUpError
from mindspore_serving.lite.library import MINDIR, LiteContext, LiteError, LiteModel, load_library
from mindspore_serving.server.backend.contract import ConcurrentGraph
from mindspore_serving.server.backend.lite.backend import LiteGraph
from mindspore_serving.server.worker.model_runner import ModelRunner
from mindspore_serving.server.worker.values import Values
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, TensorSpec
from tests.lite import models as made
from tests.lite.models import Models
from tests.support.serving import REPOSITORY

Load = Callable[..., LiteGraph]

LIMIT_S = 60
ENDINGS = [".mindir", ".ms"]
# Field 13 of the message that a MindIR file is: the version of its format.
VERSION_3 = bytes([13 << 3, 3])


def floats(*shape: int, start: int = 0) -> Array:
    return (np.arange(np.prod(shape)) + start).astype(np.float32).reshape(shape)


@pytest.mark.parametrize("ending", ENDINGS)
def test_signature_of_a_fixed_file(models: Models, load: Load, ending: str) -> None:
    graph = load(models.get(made.add, ending=ending))
    assert graph.signature.inputs == (
        TensorSpec("x", DataType.FLOAT32, (2, 2)),
        TensorSpec("y", DataType.FLOAT32, (2, 2)),
    )
    assert [(spec.dtype, spec.shape) for spec in graph.signature.outputs] == [(DataType.FLOAT32, (2, 2))]
    [total] = graph.predict([floats(2, 2), floats(2, 2, start=5)])
    np.testing.assert_array_equal(total, [[5, 7], [9, 11]])
    assert total.dtype == np.float32


@pytest.mark.parametrize("ending", ENDINGS)
def test_dynamic_batch_takes_any_number_of_rows(models: Models, load: Load, ending: str) -> None:
    graph = load(models.get(made.add_dynamic, ending=ending))
    assert graph.dynamic_batch
    assert graph.signature.inputs[0].shape == graph.signature.outputs[0].shape == (-1, 2)
    for rows in (1, 2, 64, 3, 31, 1):
        [total] = graph.predict([floats(rows, 2), floats(rows, 2, start=1)])
        np.testing.assert_array_equal(total, floats(rows, 2) + floats(rows, 2, start=1))


def test_fixed_file_takes_fewer_rows_without_padding(models: Models, load: Load) -> None:
    graph = load(models.get(made.add_of_eight))
    assert graph.dynamic_batch
    assert graph.signature.inputs[0].shape == (8, 2)
    for rows in (8, 1, 5, 8):
        [total] = graph.predict([floats(rows, 2), floats(rows, 2)])
        np.testing.assert_array_equal(total, floats(rows, 2) * 2)
    with pytest.raises(InvalidInput, match="input 0 has 9 rows, expected 1 to 8"):
        graph.predict([floats(9, 2), floats(9, 2)])


@pytest.mark.parametrize("make", [made.centred, made.reshaped], ids=lambda make: make.__name__)
def test_files_that_need_the_whole_batch_are_filled_up(
    models: Models, load: Load, make: Callable[[Path], Path]
) -> None:
    graph = load(models.get(make))
    assert not graph.dynamic_batch
    with pytest.raises(InvalidInput, match=r"shape \[3, 2\] not match the shape \[4, 2\]"):
        graph.predict([floats(3, 2)])
    runner = ModelRunner(graph, True, (), 64)
    values = [Values(3, objects=list(floats(3, 2)))]
    [(start, stop, columns)] = runner.run(values, 3)
    assert (start, stop) == (0, 3)
    assert isinstance(columns, list)
    filled = np.concatenate([floats(3, 2), floats(1, 2)])
    expected = filled - filled.mean(0) if make is made.centred else filled.reshape(4, 1, 2)
    np.testing.assert_allclose(columns[0], expected[:3])


def test_without_a_batch_dimension_shapes_are_as_in_the_file(models: Models, load: Load) -> None:
    graph = load(models.get(made.add_of_eight), with_batch_dim=False)
    assert not graph.dynamic_batch
    with pytest.raises(InvalidInput, match="not match the shape"):
        graph.predict([floats(1, 2), floats(1, 2)])


def test_inputs_without_batch_dimension_beside_a_dynamic_batch(models: Models, load: Load) -> None:
    graph = load(models.get(made.scaled), without_batch_dim_inputs=(1, 2))
    assert [spec.shape for spec in graph.signature.inputs] == [(-1, 2), (2,), ()]
    for rows in (1, 7):
        [output] = graph.predict([floats(rows, 2), np.array([2, 3], np.float32), np.array(1, np.float32)])
        np.testing.assert_array_equal(output, floats(rows, 2) * [2, 3] + 1)


def test_several_outputs(models: Models, load: Load) -> None:
    graph = load(models.get(made.two_outputs))
    value = floats(3, 2)
    double, square = graph.predict([value])
    np.testing.assert_array_equal(double, value * 2)
    np.testing.assert_array_equal(square, value**2)


@pytest.mark.parametrize("kind", [DataType.BOOL, DataType.UINT8, DataType.INT32, DataType.FLOAT32])
def test_dtypes_that_are_computed(models: Models, load: Load, kind: DataType) -> None:
    graph = load(models.get(made.twice(kind), f"twice_{kind.name}"))
    assert graph.signature.inputs[0].dtype == graph.signature.outputs[0].dtype == kind
    value = np.array([[0, 1], [3, 0]]).astype(NUMPY_OF[kind])
    [output] = graph.predict([value])
    assert output.dtype == NUMPY_OF[kind]
    np.testing.assert_array_equal(output, value + value)


@pytest.mark.parametrize("kind", [DataType.INT16, DataType.UINT32])
def test_dtypes_that_are_passed_on(models: Models, load: Load, kind: DataType) -> None:
    value = np.array([[0, 1], [60000, 7]]).astype(NUMPY_OF[kind])
    [output] = load(models.get(made.passed_on(kind), f"passed_{kind.name}")).predict([value])
    np.testing.assert_array_equal(output, value.reshape(2, 1, 2))
    assert output.dtype == NUMPY_OF[kind]


@pytest.mark.parametrize("ending", ENDINGS)
def test_images_keep_the_order_of_their_dimensions(models: Models, load: Load, ending: str) -> None:
    graph = load(models.get(made.convolution, ending=ending))
    assert graph.signature.inputs[0].shape == (1, made.CHANNELS, made.SIZE, made.SIZE)
    images = np.random.default_rng(2).random((1, made.CHANNELS, made.SIZE, made.SIZE), np.float32)
    np.testing.assert_allclose(graph.predict([images])[0], made.convolved(images), rtol=1e-4, atol=1e-5)


def test_outputs_stay_and_inputs_are_not_changed(models: Models, load: Load) -> None:
    graph = load(models.get(made.add_dynamic))
    x = floats(2, 2)
    [first] = graph.predict([x, x])
    first += 100
    [second] = graph.predict([x + 1, x])
    graph.predict([floats(3, 2), floats(3, 2)])
    np.testing.assert_array_equal(first, x * 2 + 100)
    np.testing.assert_array_equal(second, x * 2 + 1)
    np.testing.assert_array_equal(x, floats(2, 2))
    graph.close()
    np.testing.assert_array_equal(second, x * 2 + 1)


def test_arrays_that_are_not_contiguous(models: Models, load: Load) -> None:
    wide = floats(4, 4)
    [total] = load(models.get(made.add_dynamic)).predict([wide[::2, ::2], wide.T[:2, :2]])
    np.testing.assert_array_equal(total, wide[::2, ::2] + wide.T[:2, :2])


BAD_INPUTS = {
    "too few": ([floats(2, 2)], "inputs size 1 not match the inputs size 2"),
    "dtype": (
        [floats(2, 2), np.zeros((2, 2), np.float64)],
        "input 1 data type kMSI_Float64 not match .* kMSI_Float32",
    ),
    "shape": ([floats(2, 2), floats(2, 3)], r"input 1 shape \[2, 3\] not match the shape \[-1, 2\]"),
    "rank": ([floats(2, 2), floats(4)], r"input 1 shape \[4\] not match"),
    "no rows": ([floats(0, 2), floats(0, 2)], "input 0 has 0 rows, expected 1 to 64"),
    "too many rows": ([floats(65, 2), floats(65, 2)], "input 0 has 65 rows, expected 1 to 64"),
    "rows differ": ([floats(3, 2), floats(2, 2)], "input 1 has 2 rows, but an input before it has 3"),
}


@pytest.mark.parametrize(("arrays", "text"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_inputs_are_refused(models: Models, load: Load, arrays: list[Array], text: str) -> None:
    graph = load(models.get(made.add_dynamic))
    with pytest.raises(InvalidInput, match=text):
        graph.predict(arrays)
    np.testing.assert_array_equal(graph.predict([floats(1, 2), floats(1, 2)])[0], [[0, 2]])


def test_closed(models: Models, load: Load) -> None:
    graph = load(models.get(made.add))
    assert "ready" in repr(graph)
    graph.close()
    graph.close()
    assert "closed" in repr(graph)
    with pytest.raises(ModelError, match="the model is closed"):
        graph.predict([floats(2, 2), floats(2, 2)])


def content(models: Models, ending: str = ".mindir") -> bytes:
    return models.get(made.add, ending=ending).read_bytes()


BAD_FILES: dict[str, tuple[Callable[[Models], bytes], str]] = {
    "empty": (lambda models: b"", "the file is empty, expected a model for MindSpore Lite"),
    "random": (lambda models: bytes(range(200)), "cannot load or run .*ParseFromArray failed"),
    "half": (lambda models: content(models)[: len(content(models)) // 2], "please check the validity of the"),
    "half ms": (
        lambda models: content(models, ".ms")[: len(content(models, ".ms")) // 2],
        "The model buffer is invalid and fail to create graph",
    ),
    "newer": (
        lambda models: content(models) + VERSION_3,
        "support the maximum mind ir version: 1, .* version: 3.*; MindSpore wrote the file in a format that is newer "
        "than MindSpore Lite: export the network with mindspore.onnx.export .* -m mindspore_serving.lite convert ",
    ),
    "encrypted": (
        lambda models: (0x7F3A5ED8).to_bytes(4, "little") + bytes(99),
        "MindSpore Lite runs no encrypted models, expected a plain file",
    ),
}


@pytest.mark.parametrize(("write", "text"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_refused_with_the_reason(
    models: Models, load: Load, tmp_path: Path, write: Callable[[Models], bytes], text: str
) -> None:
    path = tmp_path / "bad.mindir"
    path.write_bytes(write(models))
    with pytest.raises(StartUpError, match=text) as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_file_and_key(models: Models, load: Load, tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match=r"gone\.mindir': the file cannot be read: No such file"):
        load(tmp_path / "gone.mindir")
    with pytest.raises(StartUpError, match="runs no encrypted models"):
        load(models.get(made.add), dec_key=b"0123456789ABCDEF")


BAD_MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, object], str]] = {
    "second dimension dynamic": (made.second_dimension_dynamic, {}, r"input 0 is invalid, shape: \[2, -1\]"),
    "sequences": (made.sequences, {}, r"shape: \[-1, -1\], .* run it with MindSpore or ONNX Runtime"),
    "dynamic without batch": (
        made.add_dynamic,
        {"with_batch_dim": False},
        "a dynamic dimension must be the batch in MindSpore Lite, but with_batch_dim is False",
    ),
    "dynamic beside the batch": (
        made.add_dynamic,
        {"without_batch_dim_inputs": (1,)},
        r"input 1 .* without_batch_dim_inputs is \[1\]",
    ),
    "output follows values": (made.nonzero, {}, "expected only the first dimension to follow the rows"),
}


@pytest.mark.parametrize(("make", "fields", "text"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_models_that_cannot_be_served(
    models: Models, load: Load, make: Callable[[Path], Path], fields: dict[str, object], text: str
) -> None:
    with pytest.raises(StartUpError, match=text):
        load(models.get(make), **fields)


def test_config_file_reaches_lite(models: Models, load: Load, tmp_path: Path) -> None:
    config = tmp_path / "lite.cfg"
    with pytest.raises(StartUpError, match=r"Invalid config file.*file path is not valid : .*lite\.cfg"):
        load(models.get(made.add), config_file=str(config))
    config.write_text("[execution_plan]\nAdd_z=data_type:float32\n")
    graph = load(models.get(made.add), config_file=str(config))
    np.testing.assert_array_equal(graph.predict([floats(2, 2), floats(2, 2)])[0], floats(2, 2) * 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"thread_num": 2, "enable_parallel": 1},
        {"thread_num": 2, "enable_parallel": 0},
        {"enable_parallel": 1},
        {"context": {"device_type": "cpu", "precision_mode": "fp16"}},
    ],
    ids=str,
)
def test_results_are_the_same_with_options(models: Models, load: Load, fields: dict[str, object]) -> None:
    """Also in float32 with fp16: the value does not fit into float16."""
    value = np.full((2, 2), 16385.25, np.float32)
    double, square = load(models.get(made.two_outputs), **fields).predict([value])
    np.testing.assert_array_equal(double, value * 2)
    np.testing.assert_array_equal(square, value**2)


def test_a_core_that_is_not_there(models: Models, load: Load) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(StartUpError, match=r"thread_affinity_core_list \[4000\] cannot be set"):
        load(models.get(made.add), thread_affinity_core_list=(4000,))
    assert os.sched_getaffinity(0) == before


THREADS = """
import os, sys
from pathlib import Path
import numpy as np
from tests.lite.conftest import request_for
from mindspore_serving.server.backend.lite.backend import LiteBackend

def threads():
    return {int(task): os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")}

backend, path = LiteBackend(), Path(sys.argv[1])
x = np.ones((2, 2), np.float32)
own = os.sched_getaffinity(0)
core = min(own)
kept, counts = [], []
for fields in ({"thread_num": 1}, {"thread_num": 3}, {"thread_num": 3, "thread_affinity_core_list": (core,)}):
    before = threads()
    graph = backend.load(request_for(path, **fields))
    graph.predict([x, x])
    new = {task: cores for task, cores in threads().items() if task not in before}
    counts.append(len(new))
    kept.append(graph)
    if "thread_affinity_core_list" in fields:
        assert set(map(frozenset, new.values())) == {frozenset([core])}, new
    assert os.sched_getaffinity(0) == own
assert counts[0] < counts[1] == counts[2], counts
print("threads are as asked for")
"""


def test_thread_num_and_affinity(models: Models) -> None:
    """In a process of its own: Lite gives threads of unloaded models to later ones."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS, str(models.get(made.add))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert "threads are as asked for" in done.stdout, done.stderr


def test_a_graph_runs_while_another_one_does(models: Models, load: Load) -> None:
    slow = load(models.get(made.slow), with_batch_dim=False, thread_num=1)
    quick = load(models.get(made.add), thread_num=1)
    assert isinstance(slow, ConcurrentGraph)
    x = np.full((made.SQUARE, made.SQUARE), 1 / made.SQUARE, np.float32)
    done = threading.Event()

    def run() -> None:
        slow.predict([x])
        done.set()

    meanwhile = 0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        while not done.is_set():
            np.testing.assert_array_equal(quick.predict([floats(2, 2), floats(2, 2)])[0], floats(2, 2) * 2)
            meanwhile += not done.is_set()
        future.result(LIMIT_S)
    assert meanwhile > 1


def test_many_threads_on_many_graphs(models: Models, load: Load) -> None:
    add, subtract = load(models.get(made.add_dynamic)), load(models.get(made.subtract))
    fixed = load(models.get(made.add_of_eight))

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(100):
            rows = int(random.integers(1, 9))
            x, y = random.random((2, rows, 2), np.float32)
            for graph, expected in ((add, x + y), (subtract, x - y), (fixed, x + y)):
                np.testing.assert_array_equal(graph.predict([x, y])[0], expected)

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(work, seed) for seed in range(6)]:
            future.result(LIMIT_S)


def test_a_lookup_outside_of_the_table(models: Models, load: Load) -> None:
    """Lite gives zeros for it; a later run is not disturbed."""
    graph = load(models.get(made.lookup))
    graph.predict([np.array([99, 1], np.int32)])
    np.testing.assert_array_equal(graph.predict([np.array([3, 1], np.int32)])[0], made.TABLE[[3, 1]])


def test_another_number_of_inputs_than_the_model_has(models: Models) -> None:
    """The backend checks before; the library does not rely on it."""
    library = load_library()
    model = LiteModel(
        library, models.get(made.add), MINDIR, LiteContext(library, 1, 0, (), [("cpu", {})]), None
    )
    with pytest.raises(LiteError, match="the model takes 2 inputs, got 1"):
        model.predict([floats(2, 2)])
    with pytest.raises(LiteError, match="the model takes 2 inputs, got 3"):
        model.resize([(1, 2)] * 3)
    np.testing.assert_array_equal(model.predict([floats(2, 2), floats(2, 2)])[0], floats(2, 2) * 2)
    model.close()
