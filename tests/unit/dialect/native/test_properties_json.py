"""REST bodies of any form: they are read as NumPy would read them, or refused with a short text."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mindspore_serving.errors import InvalidInput
from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.native.json_codec import encode_reply, parse_body, read_instances
from mindspore_serving.tensor import MAX_DIMENSIONS, NUMPY_OF, DataType, TensorSpec
from tests.fuzz import json_body
from tests.fuzz.oracle import LONGEST_TEXT

many = settings(max_examples=200)
SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.text(max_size=5)
    | some.sampled_from(["\ud800", "YWJj", "YWI", "!!!!", ""])
)
B64 = some.dictionaries(
    some.sampled_from(["b64", "type", "shape", "other"]),
    some.sampled_from(["YWJjZA==", "", "int8", "fp32", "str", "bytes", 3])
    | some.lists(some.integers(-1, 3) | some.sampled_from([2**31, 2**62, 2**63, 1.5]), max_size=4),
)
VALUES = some.recursive(SCALARS | B64, lambda inner: some.lists(inner, max_size=3), max_leaves=12)
INSTANCES = some.lists(some.dictionaries(some.sampled_from(["x", "y", ""]), VALUES, max_size=2), max_size=4)
NUMERIC = [dtype for dtype in DataType if dtype in NUMPY_OF]


def read(document: Any) -> list[Rows]:
    return read_instances(
        parse_body(document if isinstance(document, bytes) else json.dumps(document).encode())
    )


def refusal(document: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        read(document)
    text = str(refused.value)
    assert 0 < len(text) <= LONGEST_TEXT
    return text


@many
@given(INSTANCES)
def test_any_instances(instances: list[Any]) -> None:
    json_body.one_input(json.dumps({"instances": instances}).encode())


@many
@given(
    some.recursive(
        SCALARS,
        lambda inner: (
            some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_any_document(document: Any) -> None:
    json_body.one_input(json.dumps(document).encode())


@many
@given(some.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    json_body.one_input(body)
    json_body.one_input(b'{"instances":[{"x":' + body + b"}]}")


@many
@given(some.sampled_from(NUMERIC), some.lists(some.integers(0, 4), max_size=4), some.integers(0, 40))
def test_data_in_base64_is_read_where_it_fills_the_shape(
    dtype: DataType, shape: list[int], size: int
) -> None:
    raw = bytes(i % 2 for i in range(size))
    value = {"b64": base64.b64encode(raw).decode(), "type": dtype.name.lower(), "shape": shape}
    if 0 in shape[:-1] or np.prod(shape, dtype=int) * NUMPY_OF[dtype].itemsize != size:
        assert refusal({"instances": [{"x": value}]}).startswith("Parser request failed, ")
        return
    [rows] = read({"instances": [{"x": value}]})
    [column] = rows.columns
    assert isinstance(column, np.ndarray)
    assert (column.shape, column.dtype) == ((1, *shape), NUMPY_OF[dtype])
    assert column.tobytes() == raw
    assert json.loads(encode_reply([rows])[1]) == {
        "instances": [{"x": json_body._finite_only(column[0].tolist())}]
    }


@pytest.mark.parametrize(
    "dims", [[2**31, 2**31, 4], [2**62, 2**62, 0], [2**63, 0], [10**9, 0], [1] * 40, [0, 1], [-1]]
)
@pytest.mark.parametrize("kind", ["int8", "fp64"])
def test_an_absurd_shape_is_refused(dims: list[int], kind: str) -> None:
    text = refusal({"instances": [{"x": {"b64": "", "type": kind, "shape": dims}}]})
    assert "shape" in text or "size is not matched" in text


@pytest.mark.parametrize("count", [1, 2])
def test_as_many_dimensions_as_numpy_has_are_read_and_no_more(count: int) -> None:
    def nested(depth: int) -> Any:
        return [nested(depth - 1)] if depth else 1

    [rows] = read({"instances": [{"x": nested(MAX_DIMENSIONS)}] * count})
    assert rows.specs[0].shape == (1,) * MAX_DIMENSIONS
    assert "dimensions are not supported" in refusal(
        {"instances": [{"x": nested(MAX_DIMENSIONS + 1)}] * count}
    )


@pytest.mark.parametrize("depth", [900, 990, 1000, 1023, 1024, 100_000])
@pytest.mark.parametrize("inner", [b"1", b"1234567890123456789", b""])
@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, inner: bytes, open_: bytes, close: bytes) -> None:
    refusal(open_ * depth + inner + close * depth)
    refusal(b'{"instances":[{"x":' + open_ * depth + inner + close * depth + b"}]}")


@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'"\\ud800"',
        b'"\xff"',
        b"1e400",
        b"1" * 30,
        b"-" + b"9" * 5000,
        b"01",
        b"'a'",
    ],
)
def test_what_is_no_json_or_no_number_is_refused(value: bytes) -> None:
    assert "JSON" in (text := refusal(b'{"instances":[{"x":' + value + b"}]}")) or "int32 range" in text


FLOATS = (DataType.FLOAT16, DataType.FLOAT32, DataType.FLOAT64)
NUMBERS = (
    some.integers(-(2**70), 2**70)
    | some.sampled_from([2**11 + 1, 2**24 + 1, 2**53 + 1, 65520, 2**128, 2**1023, -(2**24), 10**308])
    | some.floats(allow_nan=False, allow_infinity=False)
)


@many
@given(some.sampled_from(FLOATS), some.lists(NUMBERS, min_size=1, max_size=3), some.integers(1, 40))
def test_a_model_gets_the_number_that_was_sent_or_the_nearest_one(
    dtype: DataType, numbers: list[float], times: int
) -> None:
    values = numbers * times
    document = {"instances": [{"x": values}] * 2}
    with np.errstate(over="ignore"):
        nearest = np.array([float(number) for number in values]).astype(NUMPY_OF[dtype])
    fits = bool(np.isfinite(nearest).all())
    exact = fits and all(type(n) is float or int(held) == n for n, held in zip(values, nearest, strict=True))
    if not exact:
        text = str(_refusal(document, {"x": dtype}))
        assert "input x has " in text
        assert ("not exact" in text) if fits else ("not exact" in text or "out of" in text)
        return
    [rows] = read_instances(parse_body(json.dumps(document).encode()), {"x": dtype})
    [spec], [column] = rows.specs, rows.columns
    assert (spec.dtype, spec.shape) == (dtype, (len(values),))
    assert isinstance(column, np.ndarray)
    assert column.tobytes() == nearest.tobytes() * 2


def _refusal(document: Any, types: dict[str, DataType]) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        read_instances(parse_body(json.dumps(document).encode()), types)
    return refused.value


@pytest.mark.parametrize("kind", [DataType.INT32, DataType.BOOL, DataType.STRING])
def test_types_that_json_has_change_nothing(kind: DataType) -> None:
    for value in (1, 1.5, [1, 2], [1, 2.5], True, "a", {"b64": "AQ==", "type": "int8"}):
        [plain], [told] = (
            read_instances({"instances": [{"x": value}]}, types) for types in ({}, {"x": kind})
        )
        assert plain.specs == told.specs


@pytest.mark.parametrize("value", [True, [True], "a", {"b64": "AQ==", "type": "int8"}])
def test_what_is_no_number_stays_what_it_is_where_a_model_takes_floats(value: Any) -> None:
    [plain], [told] = (
        read_instances({"instances": [{"x": value}]}, types) for types in ({}, {"x": DataType.FLOAT32})
    )
    assert plain.specs == told.specs


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("count", [1, 100])
def test_replies_hold_the_numbers_that_they_are_made_of(dtype: DataType, count: int) -> None:
    kind = NUMPY_OF[dtype]
    if kind.kind == "b":
        ends = [False, True]
    else:
        limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        ends = [limits.min, limits.max]
    column = np.array([ends * count], kind)
    rows = Rows((TensorSpec("y", dtype, (2 * count,)),), (column,), 1)
    [instance] = json.loads(encode_reply([rows])[1])["instances"]
    assert instance["y"] == column[0].tolist()


def test_of_keys_that_come_twice_the_last_counts() -> None:
    [rows] = read(b'{"instances":[{"x":9}],"instances":[{"x":1,"x":2}]}')
    assert [column.tolist() for column in rows.columns if isinstance(column, np.ndarray)] == [[2]]


@pytest.mark.parametrize(
    "value",
    [
        {"b64": "x" * 1_000_001},
        {"b64": "x" * 1_000_000 + "!!!!"},
        {"b64": "", "type": "x" * 1_000_000},
        {"x" * 1_000_000: ""},
        {"b64": "", "type": "int8", "shape": [2**60] * 100_000},
        {"b64": "", "type": "int8", "shape": ["x" * 1_000_000]},
        ["x" * 1_000_000] * 2,
    ],
    ids=range(7),
)
def test_a_refusal_does_not_repeat_all_that_was_sent(value: Any) -> None:
    refusal({"instances": [{"x": value}]})


@many
@given(some.text(string.printable, max_size=130))
def test_what_is_short_is_repeated_whole(text: str) -> None:
    if len(text) % 4 == 0:
        return
    expected = text if len(text) <= 100 else f"{text[:100]}... ({len(text)} characters)"
    assert refusal({"instances": [{"x": {"b64": text}}]}).endswith(
        f"'{expected}' is illegal b64 encode string"
    )
