"""Results to replies of `:predict`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mindspore_serving.rows import Rows
from mindspore_serving.server.dialect.kserve_v1.reply_body import encode_reply
from mindspore_serving.tensor import NUMPY_OF, DataType, TensorSpec


def rows(**columns: Any) -> Rows:
    """Rows of arrays, of text, or of bytes."""
    specs, data = [], []
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            dtype = next(kind for kind, dtype in NUMPY_OF.items() if dtype == column.dtype)
            specs.append(TensorSpec(name, dtype, column.shape[1:]))
            data.append(column)
        else:
            text = isinstance(column[0], str)
            specs.append(TensorSpec(name, DataType.STRING if text else DataType.BYTES, ()))
            data.append([value.encode() if text else value for value in column])
    return Rows(tuple(specs), tuple(data), len(data[0]))


def floats(*values: Any, dtype: str = "<f4") -> np.ndarray[Any, Any]:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("blocks", "by_row", "by_column"),
    [
        ([rows(y=floats(0.1, 3))], "[0.1,3.0]", "[0.1,3.0]"),
        ([rows(y=floats([0.1], [3]))], "[[0.1],[3.0]]", "[[0.1],[3.0]]"),
        ([rows(y=floats(0.5, dtype="<f2"))], "[0.5]", "[0.5]"),
        ([rows(y=floats(0.1, dtype="<f8"))], "[0.1]", "[0.1]"),
        ([rows(y=np.array([1, 2], "<i8"))], "[1,2]", "[1,2]"),
        ([rows(y=np.array([True]))], "[true]", "[true]"),
        ([rows(y=np.zeros((2, 0), "<f4"))], "[[],[]]", "[[],[]]"),
        ([rows(y=floats(1, np.nan, np.inf, -np.inf, 0.1))], "[1.0,NaN,Infinity,-Infinity,0.1]", None),
        ([rows(y=floats([[np.nan, 0.5], [-np.inf, 2]], dtype="<f2"))], "[[[NaN,0.5],[-Infinity,2.0]]]", None),
        ([rows(y=floats(np.nan, 0.1, dtype="<f8"))], "[NaN,0.1]", None),
        ([rows(y=["a", "ü"])], '["a","ü"]', None),
        ([rows(y=[b"\xff"])], '[{"b64":"/w=="}]', None),
        ([rows(y_bytes=["a"])], '[{"b64":"YQ=="}]', None),
        (
            [rows(y=floats(1, 2), z=["a", "b"])],
            '[{"y":1.0,"z":"a"},{"y":2.0,"z":"b"}]',
            '{"y":[1.0,2.0],"z":["a","b"]}',
        ),
        (
            [rows(y=floats(np.nan), z=["ü"], w=np.array([True]), v=np.array([[3]], "<i8"))],
            '[{"y":NaN,"z":"ü","w":true,"v":[3]}]',
            '{"y":[NaN],"z":["ü"],"w":[true],"v":[[3]]}',
        ),
        ([rows(y=floats(1)), rows(y=floats([2, 3]))], "[1.0,[2.0,3.0]]", "[1.0,[2.0,3.0]]"),
        ([Rows((), (), 2)], "[{},{}]", "{}"),
    ],
)
def test_the_reply_in_both_forms(blocks: list[Rows], by_row: str, by_column: str | None) -> None:
    assert encode_reply(blocks, "predictions").decode() == f'{{"predictions":{by_row}}}'
    assert (
        encode_reply(blocks, "outputs").decode()
        == f'{{"outputs":{by_row if by_column is None else by_column}}}'
    )


def test_text_in_a_list_of_its_own_stays_there() -> None:
    block = Rows((TensorSpec("y", DataType.STRING, (1,)),), ([b"a"],), 1)
    assert json.loads(encode_reply([block], "predictions")) == {"predictions": [["a"]]}


def test_numbers_come_back_as_they_were() -> None:
    values = np.random.default_rng(3).standard_normal((50, 3)).astype("<f4")
    for extra in (0.0, np.nan):
        column = values.copy()
        column[0, 0] = extra
        document = json.loads(encode_reply([rows(y=column)], "predictions"))
        np.testing.assert_array_equal(np.array(document["predictions"], "<f4"), column)
