"""Signatures from MindIR files, made here with the schema that MindSpore ships; MindSpore itself stays unimported."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.mindspore.mindir_metadata import mindir_schema, read_signature
from mindspore_serving.tensor import DataType, TensorSpec
from tests.support.encryption import encrypted

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed"
)

FLOAT = 1
KEY = b"0123456789ABCDEF"


def model(inputs: Sequence[tuple[str, Sequence[int]]] = (("g:x", (2, 2)),), dtype: int = FLOAT) -> Any:
    """A model with these inputs and, as its output, one tensor [2, 2]."""
    message = mindir_schema().ModelProto(ir_version="1.1", mind_ir_version=3)
    message.graph.name = "g"
    for name, dims in inputs:
        message.graph.input.add(name=name).tensor.add(dims=dims, data_type=dtype)
    message.graph.output.add(name="g:node:1").tensor.add(dims=(2, 2), data_type=FLOAT)
    return message


def add_sequence(attribute: Any, shapes: Sequence[Any]) -> None:
    """A tuple of tensors of these shapes; a list of shapes makes a tuple in the tuple."""
    attribute.type = attribute.TUPLE
    for shape in shapes:
        value = attribute.values.add()
        if isinstance(shape, list):
            add_sequence(value, shape)
        else:
            value.type = attribute.TENSORS
            value.tensors.add(dims=shape, data_type=FLOAT)


def write(folder: Path, content: Any) -> Path:
    path = folder / "model.mindir"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def refusal(folder: Path, content: Any, key: bytes | None = None) -> str:
    path = write(folder, content)
    with pytest.raises(StartUpError) as refused:
        read_signature(path, key)
    assert f"'{path}'" in str(refused.value)
    return str(refused.value)


def test_short_names_dtypes_and_shapes(tmp_path: Path) -> None:
    message = model([("3_1_net_construct_3:x", (-1, 3)), ("y", ()), ("a:b:z", (4,))])
    signature = read_signature(write(tmp_path, message))
    assert signature.inputs == (
        TensorSpec("x", DataType.FLOAT32, (-1, 3)),
        TensorSpec("y", DataType.FLOAT32, ()),
        TensorSpec("z", DataType.FLOAT32, (4,)),
    )
    assert signature.outputs == (TensorSpec("node:1", DataType.FLOAT32, (2, 2)),)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("BOOL", "BOOL"),
        ("FLOAT", "FLOAT32"),
        ("DOUBLE", "FLOAT64"),
        ("FLOAT64", "FLOAT64"),
        ("FLOAT16", "FLOAT16"),
    ]
    + [(name, name) for name in ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"]],
)
def test_data_types(tmp_path: Path, label: str, kind: str) -> None:
    message = model(dtype=mindir_schema().TensorProto.DataType.Value(label))
    assert read_signature(write(tmp_path, message)).inputs[0].dtype is DataType[kind]


@pytest.mark.parametrize("label", ["BFLOAT16", "COMPLEX64", "STRING", "UNDEFINED"])
def test_unsupported_data_types(tmp_path: Path, label: str) -> None:
    message = model(dtype=mindir_schema().TensorProto.DataType.Value(label))
    assert f"data type of model input 0 is unsupported, data type: {label}" in refusal(tmp_path, message)


def test_nested_outputs_one_after_the_other(tmp_path: Path) -> None:
    message = model()
    del message.graph.output[0].tensor[:]
    add_sequence(message.graph.output[0].attr_info, [(2, 2), [(3,), [()]]])
    assert read_signature(write(tmp_path, message)).outputs == (
        TensorSpec("node:1[0]", DataType.FLOAT32, (2, 2)),
        TensorSpec("node:1[1]", DataType.FLOAT32, (3,)),
        TensorSpec("node:1[2]", DataType.FLOAT32, ()),
    )


def test_outputs_that_are_no_tensors(tmp_path: Path) -> None:
    message = model()
    del message.graph.output[0].tensor[:]
    attribute = message.graph.output[0].attr_info
    add_sequence(attribute, [(2, 2)])
    attribute.values.add(type=attribute.SCALAR)
    assert "returns a value of type SCALAR, expected tensors" in refusal(tmp_path, message)
    attribute.seq_info.is_dyn_len = True
    assert "sequence of varying length" in refusal(tmp_path, message)


@pytest.mark.parametrize("shape", [(-1,), (2, -1), (-1, -1), (-1, 3, -1)])
def test_any_dimension_may_be_dynamic(tmp_path: Path, shape: tuple[int, ...]) -> None:
    signature = read_signature(write(tmp_path, model([("g:x", shape)])))
    assert signature.inputs[0].shape == shape


@pytest.mark.parametrize("shape", [(-2,), (0, 2), (-3, 2), (-1, 0), (-1, -2)])
def test_shapes_that_cannot_be_served(tmp_path: Path, shape: tuple[int, ...]) -> None:
    message = model([("g:x", (2, 2)), ("g:y", shape)])
    assert f"The shape of model input 1 is invalid, shape: {list(shape)}" in refusal(tmp_path, message)
    message = model()
    message.graph.output.add(name="g:z").tensor.add(dims=shape, data_type=FLOAT)
    assert f"The shape of model output 1 is invalid, shape: {list(shape)}" in refusal(tmp_path, message)


def test_input_that_is_no_tensor(tmp_path: Path) -> None:
    message = model()
    message.graph.input.add(name="g:sequence")
    assert "model input 1 is no tensor" in refusal(tmp_path, message)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "the file is empty" in refusal(tmp_path, b"")
    assert "holds something else or is damaged" in refusal(tmp_path, b"import numpy as np\n")
    without_output = model()
    del without_output.graph.output[:]
    assert "no graph with outputs was found" in refusal(tmp_path, without_output)
    assert "no graph with outputs was found" in refusal(
        tmp_path, mindir_schema().ModelProto(ir_version="1.1")
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match=r"absent\.mindir': the file cannot be read: No such file"):
        read_signature(tmp_path / "absent.mindir")
    with pytest.raises(StartUpError, match="cannot be read: Is a directory"):
        read_signature(tmp_path)


def test_file_too_large_for_its_format(tmp_path: Path) -> None:
    path = tmp_path / "large.mindir"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(StartUpError, match="the file has 2147483648 bytes, expected less than 2147483648"):
        read_signature(path)


@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC"])
def test_encrypted_files(tmp_path: Path, mode: str) -> None:
    message = model([("g:x", (-1, 3)), ("g:y", (2,))])
    plain = read_signature(write(tmp_path, message))
    path = write(tmp_path, encrypted(message.SerializeToString(), KEY, mode, block_size=64))
    assert read_signature(path, KEY) == plain


@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC", "SM4-CBC"])
def test_encrypted_files_without_a_key(tmp_path: Path, mode: str) -> None:
    content = encrypted(model().SerializeToString(), KEY, mode)
    assert f"the file is encrypted with {mode}, but no dec_key was given" in refusal(tmp_path, content)


@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC"])
def test_another_key(tmp_path: Path, mode: str) -> None:
    content = encrypted(model().SerializeToString(), KEY, mode)
    for i in range(600):  # in AES-CBC the padding is right by chance for some of these keys
        key = i.to_bytes(16, "big")
        assert f"encrypted with {mode}, and dec_key does not decrypt it" in refusal(tmp_path, content, key)


def test_an_encrypted_file_that_ends_after_a_block(tmp_path: Path) -> None:
    content = encrypted(model().SerializeToString(), KEY, "AES-GCM", block_size=16)
    assert "or the file is damaged" in refusal(tmp_path, content[: 16 + 48], KEY)


def test_what_is_encrypted_is_no_model(tmp_path: Path) -> None:
    content = encrypted(b"no model at all", KEY, "AES-GCM")
    assert "dec_key does not decrypt it to a MindIR model" in refusal(tmp_path, content, KEY)


def test_a_plain_file_with_a_key(tmp_path: Path) -> None:
    assert "the file is not encrypted, but dec_key was given; leave it out" in refusal(tmp_path, model(), KEY)


def test_format_of_a_newer_mindspore(tmp_path: Path) -> None:
    message = model()
    message.mind_ir_version = 99
    assert "the format has version 99, but the installed MindSpore knows versions up to" in refusal(
        tmp_path, message
    )


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    message = model([("g:x", (-1, 3)), ("g:y", (2,))])
    add_sequence(message.graph.output.add(name="g:many").attr_info, [(2, 2), [(3,)]])
    whole = message.SerializeToString()
    rng = random.Random(7)
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [rng.randbytes(rng.randrange(300)) for _ in range(500)]
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        try:
            assert read_signature(write(tmp_path, content)).outputs
        except StartUpError:
            refused += 1
    assert refused > len(whole)


def test_mindspore_stays_unimported(tmp_path: Path) -> None:
    path = write(tmp_path, model())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mindspore_serving.server.backend.mindspore.mindir_metadata import read_signature\n"
        "assert read_signature(Path(sys.argv[1])).inputs\n"
        "assert 'mindspore' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, timeout=60, cwd=Path(__file__).parents[3]
    )
