"""The outermost fields of an ONNX file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.backend.onnx.model_header import ModelHeader, read_header

GRAPH = b"\x3a\x02\x0a\x00"
OPSET_17 = b"\x42\x04\x0a\x00\x10\x11"
IR_8 = b"\x08\x08"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (IR_8 + GRAPH + OPSET_17, ModelHeader(8, {"": 17})),
        (GRAPH, ModelHeader(0, {})),
        (IR_8 + b"\x12\x07pytorch" + b"\x28\x05" + GRAPH + OPSET_17, ModelHeader(8, {"": 17})),
        (IR_8 + OPSET_17 + b"\x42\x07\x0a\x02my\x10\xac\x02" + GRAPH, ModelHeader(8, {"": 17, "my": 300})),
        (IR_8 + b"\x42\x0b\x0a\x07ai.onnx\x10\x0d" + GRAPH, ModelHeader(8, {"": 13})),
        (IR_8 + b"\x3a\x80\x01" + bytes(128) + OPSET_17, ModelHeader(8, {"": 17})),
        (b"\x20\0\0\0ORTM and more", None),
    ],
)
def test_headers(tmp_path: Path, content: bytes, expected: ModelHeader | None) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert read_header(path) == expected


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty, expected an ONNX model"),
        (
            b"\x0a\x050.1.0",
            "the file holds no ONNX model but looks like MindIR: declare it with model_format='MindIR'",
        ),
        (
            b"this is text, and no model\n",
            "the file holds something else or is damaged, expected an ONNX model",
        ),
        (b"\x89PNG\r\n\x1a\n", "the file holds something else or is damaged, expected an ONNX model"),
        (b"\xff" * 20, "the file holds something else or is damaged, expected an ONNX model"),
        (
            IR_8 + b"\x3a\x64" + bytes(8),
            "the file is damaged or incomplete, it has 12 bytes, expected at least 104",
        ),
        (
            IR_8 + GRAPH + b"\x42\x04\x0a",
            "the file is damaged or incomplete, it has 9 bytes, expected at least 12",
        ),
        (
            IR_8 + OPSET_17,
            "no graph was found in the file, expected an ONNX model; the file may be incomplete",
        ),
        (IR_8 + GRAPH + b"\x42", "the file holds something else or is damaged, expected an ONNX model"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(StartUpError) as error:
        read_header(path)
    assert str(error.value) == f"Model file '{path}': {text}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartUpError, match="the file cannot be read: No such file or directory"):
        read_header(tmp_path / "model.onnx")
