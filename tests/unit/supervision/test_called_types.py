"""What a method knows of itself by what it calls: one input or output at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mindspore_serving.errors import StartUpError
from mindspore_serving.server.supervision.called_types import with_called_types
from mindspore_serving.signature import CalledMethod, MethodSignature, TensorType
from mindspore_serving.tensor import DataType

F32, I32, I64, STRING = DataType.FLOAT32, DataType.INT32, DataType.INT64, DataType.STRING


def method(*inputs: TensorType, outputs: tuple[TensorType, ...] = (), rows: bool = False) -> MethodSignature:
    names = tuple(one.name for one in inputs), tuple(one.name for one in outputs)
    return MethodSignature("m", names[0], 8, output_names=names[1], inputs=inputs, outputs=outputs, rows=rows)


def call(
    given: tuple[int, ...] = (0,), results: tuple[int, ...] = (0,), models: bool = False
) -> CalledMethod:
    return CalledMethod("m", "inner", "n", 0, 1, 1, given, results, models)


def input_of(own: TensorType, *called: TensorType) -> TensorType:
    """An input that goes straight into each of these."""
    calls = [(call(), method(one)) for one in called]
    return with_called_types("method 'outer.m'", method(own), calls).inputs[0]


def output_of(own: TensorType, called: TensorType) -> TensorType:
    """An output that comes straight out of this."""
    calls = [(call(), method(outputs=(called,)))]
    return with_called_types("method 'outer.m'", method(outputs=(own,)), calls).outputs[0]


OWN = TensorType("x")
IMAGE = TensorType("image", F32, (3, -1), "image", declared=True, description="a cat", file_name="data")
OF_FILE = TensorType("image", F32, (3, 8), shared=True, file_name="data")


def test_an_input_is_what_the_called_method_takes() -> None:
    assert input_of(OWN, IMAGE) == replace(IMAGE, name="x")
    assert input_of(OWN, OF_FILE) == replace(OF_FILE, name="x")


def test_an_input_of_several_calls_is_what_all_take() -> None:
    other = replace(OF_FILE, name="other", shared=False, file_name="other")
    assert input_of(OWN, OF_FILE, other) == TensorType("x", F32, (3, 8))
    assert input_of(OWN, OF_FILE, replace(OF_FILE, dtype=I32)) == TensorType("x", shape=(3, 8), shared=True)
    assert input_of(OWN, OF_FILE, IMAGE) == TensorType("x", F32)
    assert input_of(OWN, IMAGE, replace(IMAGE, content="")) == TensorType(
        "x", F32, (3, -1), declared=True, file_name="data"
    )
    assert input_of(OWN, TensorType("unknown"), OF_FILE) == replace(OF_FILE, name="x")


def test_an_input_of_a_model_and_a_call_is_what_both_take() -> None:
    own = TensorType("x", I64, (3, 8))
    assert input_of(own, OF_FILE) == TensorType("x", shape=(3, 8))
    assert input_of(replace(own, dtype=F32), OF_FILE) == TensorType("x", F32, (3, 8))


def test_what_is_declared_of_an_input_wins() -> None:
    own = TensorType("x", F32, (-1, 8), declared=True, description="mine")
    assert input_of(own, IMAGE) == replace(own, shape=(3, 8))
    assert input_of(replace(own, shape=None), OF_FILE, IMAGE) == replace(own, shape=(3, 8))
    assert input_of(TensorType("x", description="mine"), IMAGE).description == "mine"


@pytest.mark.parametrize(
    "own", [TensorType("x", I32, (3, 8)), TensorType("x", F32, (3, 9)), TensorType("x", F32, (3,))]
)
def test_what_is_declared_may_not_contradict(own: TensorType) -> None:
    own = replace(own, declared=True)
    with pytest.raises(StartUpError) as refused:
        input_of(own, OF_FILE)
    assert str(refused.value) == (
        f"The input 'x' of method 'outer.m' is declared as {own.text}, but goes into 'image' of method 'inner.n', "
        "which is float32 of shape [3, 8]; declare that, or leave it out"
    )
    with pytest.raises(StartUpError, match=r"output 'x' of .* comes from 'image' of method 'inner\.n'"):
        output_of(own, OF_FILE)


def test_an_output_is_what_the_called_method_gives() -> None:
    assert output_of(OWN, IMAGE) == replace(IMAGE, name="x", declared=False)
    assert output_of(TensorType("x", description="mine"), IMAGE).description == "mine"
    own = TensorType("x", F32, (-1, 8), declared=True)
    assert output_of(own, IMAGE) == replace(own, shape=(3, 8), file_name="data")
    assert output_of(OWN, TensorType("nothing")) == OWN


def test_what_only_examples_have_shown_contradicts_nothing() -> None:
    own = TensorType("x", F32, (-1,), declared=True)
    assert output_of(own, TensorType("y", F32, (3,))) == own
    assert output_of(own, TensorType("y", I32, (3,))) == own


def test_each_input_and_output_goes_its_own_way() -> None:
    inner = method(
        TensorType("a", F32, (1,)),
        TensorType("b", I32, (2,)),
        outputs=(TensorType("c", I64, (3,)), TensorType("d", STRING, ())),
    )
    outer = method(
        TensorType("x"), TensorType("y"), outputs=(TensorType("p"), TensorType("q"), TensorType("r"))
    )
    known = with_called_types("m", outer, [(call((1, -1), (1, -1, 0)), inner)])
    assert [one.text for one in known.inputs] == ["of any type", "float32 of shape [1]"]
    assert [one.text for one in known.outputs] == ["text", "of any type", "int64 of shape [3]"]


def test_parameters_of_the_called_method_are_no_input() -> None:
    known = with_called_types("m", method(OWN), [(call((0, -1)), method(OF_FILE))])
    assert known.inputs[0].dtype is F32


ROWS = method(TensorType("a", F32, (1,)), rows=True)
ONE = method(TensorType("a", F32, (1,)))
NOTHING = method(TensorType("a"))
PIPELINE = replace(ONE, waits=True, batch_limit=1)


@pytest.mark.parametrize(
    ("own", "models", "called", "rows"),
    [
        (False, False, [ROWS], True),
        (False, False, [NOTHING], False),
        (True, False, [NOTHING], True),  # it declares something
        (True, False, [ONE], False),
        (False, False, [ROWS, ONE], False),
        (False, False, [ROWS, NOTHING], True),
        (False, True, [ROWS], False),  # its model has no batch dimension
        (True, True, [NOTHING], True),
        (False, False, [PIPELINE], False),
        (True, False, [PIPELINE], True),
    ],
)
def test_what_a_request_of_tensors_means(
    own: bool, models: bool, called: list[MethodSignature], rows: bool
) -> None:
    calls = [(call((-1,), (), models), one) for one in called]
    assert with_called_types("m", method(OWN, rows=own), calls).rows == rows


def test_an_input_that_becomes_known_counts_instances() -> None:
    assert with_called_types("m", method(OWN), [(call(), PIPELINE)]).rows
