"""Arrays as numpy.save writes them, and what strangers may send instead."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as some_numpy

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.paddle.saved_array import read_saved_array
from mindspore_serving.tensor import DATA_TYPE_OF, NUMPY_OF


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@settings(max_examples=100, deadline=None)
@given(
    some.sampled_from(list(NUMPY_OF.values())).flatmap(
        lambda dtype: some_numpy.arrays(dtype, some_numpy.array_shapes(min_dims=0, max_dims=4, max_side=3))
    ),
    some.booleans(),
    some.booleans(),
)
def test_all_arrays(array: Any, fortran: bool, swapped: bool) -> None:
    sent = np.asfortranarray(array).reshape(array.shape) if fortran else array
    if swapped:
        sent = sent.astype(sent.dtype.newbyteorder(">"))
    read = read_saved_array("x", saved(sent))
    assert read.dtype in DATA_TYPE_OF
    assert read.shape == array.shape
    assert read.flags.c_contiguous
    assert read.tobytes() == array.tobytes()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    size = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode() + data


class Evil:
    """What would run something if it were read."""

    def __reduce__(self) -> Any:
        raise AssertionError("it was pickled, and never read")


FORM = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "begins with b''"),
        (b"\x93NUMPY", "is no array as numpy.save writes it"),
        (b"\x93NUMPY\x03\x00" + bytes(100), "is no array as numpy.save writes it"),
        (saved(np.zeros(3))[:-1], "has 23 bytes of elements, expected 24"),
        (saved(np.zeros(3)) + b"1", "has 25 bytes of elements, expected 24"),
        (saved(np.array(["a"])), "is an array of '<U1', expected numbers or bool"),
        (saved(np.array([b"a"])), "is an array of '|S1'"),
        (saved(np.array([1j])), "is an array of '<c16'"),
        (
            saved(np.array([{}], object)),
            "is an array of '|O', expected numbers or bool: objects and text are not read",
        ),
        (saved(np.zeros(2, "i4,f4")), "its header is"),
        (pickle.dumps([1]), "is no array"),
        (header(FORM % "99999999999,99999999999"), "which is too large"),
        (header(FORM % "1099511627776,"), "has 0 bytes of elements"),
        (header(FORM % "0,99999999999999999999999999"), "which is too large"),
        (header(FORM % ",".join(["1"] * 40)), "has 40 dimensions"),
        (header(FORM % "-1,"), "its header is"),
        (header(FORM % "1" + "+" * 900), "its header is"),
        (header(FORM % "__import__('os').abort()"), "its header is"),
        (header("[" * 60_000), "its header is"),
        (header("{'descr': '<f99999', 'fortran_order': False, 'shape': (), }"), "is an array of '<f99999'"),
        (header("{'descr': '|b1', 'fortran_order': False, 'shape': (1,), }", b"\x02"), "neither 0 nor 1"),
    ],
)
def test_what_is_no_array(data: bytes, text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_saved_array("x", data)
    assert text in str(raised.value)
    assert len(str(raised.value)) < 500


def test_version_two_and_a_single_number() -> None:
    text = "{'descr': '<i2', 'fortran_order': False, 'shape': (), }\n"
    assert read_saved_array("x", header(text, b"\x07\x00", b"\x02\x00")) == 7
