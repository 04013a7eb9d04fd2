"""Names for Python and folders out of names of a model's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.cli.shown import json_of_value, picture_kind, text_of_value, type_of
from mindspore_serving.cli.starting.names import identifiers, output_names, servable_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/lenet.onnx", "lenet"),
        ("/a/my-net v2.onnx", "my_net_v2"),
        ("/a/7up.onnx", "m_7up"),
        ("/a/fit_a_line/__model__", "fit_a_line"),
        ("/a/bert/model.onnx", "bert"),
        ("/a/bert/12/model.onnx", "bert"),
        ("/a/bert/v1/model.onnx", "v1"),
        ("/a/ocr/inference.pdmodel", "ocr"),
        ("/a/名前.onnx", "a"),
    ],
)
def test_names_of_servables(path: str, name: str) -> None:
    assert servable_name(Path(path)) == name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "image"], ["x", "image"]),
        (["input:0", "a.b/c"], ["input_0", "a_b_c"]),
        (["a:b", "a.b", "a_b"], ["a_b", "a_b_2", "a_b_3"]),
        (["class", "0", "", "輸入"], ["x_class", "x_0", "x", "x_2"]),
        (["model", "register", "predict", "result"], ["model_2", "register_2", "predict_2", "result_2"]),
    ],
)
def test_names_of_parameters(names: list[str], expected: list[str]) -> None:
    assert identifiers(names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["scores"], ["scores"]),
        (["a.0", "b/c"], ["a.0", "b/c"]),
        (["CNode_37:36"], ["output_0"]),
        (["sum of all"], ["output_0"]),
        (["a", "a"], ["output_0", "output_1"]),
        (["good", "0bad"], ["output_0", "output_1"]),
    ],
)
def test_names_of_outputs(names: list[str], expected: list[str]) -> None:
    assert output_names(names) == expected


def test_pictures_are_known_by_their_first_bytes() -> None:
    assert [picture_kind(head + b"...") for head in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"PK")] == [
        "png", "jpg", "gif", "",
    ]  # fmt: skip


def test_values_for_people() -> None:
    assert (type_of(b"abc"), text_of_value(b"abc")) == ("bytes", "3 bytes: 61 62 63")
    assert text_of_value("x" * 3000).endswith("... (1000 more characters)")
    assert type_of(["a", "b"]) == "text[2]"
    assert text_of_value(["a", "b"]) == "a\nb"


def test_values_in_json() -> None:
    assert json_of_value([np.int64(2), np.arange(2), b"a"]) == [2, [0, 1], {"b64": "YQ=="}]
    assert type(json_of_value(np.float32(0.5))) is float
