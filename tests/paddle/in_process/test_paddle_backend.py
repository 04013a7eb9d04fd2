"""Models of Paddle through the backend: what they give, their signatures, options, threads and keys."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, ModelError
from mindspore_serving.server.backend.contract import ConcurrentGraph
from mindspore_serving.tensor import Array, DataType, TensorSpec
from tests.paddle.conftest import Saved
from tests.paddle.in_process.conftest import Load
from tests.paddle.saved_models import CIPHERS, KEY, as_folder, with_file_each
from tests.support.paddle_models import HOUSE, PRICE, PRICE_NAME
from tests.support.serving import REPOSITORY

NETWORKS = ("conv", "tokens", "pixels", "fixed", "linear", "twice")


def assert_right(saved: Saved, name: str, outputs: list[Array]) -> None:
    for output, expected in zip(outputs, saved.outputs(name), strict=True):
        assert output.dtype == expected.dtype
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_gives_what_paddle_gives(saved: Saved, load: Load, name: str) -> None:
    assert_right(saved, name, load(saved.path(name)).predict(list(saved.inputs(name).values())))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("conv", {"image": ("FLOAT32", (-1, 3, 8, 8))}, [(-1, 5)]),
        ("tokens", {"ids": ("INT64", (-1, -1)), "scale": ("FLOAT32", (-1, -1))}, [(-1, -1, 4), (-1, 4)]),
        ("pixels", {"image": ("UINT8", (-1, 2, 2, 3))}, [(-1, 2)]),
        ("fixed", {"input": ("FLOAT32", (3, 4))}, [(3, 2)]),
        ("twice", {"x": ("FLOAT16", (-1, 4))}, [(-1, 8)]),
    ],
)
def test_signature(saved: Saved, load: Load, name: str, inputs: dict[str, Any], outputs: list[Any]) -> None:
    graph = load(saved.path(name))
    assert graph.signature.inputs == tuple(
        TensorSpec(key, DataType[dtype], shape) for key, (dtype, shape) in inputs.items()
    )
    assert [spec.shape for spec in graph.signature.outputs] == outputs
    assert graph.dynamic_batch == (name != "fixed")


def test_names_are_those_of_the_file(both: dict[str, Saved], load: Load) -> None:
    names = {
        suffix: [spec.name for spec in load(saved.path("tokens")).signature.outputs]
        for suffix, saved in both.items()
    }
    assert names["json"] == ["fetch_name_0", "fetch_name_1"]
    assert names["pdmodel"] == ["tmp_0", "mean_0.tmp_0"]
    chosen = {"outputs": names["pdmodel"][1]}
    graph = load(both["pdmodel"].path("tokens"), options=chosen)
    assert [spec.name for spec in graph.signature.outputs] == [chosen["outputs"]]
    [output] = graph.predict(list(both["pdmodel"].inputs("tokens").values()))
    np.testing.assert_allclose(output, both["pdmodel"].outputs("tokens")[1], rtol=1e-4, atol=1e-5)


def test_housing(uci_housing: Path, load: Load) -> None:
    graph = load(uci_housing / "__model__")
    assert graph.signature.outputs == (TensorSpec(PRICE_NAME, DataType.FLOAT32, (-1, 1)),)
    [prices] = graph.predict([np.array([HOUSE, HOUSE], np.float32)])
    np.testing.assert_allclose(prices, [[PRICE], [PRICE]], rtol=1e-6)


def test_a_folder_with_all_parameters_in_one_file(both: dict[str, Saved], load: Load, tmp_path: Path) -> None:
    saved = both["pdmodel"]
    graph = load(as_folder(saved.path("conv"), tmp_path / "model"))
    assert_right(saved, "conv", graph.predict(list(saved.inputs("conv").values())))


def test_a_folder_with_a_file_for_each_parameter(both: dict[str, Saved], load: Load, tmp_path: Path) -> None:
    saved = both["pdmodel"]
    program = with_file_each(
        saved.path("linear"), tmp_path / "model", {"linear_3.b_0": 8, "linear_3.w_0": 32}
    )
    graph = load(program)
    assert_right(saved, "linear", graph.predict(list(saved.inputs("linear").values())))


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_any_number_of_rows(saved: Saved, load: Load, rows: int) -> None:
    graph = load(saved.path("linear"))
    x = np.resize(saved.inputs("linear")["input"], (rows, 4))
    [output] = graph.predict([x])
    np.testing.assert_allclose(output, np.resize(saved.outputs("linear")[0], (rows, 2)), rtol=1e-4, atol=1e-5)


def test_rows_are_bounded(saved: Saved, load: Load) -> None:
    with pytest.raises(InvalidInput, match="has 65 rows, expected 1 to 64"):
        load(saved.path("linear")).predict([np.zeros((65, 4), np.float32)])


def test_sequences_of_other_lengths(saved: Saved, load: Load) -> None:
    graph = load(saved.path("tokens"))
    ids, scale = saved.inputs("tokens").values()
    for length in (1, 4, 2):
        output, _ = graph.predict([ids[:, :length], scale[:, :length]])
        np.testing.assert_allclose(output, saved.outputs("tokens")[0][:, :length], rtol=1e-4, atol=1e-5)


def test_one_sequence_of_a_lod_tensor(both: dict[str, Saved], load: Load) -> None:
    graph = load(both["pdmodel"].path("sequences"), with_batch_dim=False)
    for length in (1, 3):
        [total] = graph.predict([np.ones((length, 2), np.float32)])
        np.testing.assert_allclose(total, [[length, length]])


def test_a_wrong_input_is_refused_and_the_model_goes_on(saved: Saved, load: Load) -> None:
    graph = load(saved.path("conv"))
    with pytest.raises(InvalidInput, match=r"input 0 'image' is float32 \[1, 3, 8\]"):
        graph.predict([np.zeros((1, 3, 8), np.float32)])
    assert_right(saved, "conv", graph.predict(list(saved.inputs("conv").values())))


def test_a_run_that_fails_names_the_reason_and_the_model_goes_on(saved: Saved, load: Load) -> None:
    graph = load(saved.path("tokens"))
    ids, scale = saved.inputs("tokens").values()
    with pytest.raises(ModelError, match="runtime error occurred: InvalidArgument: ") as failed:
        graph.predict([ids[:, :2], scale])
    assert "Traceback" not in str(failed.value)
    assert "/paddle/" not in str(failed.value)
    assert_right(saved, "tokens", graph.predict([ids, scale]))


def test_outputs_stay_as_they_are(saved: Saved, load: Load) -> None:
    graph = load(saved.path("linear"))
    x = saved.inputs("linear")["input"]
    [output] = graph.predict([x])
    graph.predict([x + 1])
    assert_right(saved, "linear", [output])
    output += 1
    assert_right(saved, "linear", graph.predict([x]))
    graph.close()
    assert output.flags.c_contiguous


def test_inputs_in_any_layout(saved: Saved, load: Load) -> None:
    x = saved.inputs("linear")["input"]
    assert_right(saved, "linear", load(saved.path("linear")).predict([np.asfortranarray(x)]))


def test_closed(saved: Saved, load: Load) -> None:
    graph = load(saved.path("linear"))
    assert "ready" in repr(graph)
    graph.close()
    graph.close()
    with pytest.raises(ModelError, match="the model is closed"):
        graph.predict([saved.inputs("linear")["input"]])
    assert "closed" in repr(graph)


def test_many_threads_at_one_graph(saved: Saved, load: Load) -> None:
    graph = load(saved.path("linear"))
    x = saved.inputs("linear")["input"]
    wrong: list[int] = []

    def ask(number: int) -> None:
        rows = number % 3 + 1
        for _ in range(20):
            [output] = graph.predict([x[:rows] * number])
            [single] = graph.predict([x[:1] * number])
            if not np.allclose(output[:1], single, atol=1e-4):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_graphs_take_turns(saved: Saved, load: Load) -> None:
    assert not isinstance(load(saved.path("linear")), ConcurrentGraph)


@pytest.mark.parametrize(
    "options",
    [
        {"thread_num": 1},
        {"precision": "fp32"},
        {"precision": "fp16"},
        {"precision": "bf16"},
        {"precision": "int8"},
        {"precision": "bf16", "mkldnn_bf16_op_list": "conv2d, matmul_v2"},
        {"ir_optim": False},
        {"ir_optim": True},
        {"mem_optim": False},
        {"mem_optim": True},
        {"use_mkldnn": True},
        {"use_mkldnn": False},
        {"mkldnn_cache_capacity": 2},
        {"mkldnn_op_list": "conv2d"},
        {"gpu_memory_mb": 100, "use_trt": True, "trt_workspace_size": 1 << 20, "trt_use_static": True},
        {"min_subgraph_size": 2, "use_calib": True},
    ],
    ids=str,
)
def test_options_give_right_replies(saved: Saved, load: Load, options: dict[str, Any]) -> None:
    outputs = load(saved.path("conv"), options=options).predict(list(saved.inputs("conv").values()))
    wide = options.get("precision") == "bf16"
    np.testing.assert_allclose(outputs[0], saved.outputs("conv")[0], atol=0.02 if wide else 1e-5)


def test_options_without_effect_are_logged(
    both: dict[str, Saved], load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"precision": "fp16", "use_trt": True, "mem_optim": True}
    with caplog.at_level(logging.WARNING):
        load(both["json"].path("linear"), options=options, enable_parallel=1)
    assert "Options without effect in Paddle Inference" in caplog.text
    assert caplog.text.rstrip().endswith("enable_parallel, mem_optim, use_trt, precision='fp16'")


@pytest.mark.parametrize("mode", CIPHERS)
def test_encrypted(saved: Saved, load: Load, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    given = "AES-GCM" if mode == "AES-CTR" else mode
    with caplog.at_level(logging.WARNING):
        graph = load(saved.path(mode), dec_key=KEY, dec_mode=given)
    assert_right(saved, "conv", graph.predict(list(saved.inputs("conv").values())))
    assert ("is encrypted with AES-CTR" in caplog.text) == (mode == "AES-CTR")


def test_nothing_plain_is_left(both: dict[str, Saved], load: Load, tmp_path: Path) -> None:
    saved = both["json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        graph = load(saved.path("AES-GCM"), dec_key=KEY)
    assert not list(tmp_path.iterdir())
    assert_right(saved, "conv", graph.predict(list(saved.inputs("conv").values())))
    descriptors = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not [one for one in descriptors if "inference" in one]


OPENCV = """
import os
os.environ["LD_LIBRARY_PATH"] = "/libraries/of/opencv:" + os.environ["LD_LIBRARY_PATH"]
"""  # Paddle imports it where it is installed
IMPORT = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
before = dict(os.environ)
ORDINARY = (1 << 31) - 1  # others are glibc's own
lines = lambda: [line.split() for line in open("/proc/self/status") if line.startswith(("SigCgt", "SigIgn"))]
caught = lambda: [int(line[1], 16) & ORDINARY for line in lines()]
signals = caught()
from pathlib import Path
from tests.paddle.in_process.conftest import request_for
from mindspore_serving.server.backend.paddle.backend import PaddleBackend
graph = PaddleBackend().load(request_for(Path(sys.argv[1])))
assert "cv2" in sys.modules
assert caught() == signals, (caught(), signals)
assert {k: v for k, v in os.environ.items() if before.get(k) != v} == {"KMP_BLOCKTIME": "1"}, os.environ
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_import_and_load_leave_the_process_as_it_was(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(OPENCV)
    kept = {"PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": "/libraries/of/the/user"}
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("KMP_", "OMP_"))
    } | kept
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(saved.path("conv"))],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
