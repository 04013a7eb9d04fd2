"""What a user writes, as a value of the type that the server says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindspore_serving.cli.asking.made_up import made_up, picture
from mindspore_serving.cli.asking.method import TEXT_OR_BYTES, Method, type_text
from mindspore_serving.cli.asking.values import (
    batch_as_instances,
    fitted,
    instances_of,
    read_instances,
    read_written,
)
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType

FLOATS = TensorType("x", DataType.FLOAT32, (2,))
INTS = TensorType("x", DataType.INT8, (2,))
BOOLS = TensorType("x", DataType.BOOL, (2,))
TEXT = TensorType("x", DataType.STRING, ())
BYTES = TensorType("x", DataType.BYTES, ())
EITHER = TensorType("x", DataType.BYTES, (), TEXT_OR_BYTES)
ANY = TensorType("x")


def value_of(text: str, wanted: TensorType, standard_input: bytes = b"") -> Any:
    return fitted(read_written(text, lambda: standard_input), wanted)


@pytest.mark.parametrize(
    ("text", "wanted", "dtype", "value"),
    [
        ("[1, 2]", FLOATS, "float32", [1, 2]),
        ("[1.0, -2]", INTS, "int8", [1, -2]),
        ("[true, 0]", BOOLS, "bool", [True, False]),
        ("[1, 0]", BOOLS, "bool", [True, False]),
        ("7", ANY, "int32", 7),
        ("7.5", ANY, "float32", 7.5),
        ("true", ANY, "bool", True),
        ("[[1], [2]]", ANY, "int32", [[1], [2]]),
        ('{"b64": "AQI=", "type": "int8", "shape": [2]}', INTS, "int8", [1, 2]),
        ('{"b64": "AAAgQA==", "type": "fp32", "shape": [1]}', ANY, "float32", [2.5]),
        ("[]", FLOATS, "float32", []),
    ],
)
def test_numbers(text: str, wanted: TensorType, dtype: str, value: Any) -> None:
    array = value_of(text, wanted)
    assert (array.dtype.name, array.tolist()) == (dtype, value)


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("cat", TEXT, "cat"),
        ("1", TEXT, "1"),
        ('"1"', TEXT, "1"),
        ('"open', ANY, '"open'),
        ("@@cat", TEXT, "@cat"),
        ("cat", BYTES, b"cat"),
        ('{"b64": "YWJj"}', BYTES, b"abc"),
        ('{"b64": "YWJj"}', EITHER, b"abc"),
        ("cat", EITHER, "cat"),
        ("cat", ANY, "cat"),
        ('{"b64": "YWJj"}', ANY, b"abc"),
        ('{"b64": "YWJj", "type": "str"}', ANY, "abc"),
    ],
)
def test_text_and_bytes(text: str, wanted: TensorType, value: Any) -> None:
    assert value_of(text, wanted) == value


@pytest.mark.parametrize(
    ("text", "wanted", "problem"),
    [
        ("[1.5, 2]", INTS, "numbers with a fraction"),
        ("[128, 2]", INTS, "do not all fit into int8"),
        ("[-129, 2]", INTS, "do not all fit into int8"),
        ("[2, 0]", BOOLS, "do not all fit into bool"),
        ("cat", FLOATS, "it is text, not numbers"),
        ("[[1], [2, 3]]", FLOATS, "does not fit"),
        ('{"a": 1}', FLOATS, "an object of JSON is no value"),
        ('{"b64": "!!"}', BYTES, "does not fit"),
        ('"open', TEXT, "does not fit"),
    ],
)
def test_what_does_not_fit(text: str, wanted: TensorType, problem: str) -> None:
    with pytest.raises(CommandError) as caught:
        value_of(text, wanted)
    assert (caught.value.exit_code, problem in caught.value.problem) == (2, True), caught.value.problem
    assert "-i x=@FILE" in caught.value.next_step


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([3, 4], np.float64))
    np.save(tmp_path / "big.npy", np.array([3, 4], ">f4"))
    np.save(tmp_path / "bytes.npy", np.array([97, 98], np.uint8))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.ones(1))
    (tmp_path / "a.json").write_text("[5, 6]")
    (tmp_path / "a.txt").write_text("some words")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    at = f"@{tmp_path}/"
    assert value_of(f"{at}a.npy", FLOATS).dtype == np.float32
    assert value_of(f"{at}a.npy", ANY).dtype == np.float64
    assert value_of(f"{at}big.npy", ANY).dtype == np.dtype("<f4")
    assert value_of(f"{at}bytes.npy", BYTES) == b"ab"
    assert value_of(f"{at}two.npz:b", ANY).tolist() == [1.0]
    assert value_of(f"{at}a.json", FLOATS).tolist() == [5, 6]
    assert value_of(f"{at}a.txt", TEXT) == "some words"
    assert value_of(f"{at}a.txt", ANY) == "some words"
    assert value_of(f"{at}a.png", BYTES) == value_of(f"{at}a.png", ANY) == b"\x89PNG"
    for text, problem in (
        (f"{at}two.npz", "name one as"),
        (f"{at}none.npy", "cannot be read"),
        (f"{at}two.npz:c", "cannot be read"),
    ):
        with pytest.raises(CommandError, match=problem):
            read_written(text)


def test_a_picture_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(CommandError, match=r"takes float32\[2\], and .*a.png does not fit: it is bytes"):
        value_of(f"@{tmp_path}/a.png", FLOATS)


def test_standard_input() -> None:
    assert value_of("-", BYTES, b"\x00\x01") == b"\x00\x01"
    assert value_of("-", FLOATS, b"[1, 2]").tolist() == [1, 2]
    assert value_of("-", TEXT, b"words") == "words"
    assert value_of("-", ANY, b"\xff") == b"\xff"


def test_instances_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ('{"instances": [{"x": 1}, {"x": 2}]}', '[{"x": 1}, {"x": 2}]', '{"x": 1}\n\n{"x": 2}\n'):
        file.write_text(text)
        assert read_instances(str(file)) == [{"x": 1}, {"x": 2}]
    file.write_text('{"x": 1}')
    assert read_instances(str(file)) == [{"x": 1}]
    for text in ("[]", "[1]", "nothing", '{"instances": []}'):
        file.write_text(text)
        with pytest.raises(CommandError, match="--instances"):
            read_instances(str(file))


METHOD = Method("add", "predict", inputs=(FLOATS, TensorType("s", DataType.FLOAT32, (3,))), rows=True)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(CommandError) as caught:
        instances_of(METHOD, ["x=[1,2]", "z=1"], ())
    assert "input 's' is missing; 'z' is no input" in caught.value.problem
    assert "x (float32[2]), s (float32[3])" in caught.value.problem
    assert caught.value.next_step == "mindspore-serving infer add.predict -i x=JSON -i s=JSON"
    with pytest.raises(CommandError, match="is there twice"):
        instances_of(METHOD, ["x=1", "x=2"], ())


def test_a_server_that_does_not_tell_takes_anything() -> None:
    [instance] = instances_of(Method("m", typed=False), ["a=1", "b=word"], ())
    assert (instance["a"], instance["b"]) == (1, "word")


def test_rows_are_instances_where_all_inputs_have_them() -> None:
    x, s = np.ones((2, 2), np.float32), np.ones((2, 3), np.float32)
    both = batch_as_instances(METHOD, {"x": x, "s": s})
    assert [{name: np.shape(value) for name, value in one.items()} for one in both] == [
        {"x": (2,), "s": (3,)}
    ] * 2
    for other in ({"x": x[0], "s": s[0]}, {"x": x, "s": s[0]}, {"x": x, "s": s[:1]}, {"x": x, "s": x}):
        assert batch_as_instances(METHOD, other) == [other]


def test_numbers_as_rows_stay_arrays() -> None:
    method = Method("m", inputs=(TensorType("x", DataType.FLOAT32, ()),), rows=True)
    rows = batch_as_instances(method, {"x": np.ones(2, np.float32)})
    assert [(type(one["x"]), np.shape(one["x"])) for one in rows] == [(np.ndarray, ())] * 2


@pytest.mark.parametrize(
    "wanted", [FLOATS, INTS, BOOLS, TEXT, BYTES, EITHER, TensorType("x", DataType.FLOAT16, (-1, 3))]
)
def test_made_up_values_fit(wanted: TensorType) -> None:
    value = made_up(wanted, size=4)
    if isinstance(value, np.ndarray):
        assert wanted.takes(value.shape)
        assert value.dtype.name == wanted.dtype.name.lower()
    else:
        assert isinstance(value, str if wanted is TEXT else bytes)


def test_made_up_sizes() -> None:
    wanted = TensorType("x", DataType.FLOAT32, (-1, 3, -1))
    assert np.shape(made_up(wanted, size=4)) == (4, 3, 4)


def test_a_made_up_picture_is_one() -> None:
    pillow = pytest.importorskip("PIL.Image")
    from io import BytesIO

    image = pillow.open(BytesIO(picture()))
    image.load()
    assert (image.size, image.mode) == ((64, 64), "RGB")
    assert made_up(TensorType("x", DataType.BYTES, (), "image")) == picture()


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (FLOATS, "float32[2]"),
        (TensorType("x", DataType.FLOAT32, (-1, 3)), "float32[?,3]"),
        (TensorType("x", DataType.FLOAT32, ()), "float32"),
        (TensorType("x", DataType.FLOAT32), "float32"),
        (ANY, "any type"),
        (TEXT, "text"),
        (BYTES, "bytes"),
        (EITHER, "text or bytes"),
    ],
)
def test_types_as_people_read_them(wanted: TensorType, text: str) -> None:
    assert type_text(wanted) == text
