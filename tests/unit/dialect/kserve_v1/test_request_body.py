"""Bodies of `:predict` to rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.kserve_v1.request_body import Methods, read_predict
from mindspore_serving.tensor import DataType

UNKNOWN = DataType.UNKNOWN


def methods_of(**inputs: list[tuple[str, DataType, bool]]) -> Methods:
    found = {
        method: [(name, int(dtype), shared) for name, dtype, shared in ones]
        for method, ones in inputs.items()
    }
    return json.loads(json.dumps({"model": "m", "default": next(iter(inputs)), "inputs": found}))  # type: ignore[no-any-return]


def one(dtype: DataType = UNKNOWN) -> Methods:
    return methods_of(one=[("x", dtype, False)])


def two(first: DataType = UNKNOWN, second: DataType = UNKNOWN) -> Methods:
    return methods_of(two=[("x", first, False), ("y", second, False)])


def read(body: Any, methods: Methods) -> tuple[list[Rows], Any]:
    content = read_predict(body if isinstance(body, bytes) else json.dumps(body).encode(), methods)
    return content.rows, content.rest


def values_of(rows: list[Rows]) -> list[tuple[list[tuple[str, DataType, tuple[int, ...]]], list[Any]]]:
    """Specs, and columns as Python values, of each block."""
    return [
        (
            [tuple(spec) for spec in block.specs],  # type: ignore[misc]
            [column if isinstance(column, list) else column.tolist() for column in block.columns],
        )
        for block in rows
    ]


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "shape", "column"),
    [
        ([1, 2], UNKNOWN, DataType.INT32, (), [1, 2]),
        ([1, 2.5], UNKNOWN, DataType.FLOAT32, (), [1.0, 2.5]),
        ([[1.5, 2], [3, 4]], UNKNOWN, DataType.FLOAT32, (2,), [[1.5, 2.0], [3.0, 4.0]]),
        ([[[1]], [[2]]], UNKNOWN, DataType.INT32, (1, 1), [[[1]], [[2]]]),
        ([True, False], UNKNOWN, DataType.BOOL, (), [True, False]),
        (["a", "ü"], UNKNOWN, DataType.STRING, (), [b"a", "ü".encode()]),
        ([["a"], ["b"]], UNKNOWN, DataType.STRING, (1,), [b"a", b"b"]),
        ([{"b64": "AAE="}, {"b64": ""}], UNKNOWN, DataType.BYTES, (), [b"\0\1", b""]),
        ([{"b64": "YQ=="}, "b"], DataType.STRING, DataType.STRING, (), [b"a", b"b"]),
        ([{"b64": "AAE="}, "b"], DataType.BYTES, DataType.BYTES, (), [b"\0\1", b"b"]),
        ([1, 2], DataType.FLOAT32, DataType.FLOAT32, (), [1.0, 2.0]),
        ([1 << 24, -(1 << 24)], DataType.FLOAT32, DataType.FLOAT32, (), [2.0**24, -(2.0**24)]),
        ([0.1, 2048], DataType.FLOAT16, DataType.FLOAT16, (), [float(np.float16(0.1)), 2048.0]),
        ([1, 1e-50], DataType.FLOAT32, DataType.FLOAT32, (), [1.0, 0.0]),
        ([(1 << 63) - 1, -(1 << 63)], DataType.INT64, DataType.INT64, (), [(1 << 63) - 1, -(1 << 63)]),
        ([(1 << 64) - 1, 0], DataType.UINT64, DataType.UINT64, (), [(1 << 64) - 1, 0]),
        ([255, 0], DataType.UINT8, DataType.UINT8, (), [255, 0]),
        ([[], []], UNKNOWN, DataType.FLOAT32, (0,), [[], []]),
        ([[], []], DataType.INT64, DataType.INT64, (0,), [[], []]),
    ],
)
@pytest.mark.parametrize("form", ["instances", "inputs", "named instances", "named inputs"])
def test_the_values_of_an_input(
    form: str, values: list[Any], dtype: DataType, expected: DataType, shape: tuple[int, ...], column: Any
) -> None:
    document: dict[str, Any] = {
        "instances": {"instances": values},
        "inputs": {"inputs": values},
        "named instances": {"instances": [{"x": value} for value in values]},
        "named inputs": {"inputs": {"x": values}},
    }[form]
    rows, rest = read(document, one(dtype))
    assert values_of(rows) == [([("x", expected, shape)], [column])]
    assert rest == {
        "method": "one",
        "form": "predictions" if "instances" in form else "outputs",
        "parameters": None,
    }
    assert rows[0].count == len(values)


def test_rows_and_columns_of_several_inputs_come_in_the_order_of_the_method() -> None:
    expected = [([("x", DataType.INT32, ()), ("y", DataType.STRING, ())], [[1, 2], [b"a", b"b"]])]
    for document in (
        {"instances": [{"y": "a", "x": 1}, {"x": 2, "y": "b"}]},
        {"inputs": {"y": ["a", "b"], "x": [1, 2]}},
    ):
        assert values_of(read(document, two())[0]) == expected


def test_rows_that_differ_are_blocks_of_those_that_are_alike() -> None:
    x = [[1], [2], [3, 4], [5, 6], [7, 8]]
    y = ["a", "b", "c", {"b64": "AA=="}, {"b64": "AQ=="}]
    text, raw = ("y", DataType.STRING, ()), ("y", DataType.BYTES, ())
    expected = [
        ([("x", DataType.INT32, (1,)), text], [[[1], [2]], [b"a", b"b"]]),
        ([("x", DataType.INT32, (2,)), text], [[[3, 4]], [b"c"]]),
        ([("x", DataType.INT32, (2,)), raw], [[[5, 6], [7, 8]], [b"\0", b"\1"]]),
    ]
    rows, _ = read({"inputs": {"x": x, "y": y}}, two())
    assert values_of(rows) == expected
    assert [block.count for block in rows] == [2, 1, 2]
    named = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
    assert values_of(read({"instances": named}, two())[0]) == expected


def test_a_value_that_all_rows_have_in_common() -> None:
    methods = methods_of(m=[("x", UNKNOWN, False), ("scale", DataType.FLOAT32, True), ("tag", UNKNOWN, True)])
    document = {"inputs": {"x": [1, 2, 3], "scale": [0.5, 2], "tag": "t"}}
    specs = [("x", DataType.INT32, ()), ("scale", DataType.FLOAT32, (2,)), ("tag", DataType.STRING, ())]
    assert values_of(read(document, methods)[0]) == [(specs, [[1, 2, 3], [[0.5, 2.0]] * 3, [b"t"] * 3])]
    rows = [{"x": x, "scale": [0.5, 2], "tag": "t"} for x in (1, 2, 3)]
    assert values_of(read({"instances": rows}, methods)[0]) == [
        (specs, [[1, 2, 3], [[0.5, 2.0]] * 3, [b"t"] * 3])
    ]
    alone = methods_of(m=[("scale", DataType.FLOAT32, True)])
    rows_of_one, _ = read({"inputs": [0.5, 2]}, alone)
    assert values_of(rows_of_one) == [([("scale", DataType.FLOAT32, (2,))], [[[0.5, 2.0]]])]


def test_a_common_value_does_not_become_too_much() -> None:
    methods = methods_of(m=[("x", UNKNOWN, False), ("scale", DataType.FLOAT64, True), ("tag", UNKNOWN, True)])
    rows = (1 << 16) + 1
    for shared in ({"scale": [0] * 1024, "tag": ""}, {"scale": 0, "tag": "t" * 8192}):
        with pytest.raises(InvalidInput, match="65537 rows have in common, which is more than 536870912"):
            read({"inputs": {"x": [1] * rows, **shared}}, methods)


def test_a_method_without_inputs_has_as_many_rows_as_objects() -> None:
    rows, _ = read({"instances": [{}, {}]}, methods_of(m=[]))
    assert [(block.specs, block.count) for block in rows] == [((), 2)]
    rows, _ = read({"inputs": {}}, methods_of(m=[]))
    assert [(block.specs, block.count) for block in rows] == [((), 1)]


@pytest.mark.parametrize(
    ("name", "method"),
    [("", "one"), ("serving_default", "one"), ("one", "one"), ("other", "other")],
)
def test_the_signature_is_the_method(name: str, method: str) -> None:
    methods = methods_of(one=[("x", UNKNOWN, False)], other=[("z", UNKNOWN, False)])
    rows, rest = read({"instances": [1], "signature_name": name, "more": {}}, methods)
    assert rest["method"] == method
    assert rows[0].specs[0].name == ("x" if method == "one" else "z")
    assert read({"instances": [1]}, methods)[1]["method"] == "one"


def test_parameters_are_passed_on() -> None:
    assert read({"instances": [1], "parameters": {"k": [1]}}, one())[1]["parameters"] == {"k": [1]}


def test_a_method_may_be_called_as_the_default_signature() -> None:
    methods = methods_of(one=[("x", UNKNOWN, False)], serving_default=[("z", UNKNOWN, False)])
    assert (
        read({"instances": [1], "signature_name": "serving_default"}, methods)[1]["method"]
        == "serving_default"
    )


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite(token: str) -> None:
    for methods in (one(), one(DataType.FLOAT64)):
        [block], _ = read(f'{{"instances": [1.5, {token}]}}'.encode(), methods)
        [column] = block.columns
        assert not isinstance(column, list)
        np.testing.assert_array_equal(column, [1.5, float(token)])
    with pytest.raises(
        InvalidInput, match=rf"'x' takes int32, but got {token.lower()[:4]}|takes int32, but got"
    ):
        read(f'{{"instances": [1, {token}]}}'.encode(), one(DataType.INT32))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


F32, I8 = DataType.FLOAT32, DataType.INT8


@pytest.mark.parametrize(
    ("body", "methods", "text"),
    [
        (b"", one(), "JSON Parse error"),
        (b"{", one(), "JSON Parse error"),
        (b'{"instances": [NaN', one(), "JSON Parse error"),
        (b'{"instances": [nan]}', one(), "JSON Parse error"),
        (b'{"instances": [Infinity, ' + b"[" * 100000, one(), "JSON Parse error: nested too deeply"),
        (b'{"instances": [NaN, ' + b"9" * 5000 + b"]}", one(), "JSON Parse error"),
        (b"[" * 100000, one(), "JSON Parse error"),
        (b'{"instances": ["\xff"]}', one(), "JSON Parse error"),
        ([1], one(), "The body should be a JSON object with 'instances' or 'inputs'"),
        ({}, one(), "one of the keys 'instances' and 'inputs', but has neither"),
        ({"instances": [1], "inputs": [1]}, one(), "but has both"),
        ({"instances": [1], "signature_name": 3}, one(), "'signature_name' should be a string"),
        ({"instances": [1], "signature_name": None}, one(), "'signature_name' should be a string"),
        ({"instances": [1], "signature_name": "z" * 500}, one(), r"the methods of model 'm' are one$"),
        ({"instances": [1], "parameters": 3}, one(), "'parameters' should be an object, but got a number"),
        ({"instances": [1], "parameters": {"a": nested(300)}}, one(), "'parameters' cannot be passed on"),
        (
            b'{"instances": [NaN], "parameters": {"a": %d}}' % (1 << 70),
            one(),
            "'parameters' cannot be passed on",
        ),
        (b'{"instances": ["\\ud800"]}', one(), "JSON Parse error"),
        (b'{"instances": [NaN, "\\uD800"]}', one(), "JSON Parse error"),
        ({"instances": 3}, one(), "'instances' should be a list of rows, but got a number"),
        ({"instances": {"x": 1}}, one(), "but got an object"),
        ({"instances": None}, one(), "but got null"),
        ({"instances": "abc"}, one(), "but got a string"),
        ({"instances": []}, one(), "'instances' has no rows"),
        ({"instances": [1]}, two(), "has values without names, but the method has 2 inputs: x, y"),
        ({"instances": [1]}, methods_of(m=[]), "but the method has 0 inputs: none"),
        ({"instances": [{"x": 1}, 2]}, one(), "Row 1 of 'instances' is a value, but row 0 is an object"),
        ({"instances": [1, {"x": 2}]}, one(), "Row 1 of 'instances' is an object of names, but row 0"),
        (
            {"instances": [{"x": 1, "y": 1}, {"x": 1}]},
            two(),
            "Row 1 of 'instances' has no input 'y', inputs are x, y",
        ),
        (
            {"instances": [{"x": 1, "z": 1}]},
            one(),
            "Row 0 of 'instances' has the unknown input 'z', inputs are x",
        ),
        ({"instances": [{}]}, one(), "Row 0 of 'instances' has no input 'x'"),
        ({"instances": [{"x": 1}]}, methods_of(m=[]), "has the unknown input 'x', inputs are none"),
        (
            {"inputs": 3},
            one(),
            "Input 'x' in 'inputs' should be a list with a value for each row, but got a number",
        ),
        ({"inputs": []}, one(), "but got an empty list"),
        ({"inputs": {"x": []}}, one(), "but got an empty list"),
        ({"inputs": {"b64": "AA=="}}, one(), "but got an object"),
        ({"inputs": [1]}, two(), "'inputs' is a value without a name, but the method has 2 inputs"),
        ({"inputs": {"x": [1]}}, two(), "'inputs' has no input 'y'"),
        ({"inputs": {"x": [1], "y": [1], "z": [1]}}, two(), "'inputs' has the unknown input 'z'"),
        ({"inputs": {"x": [1, 2], "y": [1]}}, two(), "same number of rows, but 'x' has 2, 'y' has 1"),
        ({"instances": [[1, [2]]]}, one(), "Input 'x' is no tensor: it has lists beside single values"),
        ({"instances": [[[1], [2, 3]]]}, one(), "it has lists of 1 and of 2 elements"),
        ({"instances": [[1], [[1], [2, 3]]]}, one(), "it has lists of 1 and of 2 elements"),
        ({"instances": [None]}, one(), "Input 'x' has null where a value is expected"),
        ({"instances": [[1, None]]}, one(F32), "null"),
        (
            {"instances": [[1, "a"]]},
            one(),
            "Input 'x' has 1 beside the string 'a', but all should be of one type",
        ),
        ({"instances": [[True, 1]]}, one(), "Input 'x' has true beside 1"),
        ({"instances": [[["a", "b"]]]}, one(), "has 2 texts in a row, but one is expected"),
        ({"instances": [["a", {"b64": ""}]]}, one(), "it has text beside bytes"),
        ({"instances": [{"b64": "AA="}]}, one(), "Input 'x' has 'AA=', which is not base64"),
        ({"instances": [{"b64": "ü"}]}, one(), "which is not base64"),
        ({"instances": [{"b64": 3}]}, one(), "Input 'x' has an object where"),
        ({"instances": [{"x": {"b64": "AA==", "type": "int8"}}]}, one(), "Input 'x' has an object where"),
        ({"instances": [[{"y": 1}]]}, one(), "Input 'x' has an object where"),
        (
            {"instances": [{"b64": "/w=="}]},
            one(DataType.STRING),
            "takes text, but got bytes that are not UTF-8",
        ),
        ({"instances": ["a"]}, one(F32), "Input 'x' takes float32, but got the string 'a'"),
        ({"instances": [1]}, one(DataType.STRING), "Input 'x' takes string, but got 1"),
        ({"instances": [True]}, one(F32), "Input 'x' takes float32, but got true"),
        ({"instances": [1]}, one(DataType.BOOL), "Input 'x' takes bool, but got 1"),
        ({"instances": [1, 1.5]}, one(I8), "Input 'x' takes int8, but got 1.5"),
        ({"instances": [1, 128]}, one(I8), "Input 'x' has 128, which is out of the range of int8"),
        ({"instances": [-1]}, one(DataType.UINT64), "has -1, which is out of the range of uint64"),
        ({"instances": [1 << 31]}, one(), "has 2147483648, which is out of the range of int32"),
        ({"instances": [1e39]}, one(), r"has 1e\+39, which is out of the range of float32"),
        (
            {"instances": [70000.0]},
            one(DataType.FLOAT16),
            "has 70000.0, which is out of the range of float16",
        ),
        (
            {"instances": [(1 << 24) + 1]},
            one(F32),
            "has 16777217, which float32 does not hold exactly; add .0",
        ),
        ({"instances": [[]]}, one(DataType.STRING), "is an empty list, but a text is expected"),
        ({"instances": [[[]] * 2000]}, one(), "which has too many empty lists"),
    ],
)
def test_a_body_that_is_refused(body: Any, methods: Methods, text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as refused:
        read(body, methods)
    assert len(str(refused.value)) < 1000


def test_there_are_only_so_many_dimensions() -> None:
    value: Any = 1
    for _ in range(31):
        value = [value]
    rows, _ = read({"instances": [value]}, one())
    assert len(rows[0].specs[0].shape) == 31
    with pytest.raises(InvalidInput, match="more than 31 dimensions"):
        read({"instances": [[value]]}, one())
