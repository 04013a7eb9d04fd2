"""What of Paddle is not served, and what the errors say."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from mindspore_serving.errors import StartUpError
from tests.paddle.conftest import Saved
from tests.paddle.in_process.conftest import Load
from tests.paddle.saved_models import as_folder, copied

Damage = Callable[[bytes], bytes]


def nothing(_: bytes) -> bytes:
    return b""


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def noise(content: bytes) -> bytes:
    return random.Random(1).randbytes(max(len(content), 100))


def onnx_model(_: bytes) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "graph", [x], [y])
    content: bytes = helper.make_model(graph).SerializeToString()
    return content


def other_json(_: bytes) -> bytes:
    return b'{"base_code": {"magic": "other"}, "program": {}}'


def damaged(saved: Saved, folder: Path, suffix: str, damage: Damage) -> Path:
    """A copy of `linear` with one changed file; returns its program."""
    program = copied(saved.path("linear"), folder / "model")
    path = program.with_suffix(suffix or program.suffix)
    path.write_bytes(damage(path.read_bytes()))
    return program


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (nothing, "the file is empty, expected a program of Paddle"),
        (half, "the file is no program of Paddle for inference or damaged"),
        (noise, "the file is no program of Paddle for inference or damaged"),
        (onnx_model, "the file is no program of Paddle for inference"),
        (other_json, "the file is no program of Paddle for inference"),
    ],
)
def test_a_program_that_is_none(
    saved: Saved, load: Load, tmp_path: Path, damage: Damage, reason: str
) -> None:
    program = damaged(saved, tmp_path, "", damage)
    with pytest.raises(StartUpError, match=f"Model file '{program}': {reason}"):
        load(program)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (nothing, "are damaged or incomplete, the file is empty; save the model again, and copy both files"),
        (half, "are damaged or incomplete, the file ends within a tensor; save the model again"),
        (noise, "are damaged or incomplete, no tensor begins at byte 0"),
        (lambda content: content + content, r"are those of another model, it has float32 \[2\]"),
        (
            lambda content: content[:-1],
            "are damaged or incomplete, the tensor at byte .* ends behind the file",
        ),
    ],
)
def test_parameters_that_are_none(
    saved: Saved, load: Load, tmp_path: Path, damage: Damage, reason: str
) -> None:
    program = damaged(saved, tmp_path, ".pdiparams", damage)
    with pytest.raises(
        StartUpError, match=f"Model file '{program}': .*parameters in 'inference.pdiparams' {reason}"
    ):
        load(program)


def test_parameters_of_another_model(saved: Saved, load: Load, tmp_path: Path) -> None:
    program = copied(saved.path("linear"), tmp_path / "model")
    shutil.copy(saved.path("pixels").with_suffix(".pdiparams"), program.with_suffix(".pdiparams"))
    with pytest.raises(
        StartUpError, match=r"another model, it lacks float32 \[4, 2\] and it has float32 \[12, 2\]"
    ):
        load(program)


def test_parameters_that_are_missing(saved: Saved, load: Load, tmp_path: Path) -> None:
    program = copied(saved.path("linear"), tmp_path / "model")
    program.with_suffix(".pdiparams").unlink()
    with pytest.raises(
        StartUpError, match=r"its parameters are missing, expected the file 'inference.pdiparams' beside"
    ):
        load(program)


def test_one_parameter_that_is_missing(uci_housing: Path, load: Load, tmp_path: Path) -> None:
    shutil.copytree(uci_housing, tmp_path / "model")
    (tmp_path / "model" / "fc_0.b_0").unlink()
    with pytest.raises(
        StartUpError, match=r"its parameters are missing, expected the file 'fc_0.b_0' beside it"
    ):
        load(tmp_path / "model" / "__model__")


def test_a_file_that_is_missing(load: Load, tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match="the file cannot be read: No such file or directory"):
        load(tmp_path / "inference.json")


def test_a_name_that_says_nothing(load: Load, tmp_path: Path) -> None:
    with pytest.raises(
        StartUpError, match=r"expected the name NAME.json or NAME.pdmodel, .* or __model__; rename"
    ):
        load(tmp_path / "model.bin")


def test_an_output_without_batch(saved: Saved, load: Load) -> None:
    with pytest.raises(StartUpError, match=r"of the shapes \[\[\], \[\]\] for \[1, 2\] rows, .*'outputs'"):
        load(saved.path("total"))
    graph = load(saved.path("total"), with_batch_dim=False)
    total, _ = graph.predict(list(saved.inputs("total").values()))
    np.testing.assert_allclose(total, saved.outputs("total")[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_mkl": True}, "has the unknown name 'use_mkl', expected 'outputs', 'thread_num', 'precision'"),
        ({"precision": "fp8"}, "has precision='fp8', expected 'fp32' or 'fp16' or 'bf16' or 'int8'"),
        ({"thread_num": 0}, "has thread_num=0, expected an int from 1 on"),
        ({"ir_optim": 1}, "has ir_optim=1, expected True or False"),
        ({"mkldnn_op_list": "conv2d,"}, "expected names separated by commas"),
        ({"outputs": "price"}, "the model has no output 'price', expected"),
        (
            {"use_mkldnn": False, "precision": "int8"},
            "use_mkldnn=False, but also precision='int8', which needs oneDNN",
        ),
        ({"use_mkldnn": False, "mkldnn_op_list": "mul"}, "use_mkldnn=False, but also mkldnn_op_list"),
    ],
    ids=str,
)
def test_options(both: dict[str, Saved], load: Load, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(StartUpError, match=f"runtime_options .*{reason}"):
        load(both["json"].path("linear"), options=options)


@pytest.mark.parametrize("device_type", ["gpu", "ascend"])
def test_a_device_that_the_package_has_not(both: dict[str, Saved], load: Load, device_type: str) -> None:
    with pytest.raises(
        StartUpError, match=f"paddlepaddle 3.* runs no models on device type '{device_type}'; install"
    ):
        load(both["json"].path("linear"), device_type=device_type)


@pytest.mark.parametrize("key", [b"another key 1234", b"another key, which is longer 123"])
@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CTR"])
def test_a_key_that_is_wrong(saved: Saved, load: Load, key: bytes, mode: str) -> None:
    with pytest.raises(
        StartUpError, match=r"dec_key does not decrypt 'inference.*tried AES-GCM, AES-CBC, AES-CTR"
    ):
        load(saved.path(mode), dec_key=key)


def test_a_key_for_a_plain_model(saved: Saved, load: Load) -> None:
    with pytest.raises(StartUpError, match="not encrypted by Paddle's CipherFactory"):
        load(saved.path("conv"), dec_key=b"0123456789ABCDEF")


def test_encrypted_without_a_key(saved: Saved, load: Load) -> None:
    with pytest.raises(
        StartUpError, match=r"the file is no program of Paddle for inference or damaged, .*dec_key"
    ):
        load(saved.path("AES-GCM"))


def test_encrypted_parameters_that_are_missing(saved: Saved, load: Load, tmp_path: Path) -> None:
    program = copied(saved.path("AES-GCM"), tmp_path / "model")
    program.with_suffix(".pdiparams").unlink()
    with pytest.raises(StartUpError, match="its parameters are missing"):
        load(program, dec_key=b"0123456789ABCDEF")


def test_an_encrypted_folder_with_a_file_each(both: dict[str, Saved], load: Load, tmp_path: Path) -> None:
    program = as_folder(both["pdmodel"].path("linear"), tmp_path / "model")
    (tmp_path / "model" / "__params__").unlink()
    with pytest.raises(StartUpError, match="an encrypted model has all parameters in one file"):
        load(program, dec_key=b"0123456789ABCDEF")


def test_sequences_with_a_batch(both: dict[str, Saved], load: Load) -> None:
    with pytest.raises(StartUpError, match=r"input 0 'x' is a LoD tensor.*with_batch_dim=False\) serves one"):
        load(both["pdmodel"].path("sequences"))
