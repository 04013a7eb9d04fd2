"""What all backends do alike before and after a library runs a model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mindspore_serving.errors import InvalidInput, StartUpError
from mindspore_serving.server.backend.contract import LoadRequest
from mindspore_serving.server.backend.dynamic_batch import (
    agree,
    check_only_batch_varies,
    rows_to_try,
    sample_of,
)
from mindspore_serving.server.backend.encrypted_model import mode_of_file
from mindspore_serving.server.backend.input_check import InputCheck, contiguous
from mindspore_serving.server.backend.lite.backend import LiteBackend
from mindspore_serving.server.backend.mindspore.backend import MindSporeBackend
from mindspore_serving.server.backend.run_errors import model_closed, run_failed
from mindspore_serving.signature import GraphSignature
from mindspore_serving.tensor import Array, DataType, TensorSpec


def request(
    path: Path = Path("m.mindir"), with_batch_dim: bool = True, without: tuple[int, ...] = ()
) -> LoadRequest:
    return LoadRequest(path, with_batch_dim, without, 8, "cpu", 0)


DYNAMIC = TensorSpec("x", DataType.FLOAT32, (-1, 2))
FIXED = TensorSpec("x", DataType.FLOAT32, (4, 2))
LONG = TensorSpec("x", DataType.FLOAT32, (-1, -1, 2))


@pytest.mark.parametrize(
    ("inputs", "with_batch_dim", "without", "refused"),
    [
        ([DYNAMIC, FIXED], True, (), -1),
        ([DYNAMIC, DYNAMIC], True, (1,), 1),
        ([FIXED, DYNAMIC], False, (), 1),
        ([FIXED], False, (), -1),
        ([FIXED, LONG], True, (), 1),
        ([LONG], True, (0,), 0),
    ],
)
def test_a_dynamic_dimension_is_the_batch(
    inputs: list[TensorSpec], with_batch_dim: bool, without: tuple[int, ...], refused: int
) -> None:
    given = request(with_batch_dim=with_batch_dim, without=without)
    if refused < 0:
        check_only_batch_varies(inputs, given, "Any Library")
        return
    with pytest.raises(StartUpError) as error:
        check_only_batch_varies(inputs, given, "Any Library")
    shape = list(inputs[refused].shape)
    assert str(error.value).startswith(
        f"The shape of model input {refused} is invalid, shape: {shape}, a dynamic dimension must be the batch in Any "
        f"Library, but with_batch_dim is {with_batch_dim} and without_batch_dim_inputs is {list(without)}; export the"
    )


@pytest.mark.parametrize(("most", "expected"), [(1, [1]), (2, [1, 2]), (64, [1, 2])])
def test_rows_to_try(most: int, expected: list[int]) -> None:
    assert rows_to_try(most) == expected


def test_samples_are_fractions_in_no_order_and_valid_indices() -> None:
    fractions = sample_of(DYNAMIC, 3)
    assert (fractions.dtype, fractions.shape) == (np.float32, (3, 2))
    assert ((fractions >= 0) & (fractions < 1)).all()
    assert (
        len(set(fractions.ravel().tolist())) == 6
    )  # equal rows would hide that an output depends on all of them
    np.testing.assert_array_equal(sample_of(DYNAMIC, 3), fractions)
    assert sample_of(LONG, 3, 5).shape == (3, 5, 2)
    assert sample_of(LONG, 3, 5, batched=False).shape == (5, 5, 2)
    assert sample_of(DYNAMIC._replace(dtype=DataType.STRING, shape=(-1, 1)), 2).tolist() == [["text"]] * 2
    assert sample_of(DYNAMIC._replace(dtype=DataType.BYTES, shape=()), 2).tolist() == b"text"
    indices = sample_of(FIXED._replace(dtype=DataType.INT32), 3)
    assert (indices.dtype, indices.shape, indices.any()) == (np.int32, (4, 2), False)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (np.ones(2), np.ones(2) + 1e-7, True),
        (np.array([np.nan]), np.array([np.nan]), True),
        (np.ones(2), np.ones(2) * 1.01, False),
        (np.ones(2), np.ones((2, 1)), False),
    ],
)
def test_outputs_that_agree(one: Array, other: Array, expected: bool) -> None:
    assert agree(one, other) is expected


def test_only_other_layouts_are_copied() -> None:
    plain, turned = np.zeros((2, 3)), np.zeros((2, 3)).T
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    one, two, three = contiguous([plain, turned, frozen])
    assert one is plain
    assert two.flags.c_contiguous
    assert three.flags.c_contiguous


@pytest.mark.parametrize("backend", [MindSporeBackend(), LiteBackend()], ids=["mindspore", "lite"])
def test_a_path_that_libraries_cannot_be_given(backend: MindSporeBackend | LiteBackend) -> None:
    path = Path(os.fsdecode(b"/models/\xff/m.mindir"))
    with pytest.raises(StartUpError) as refused:
        backend.load(request(path))
    assert str(refused.value) == (
        r"The path b'/models/\xff/m.mindir' is no UTF-8, expected one that is, since models cannot be loaded from "
        "others: rename the folder whose name is not"
    )


@pytest.mark.parametrize("backend", [MindSporeBackend(), LiteBackend()], ids=["mindspore", "lite"])
def test_a_file_that_cannot_be_read(tmp_path: Path, backend: MindSporeBackend | LiteBackend) -> None:
    text = f"Model file '{tmp_path}': the file cannot be read: Is a directory"
    with pytest.raises(StartUpError) as refused:
        backend.load(request(tmp_path))
    assert str(refused.value) == text
    with pytest.raises(StartUpError) as refused:
        mode_of_file(tmp_path)
    assert str(refused.value) == text


def test_what_is_said_of_a_run_that_failed() -> None:
    assert str(run_failed("no memory")) == "Serving Error: runtime error occurred: no memory"
    assert str(model_closed()) == "Serving Error: runtime error occurred: the model is closed"


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((3, 1, 2), 3),
        ((1, 7, 2), 1),
        ((9, 7, 2), None),
        ((3, 0, 2), None),
        ((0, 1, 2), None),
        ((3, 7, 1), None),
    ],
)
def test_arrays_of_any_length(shape: tuple[int, ...], rows: int | None) -> None:
    check = InputCheck(GraphSignature((LONG,), ()), 8)
    if rows is None:
        with pytest.raises(InvalidInput, match="Given model input 0"):
            check.rows_of([np.zeros(shape, np.float32)])
    else:
        assert check.rows_of([np.zeros(shape, np.float32)]) == rows


def test_a_first_dimension_that_is_no_batch_may_be_larger_than_one() -> None:
    check = InputCheck(GraphSignature((DYNAMIC, DYNAMIC), ()), 2, request(without=(1,)).without_batch(2))
    assert check.rows_of([np.zeros((2, 2), np.float32), np.zeros((9, 2), np.float32)]) == 2
    check = InputCheck(GraphSignature((DYNAMIC,), ()), 2, request(with_batch_dim=False).without_batch(1))
    assert check.rows_of([np.zeros((9, 2), np.float32)]) == 0


def test_arrays_of_text() -> None:
    check = InputCheck(GraphSignature((DYNAMIC._replace(dtype=DataType.STRING, shape=(-1, 1)),), ()), 8)
    assert check.rows_of([np.array([["a"], ["b"]], object)]) == 2
    with pytest.raises(InvalidInput, match="expected str"):
        check.rows_of([np.zeros((2, 1), np.float32)])
