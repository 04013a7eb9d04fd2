"""Real models through the MindSpore backend."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, ModelError, StartUpError
from mindspore_serving.server.backend.contract import LoadedGraph
from mindspore_serving.server.backend.mindspore.outputs import tensors_of
from mindspore_serving.tensor import NUMPY_OF, Array, DataType, TensorSpec
from tests.support.encryption import encrypted

Load = Callable[..., LoadedGraph]

LIMIT_S = 60
DTYPES = [kind for kind in DataType if kind in NUMPY_OF]


def floats(*shape: int, start: int = 0) -> Array:
    return (np.arange(np.prod(shape)) + start).astype(np.float32).reshape(shape)


def test_static_model(load: Load) -> None:
    graph = load("add")
    assert graph.signature.inputs == (
        TensorSpec("x", DataType.FLOAT32, (2, 2)),
        TensorSpec("y", DataType.FLOAT32, (2, 2)),
    )
    assert [spec.shape for spec in graph.signature.outputs] == [(2, 2)]
    assert not graph.dynamic_batch
    [total] = graph.predict([floats(2, 2), floats(2, 2, start=5)])
    np.testing.assert_array_equal(total, [[5, 7], [9, 11]])
    assert total.dtype == np.float32


@pytest.mark.parametrize("rows", [1, 2, 3, 31, 64])
def test_dynamic_batch_takes_any_number_of_rows(load: Load, rows: int) -> None:
    graph = load("add_dynamic")
    assert graph.dynamic_batch
    assert graph.signature.inputs[0].shape == (-1, 2)
    [total] = graph.predict([floats(rows, 2), floats(rows, 2, start=1)])
    np.testing.assert_array_equal(total, floats(rows, 2) + floats(rows, 2, start=1))


@pytest.mark.parametrize("name", ["add_dynamic", "counter_dynamic"])
def test_dynamic_batch_compiles_once(load: Load, name: str) -> None:
    graph = load(name)
    cell = graph._run._cell  # type: ignore[attr-defined]  # MindSpore counts what it compiled in the cell
    inputs = len(graph.signature.inputs)
    for rows in (1, 5, 64, 17):
        graph.predict([floats(rows, 2)] * inputs)
    assert len(cell.compile_cache) == 1


def test_a_limit_of_one_row(load: Load) -> None:
    graph = load("add_dynamic", max_batch_size=1)
    np.testing.assert_array_equal(graph.predict([floats(1, 2), floats(1, 2)])[0], [[0, 2]])
    with pytest.raises(InvalidInput, match="input 0 has 2 rows, expected 1 to 1"):
        graph.predict([floats(2, 2), floats(2, 2)])


@pytest.mark.parametrize("kind", DTYPES, ids=lambda kind: kind.name)
def test_every_dtype(load: Load, kind: DataType) -> None:
    graph = load(f"twice_{kind.name.lower()}")
    values = [np.array(numbers).astype(NUMPY_OF[kind]) for numbers in ([[0, 1], [1, 0]], [[1, 0], [0, 0]])]
    results = [graph.predict([value]) for value in values]
    for value, (same, wide) in zip(values, results, strict=True):
        assert same.dtype == wide.dtype == NUMPY_OF[kind]
        np.testing.assert_array_equal(same, value)
        np.testing.assert_array_equal(wide, np.concatenate([value, value], -1))


def test_nested_outputs_come_flat(load: Load) -> None:
    value = floats(2, 2, start=-1)
    outputs = load("nested").predict([value])
    for output, expected in zip(outputs, [value + 1, value * 2, value * 3, value > 0], strict=True):
        np.testing.assert_array_equal(output, expected)
        assert output.dtype == expected.dtype


def test_scalars_in_and_out(load: Load) -> None:
    graph = load("shapes", with_batch_dim=False)
    x, weights = floats(2, 3), floats(3, 4)
    outputs = graph.predict([x, weights, np.array(2, np.float32)])
    expected = x @ weights * 2
    assert [output.shape for output in outputs] == [(2, 4), (2,), ()]
    assert [spec.shape for spec in graph.signature.outputs] == [(2, 4), (2,), ()]
    for output, value in zip(outputs, [expected, expected.sum(-1), expected.sum()], strict=True):
        np.testing.assert_allclose(output, value)


def test_inputs_without_batch_dimension_beside_a_dynamic_batch(load: Load) -> None:
    graph = load("scaled_dynamic", without_batch_dim_inputs=(1, 2))
    assert [spec.shape for spec in graph.signature.inputs] == [(-1, 2), (2,), ()]
    for rows in (1, 7):
        [output] = graph.predict([floats(rows, 2), np.array([2, 3], np.float32), np.array(1, np.float32)])
        np.testing.assert_array_equal(output, floats(rows, 2) * [2, 3] + 1)


def test_lenet_gives_the_scores_of_its_export(load: Load, models: Path) -> None:
    known = np.load(models / "lenet.npz")
    fixed, dynamic = load("lenet_batch_32"), load("lenet_dynamic")
    np.testing.assert_allclose(fixed.predict([known["images"]])[0], known["scores"], rtol=1e-3, atol=1e-5)
    for rows in (1, 9, 32):
        [scores] = dynamic.predict([known["images"][:rows]])
        np.testing.assert_allclose(scores, known["scores"][:rows], rtol=1e-3, atol=1e-5)


BAD_INPUTS = {
    "too few": ([floats(2, 2)], "inputs size 1 not match the inputs size 2"),
    "dtype": (
        [floats(2, 2), np.zeros((2, 2), np.float64)],
        "input 1 data type kMSI_Float64 not match .* kMSI_Float32",
    ),
    "byte order": ([floats(2, 2), floats(2, 2).astype(">f4")], "input 1 data type"),
    "text": ([floats(2, 2), np.array([["a", "b"]] * 2)], "input 1 data type kMSI_Unknown"),
    "row shape": ([floats(2, 2), floats(2, 3)], r"input 1 shape \[2, 3\] not match the shape \[-1, 2\]"),
    "dimensions": ([floats(2, 2), floats(2, 2, 1)], r"input 1 shape \[2, 2, 1\]"),
    "scalar": ([floats(2, 2), np.array(1, np.float32)], r"input 1 shape \[\]"),
    "no rows": ([floats(0, 2), floats(0, 2)], "input 0 has 0 rows, expected 1 to 64"),
    "many rows": ([floats(65, 2), floats(65, 2)], "input 0 has 65 rows, expected 1 to 64"),
    "uneven rows": ([floats(2, 2), floats(3, 2)], "input 1 has 3 rows, but an input before it has 2"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_arrays_that_do_not_fit_are_refused_and_nothing_is_compiled(load: Load, case: str) -> None:
    arrays, text = BAD_INPUTS[case]
    graph = load("add_dynamic")
    cell = graph._run._cell  # type: ignore[attr-defined]  # MindSpore counts what it compiled in the cell
    with pytest.raises(InvalidInput, match=text):
        graph.predict(arrays)
    assert len(cell.compile_cache) == 1
    np.testing.assert_array_equal(graph.predict([floats(1, 2), floats(1, 2)])[0], [[0, 2]])


def test_a_static_model_refuses_another_batch(load: Load) -> None:
    graph = load("add")
    with pytest.raises(InvalidInput, match=r"input 0 shape \[3, 2\] not match the shape \[2, 2\]"):
        graph.predict([floats(3, 2), floats(3, 2)])


def test_read_only_strided_and_unaligned_arrays(load: Load) -> None:
    graph = load("add_dynamic")
    read_only = np.frombuffer(floats(4, 2).tobytes(), np.float32).reshape(4, 2)
    strided = floats(8, 2)[::2]
    unaligned = np.frombuffer(b"\0" + floats(4, 2).tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 2)
    assert not unaligned.flags.aligned
    np.testing.assert_array_equal(graph.predict([read_only, strided])[0], read_only + strided)
    np.testing.assert_array_equal(graph.predict([unaligned, read_only])[0], read_only * 2)


def by_graph_cell(path: Path, arrays: Sequence[Array]) -> list[Array]:
    """What MindSpore's users get."""
    ms = sys.modules["mindspore"]
    result = ms.nn.GraphCell(ms.load(str(path)))(*map(ms.Tensor, arrays))
    return [tensor.asnumpy() for tensor in tensors_of(result)]


@pytest.mark.parametrize("name", ["add", "nested", "views", "constant", "twice_float16", "twice_bool"])
def test_outputs_are_those_of_a_graph_cell_bit_by_bit(load: Load, models: Path, name: str) -> None:
    graph = load(name, with_batch_dim=False)
    random = np.random.default_rng(2)
    for _ in range(3):
        arrays = [
            (random.random(spec.shape) * 2).astype(NUMPY_OF[spec.dtype]) for spec in graph.signature.inputs
        ]
        outputs = graph.predict(arrays)
        for output, expected in zip(outputs, by_graph_cell(models / f"{name}.mindir", arrays), strict=True):
            assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
            assert output.tobytes() == expected.tobytes()
            assert output.flags.carray


def test_floats_keep_their_bits(load: Load) -> None:
    value = np.array([[np.nan, -0.0], [np.inf, 1e-45]], np.float32)
    value.view(np.uint32)[0, 0] |= 0x1234
    same, wide = load("twice_float32").predict([value])
    assert same.tobytes() == value.tobytes()
    assert wide.tobytes() == np.concatenate([value, value], -1).tobytes()


def test_views_come_in_order(load: Load) -> None:
    value = floats(4, 6)
    transposed, narrowed, repeated, computed = load("views", with_batch_dim=False).predict([value])
    np.testing.assert_array_equal(transposed, value.T)
    np.testing.assert_array_equal(narrowed, value[:, 1:3])
    np.testing.assert_array_equal(repeated, np.repeat(value[:1], 4, 0))
    np.testing.assert_array_equal(computed, value.T + 1)


LARGE = 20_000
"""Rows of two float32, which are more bytes than are copied out of MindSpore in any case."""


def test_results_stay_when_the_model_runs_again(load: Load) -> None:
    graph = load("add_dynamic", max_batch_size=LARGE)
    sizes = (1, 4, LARGE)
    results = [
        graph.predict([np.full((rows, 2), i, np.float32)] * 2)[0] for i in range(100) for rows in sizes
    ]
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, np.full((sizes[i % 3], 2), 2 * (i // 3)))


@pytest.mark.parametrize(
    ("name", "rows"), [("twice_float32", 2), ("twice_dynamic", 2), ("twice_dynamic", LARGE)]
)
def test_results_do_not_share_memory_with_inputs(load: Load, name: str, rows: int) -> None:
    value = floats(rows, 2)
    same, wide = load(name, max_batch_size=LARGE).predict([value])
    value[:] = -1
    np.testing.assert_array_equal(same, floats(rows, 2))
    np.testing.assert_array_equal(wide, np.concatenate([floats(rows, 2), floats(rows, 2)], -1))


def test_a_caller_may_change_results(load: Load) -> None:
    graph = load("constant", with_batch_dim=False)
    for output in graph.predict([floats(2, 2)]):
        output[:] = -1
    computed, weights, table, large = graph.predict([floats(2, 2)])
    np.testing.assert_array_equal(computed, floats(2, 2) + 1)
    np.testing.assert_array_equal(weights, np.full((2, 2), 7))
    np.testing.assert_array_equal(table, [0, 1, 2])
    np.testing.assert_array_equal(large, np.full((256, 256), 5))


def test_outputs_without_get_bytes(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load("add")
    monkeypatch.setattr(sys.modules["mindspore"].Tensor, "get_bytes", None)
    graph = load("constant", with_batch_dim=False)
    for _ in range(2):
        computed, weights, table, large = graph.predict([floats(2, 2)])
        np.testing.assert_array_equal(computed, floats(2, 2) + 1)
        np.testing.assert_array_equal(weights, np.full((2, 2), 7))
        np.testing.assert_array_equal(table, [0, 1, 2])
        np.testing.assert_array_equal(large, np.full((256, 256), 5))
        for output in (computed, weights, table, large):
            output[:] = -1
    assert not graph._outputs.by_bytes  # type: ignore[attr-defined]
    assert "failed" not in capsys.readouterr().err


def test_two_graphs_of_a_process_in_many_threads(load: Load, models: Path) -> None:
    add, lenet = load("add_dynamic"), load("lenet_dynamic")
    known = np.load(models / "lenet.npz")

    def work(thread: int) -> None:
        for i in range(30):
            rows = (thread + i) % 8 + 1
            value = np.full((rows, 2), thread * 100 + i, np.float32)
            np.testing.assert_array_equal(add.predict([value, value])[0], value * 2)
            [scores] = lenet.predict([known["images"][:rows]])
            np.testing.assert_allclose(scores, known["scores"][:rows], rtol=1e-3, atol=1e-5)

    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(work, thread) for thread in range(4)]:
            future.result(LIMIT_S)


def test_loading_while_another_thread_runs_a_graph(load: Load) -> None:
    add = load("add")
    stop = threading.Event()

    def run() -> int:
        runs = 0
        while not stop.is_set():
            np.testing.assert_array_equal(add.predict([floats(2, 2), floats(2, 2)])[0], floats(2, 2) * 2)
            runs += 1
        return runs

    with ThreadPoolExecutor(1) as threads:
        runs = threads.submit(run)
        try:
            for _ in range(3):
                assert load("nested").predict([floats(2, 2)])[0][0, 0] == 1
        finally:
            stop.set()
        assert runs.result(LIMIT_S) > 0


def test_a_model_that_failed_works_again(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    graph, other = load("lookup"), load("add")
    with pytest.raises(ModelError) as failed:
        graph.predict([np.array([1, 99], np.int32)])
    assert str(failed.value).startswith("Serving Error: runtime error occurred: ")
    assert "99" in str(failed.value)
    assert "Call Stack" not in str(failed.value)
    np.testing.assert_array_equal(graph.predict([np.array([1, 3], np.int32)])[0], [[2, 3], [6, 7]])
    np.testing.assert_array_equal(other.predict([floats(2, 2), floats(2, 2)])[0], floats(2, 2) * 2)
    assert "failed and was compiled again" in capsys.readouterr().err


def test_an_encrypted_model_that_failed_works_again(load: Load, models: Path, tmp_path: Path) -> None:
    key = b"0123456789ABCDEF"
    path = tmp_path / "lookup.mindir"
    path.write_bytes(encrypted((models / "lookup.mindir").read_bytes(), key, "AES-CBC"))
    graph = load("lookup", path=path, dec_key=key, dec_mode="AES-CBC")
    with pytest.raises(ModelError, match="99"):
        graph.predict([np.array([1, 99], np.int32)])
    np.testing.assert_array_equal(graph.predict([np.array([1, 3], np.int32)])[0], [[2, 3], [6, 7]])


@pytest.mark.parametrize("by_executor", [True, False])
def test_what_a_model_keeps_begins_with_the_first_request(
    load: Load, monkeypatch: pytest.MonkeyPatch, by_executor: bool
) -> None:
    load("add")
    if not by_executor:
        monkeypatch.setitem(sys.modules, "mindspore.graph.api", None)
    graph = load("counter_dynamic")
    for run in (1, 2):
        np.testing.assert_array_equal(graph.predict([floats(3, 2)])[0], floats(3, 2) + run)
    other = load("counter_dynamic")  # models that are loaded later change nothing
    load("add_dynamic")
    np.testing.assert_array_equal(graph.predict([floats(1, 2)])[0], floats(1, 2) + 3)
    np.testing.assert_array_equal(other.predict([floats(1, 2)])[0], floats(1, 2) + 1)
    assert len(graph._run._cell.compile_cache) == 1  # type: ignore[attr-defined]


def test_random_numbers_begin_with_the_first_request(load: Load, models: Path) -> None:
    graph = load("drawn")
    ms = sys.modules["mindspore"]
    cell = ms.nn.GraphCell(ms.load(str(models / "drawn.mindir")))
    for _ in range(2):
        expected = cell(ms.Tensor(floats(2, 2))).asnumpy()
        np.testing.assert_array_equal(graph.predict([floats(2, 2)])[0], expected)


def test_what_a_model_keeps_begins_anew_after_a_failed_run(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = load("counted_lookup", with_batch_dim=False)
    good, bad = np.array([1, 3], np.int32), np.array([1, 99], np.int32)
    assert [graph.predict([good])[1].tolist() for _ in range(2)] == [[1], [2]]
    with pytest.raises(ModelError, match="99"):
        graph.predict([bad])
    assert [graph.predict([good])[1].tolist() for _ in range(2)] == [[1], [2]]
    assert "what it keeps from run to run begins anew" in capsys.readouterr().err


def test_a_model_without_inputs(load: Load) -> None:
    graph = load("table", with_batch_dim=False)
    for _ in range(2):
        [table] = graph.predict([])
        np.testing.assert_array_equal(table, floats(6) + 1)
        table += 100  # what it gives may be changed


def test_cell_does_the_work_where_the_executor_is_not_there(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load("add")
    monkeypatch.setitem(sys.modules, "mindspore.graph.api", None)
    graph = load("add_dynamic")
    assert "runs by its GraphCell" in capsys.readouterr().err
    cell = graph._run._cell  # type: ignore[attr-defined]  # MindSpore counts what it compiled in the cell
    for rows in (1, 5, 64, 17):
        [total] = graph.predict([floats(rows, 2), floats(rows, 2)])
        np.testing.assert_array_equal(total, floats(rows, 2) * 2)
    assert len(cell.compile_cache) == 1


def test_cell_does_the_work_where_tensors_do_not_follow_their_arrays(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load("add")
    tensor = sys.modules["mindspore"].Tensor
    monkeypatch.setattr(tensor, "from_numpy", staticmethod(tensor))  # it copies
    graph = load("add")
    assert "runs by its GraphCell" in capsys.readouterr().err
    for start in (1, 2):
        [total] = graph.predict([floats(2, 2), floats(2, 2, start=start)])
        np.testing.assert_array_equal(total, floats(2, 2) * 2 + start)


def test_closed_graph(load: Load) -> None:
    graph = load("add")
    graph.close()
    graph.close()
    with pytest.raises(ModelError, match="closed"):
        graph.predict([floats(2, 2), floats(2, 2)])


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("absent", {}, "absent.mindir': the file cannot be read: No such file or directory"),
        ("encrypted", {}, "the file is encrypted with AES-GCM, but no dec_key was given"),
        ("encrypted", {"dec_key": b"FEDCBA9876543210"}, "AES-GCM, and dec_key does not decrypt it"),
        ("add", {"dec_key": b"0123456789ABCDEF"}, "the file is not encrypted, but dec_key was given"),
        ("bfloat16", {}, "data type of model input 0 is unsupported, data type: BFLOAT16"),
        ("rank_dynamic", {}, r"The shape of model input 0 is invalid, shape: \[-2\], .* known number of dim"),
        ("flatten_dynamic", {}, r"gives float32 \[2\] as output 0, expected float32 \[1\]"),
        (
            "add",
            {"thread_affinity_core_list": (1000000,)},
            r"thread_affinity_core_list \[1000000\] cannot be set",
        ),
    ],
)
def test_what_cannot_be_served(load: Load, name: str, fields: dict[str, object], text: str) -> None:
    with pytest.raises(StartUpError, match=text):
        load(name, **fields)


def test_files_that_mindspore_refuses(load: Load, models: Path, tmp_path: Path) -> None:
    content = (models / "add.mindir").read_bytes()
    (tmp_path / "model.txt").write_bytes(content)
    (tmp_path / "unknown_primitive.mindir").write_bytes(content.replace(b"Add", b"Bdd"))
    for name in ("model.txt", "unknown_primitive.mindir"):
        with pytest.raises(StartUpError, match=f"MindSpore cannot load or run '.*{name}': ."):
            load(name, path=tmp_path / name)
    assert load("add").predict([floats(2, 2), floats(2, 2)])[0][1, 1] == 6


def test_options_without_counterpart_are_logged(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    load("add", context={"device_type": "cpu", "precision_mode": "fp16"}, enable_parallel=1)
    assert "add.mindir: enable_parallel, precision_mode" in capsys.readouterr().err
    load("add", context={"device_type": "cpu", "precision_mode": "origin"})
    assert capsys.readouterr().err == ""


CHILD = """
import os, select, signal, sys, threading
from pathlib import Path
import numpy as np
from mindspore_serving.server.backend import create_backend
from mindspore_serving.server.backend.contract import LoadRequest

def say(line):
    os.write(1, line.encode() + b"\\n")

# A signal that MindSpore passes on does not end a system call of the main thread; the wake-up descriptor does.
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: say(signal.Signals(number).name))
cores = os.sched_getaffinity(0)
last_core = {max(cores)}
request = LoadRequest(
    Path(sys.argv[1]), True, (), 64, "cpu", 3, thread_num=1, thread_affinity_core_list=tuple(last_core)
)
graph = create_backend("mindspore").load(request)
value = np.ones((3, 2), np.float32)
busy = threading.Event()
worker = threading.Thread(target=lambda: [graph.predict([value, value]) for _ in iter(busy.is_set, False)])

def pinned_threads():
    others = set(map(int, os.listdir("/proc/self/task"))) - {os.getpid()}
    return sum(os.sched_getaffinity(thread) == last_core for thread in others)

def obey(command):
    if command == "run":
        assert graph.predict([value, value])[0].sum() == 12
    elif command == "run in a thread":
        thread = threading.Thread(target=graph.predict, args=([value, value],))
        thread.start()
        thread.join()
    elif command == "work":
        busy.set()
        worker.start()
    elif command == "rest":
        busy.clear()
        worker.join()
    elif command == "facts":
        return repr((os.environ["ONEDNN_MAX_CPU_ISA"], os.sched_getaffinity(0) == cores, pinned_threads() > 0))
    return "done"

say("ready")
while True:
    readable, _, _ = select.select([0, woken], [], [])
    if woken in readable:
        os.read(woken, 100)
    if 0 in readable:
        command = os.read(0, 100).decode().strip()
        if not command:
            break
        say(obey(command))
"""


class Child:
    """A process that has loaded a model; it obeys lines and reports in lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def signal(self, number: signal.Signals) -> str:
        self.process.send_signal(number)
        return self.read()


@contextmanager
def child_with(model: Path, **environment: str) -> Iterator[Child]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin", **environment},
    )
    deadline = threading.Timer(LIMIT_S, process.kill)
    deadline.start()
    try:
        yield Child(process)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "deprecated" not in errors
    finally:
        deadline.cancel()
        process.kill()
        process.wait()


def test_signal_handlers_stay_pythons(models: Path) -> None:
    with child_with(models / "add_dynamic.mindir") as child:
        assert child.read() == "ready"
        assert child.signal(signal.SIGINT) == "SIGINT"
        for command in ("run", "run in a thread"):
            assert child.tell(command) == "done"
            assert child.signal(signal.SIGINT) == "SIGINT"
            assert child.signal(signal.SIGTERM) == "SIGTERM"


def test_an_interrupt_in_a_run_reaches_python(models: Path) -> None:
    with child_with(models / "add_dynamic.mindir") as child:
        assert child.read() == "ready"
        assert child.tell("work") == "done"
        heard = {child.signal(signal.SIGINT) for _ in range(50)}
        assert heard <= {"SIGINT", "SIGTERM"}
        assert child.tell("rest") == "done"
        assert child.signal(signal.SIGINT) == "SIGINT"


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, "AVX2"), ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, "SSE41")]
)
def test_settings_of_the_process(models: Path, environment: dict[str, str], expected: str) -> None:
    with child_with(models / "add_dynamic.mindir", **environment) as child:
        assert child.read() == "ready"
        assert child.tell("facts") == str((expected, True, True))
