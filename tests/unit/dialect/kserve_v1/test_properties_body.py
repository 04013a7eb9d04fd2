"""Bodies of any form: they are read, or refused with a short text, and what was read comes back from a reply."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some

from tests.fuzz import v1_body

many = settings(max_examples=200)
SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-200, 200)
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.floats(width=32)
    | some.text(max_size=5)
    | some.sampled_from(["\ud800", "YWJj", {"b64": "YWJj"}, {"b64": "/w=="}, {"b64": 1}, {"b": 2}])
)
VALUES = some.recursive(SCALARS, lambda inner: some.lists(inner, max_size=3), max_leaves=8)
SIGNATURES = some.sampled_from([*v1_body.METHODS["inputs"], "serving_default", "no"])
NAMED = some.dictionaries(some.sampled_from(["x", "y"]), VALUES, max_size=2)
BY_ROW = some.lists(VALUES | NAMED, max_size=4)
BY_COLUMN = some.dictionaries(
    some.sampled_from(["x", "y"]), some.lists(VALUES, max_size=4), max_size=2
) | some.lists(VALUES, max_size=4)


def check(signature: str, key: str, values: Any) -> None:
    v1_body.one_input(json.dumps({"signature_name": signature, key: values}).encode())


@many
@given(SIGNATURES, BY_ROW)
def test_any_rows(signature: str, rows: list[Any]) -> None:
    check(signature, "instances", rows)


@many
@given(SIGNATURES, BY_COLUMN)
def test_any_columns(signature: str, columns: Any) -> None:
    check(signature, "inputs", columns)


@many
@given(some.lists(some.lists(some.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=5))
def test_all_floats(rows: list[list[float]]) -> None:
    check("float", "instances", rows)


@many
@given(some.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    v1_body.one_input(body)
    v1_body.one_input(b'{"instances":[' + body + b"]}")
