"""Stages: what functions and models see, give back, and do wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mindspore_serving.client import Client
from tests.conformance.departures import without_advice
from tests.conformance.row import row, stands_for
from tests.support.http_requests import post
from tests.support.serving import RunningServer, add_servable, serving

Array = npt.NDArray[Any]
ONES = np.ones((2, 2), np.float32)
SQUARE = np.array([[1, 2], [3, 4]], np.float32)
ROW = np.array([1, 2], np.float32)

MODELS = [
    "1/tensor_add.mindir",
    "1/tensor_sub.mindir",
    "1/tensor_add_2_1.mindir",
    "1/tensor_sub_2_1.mindir",
    "1/tensor_add_3_2.mindir",
    "1/tensor_add_shared.mindir",
]

CONFIG = (Path(__file__).parent / "stages" / "servable_config.py").read_text()

Infer = Callable[..., Any]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("stages")
    add_servable(folder, "stages", CONFIG, MODELS)
    with serving(folder, ['".", "stages", device_ids=0']) as running:
        yield running


@pytest.fixture(scope="module")
def clients(stages: RunningServer) -> Iterator[dict[str, Client]]:
    """Client of each method in use; one worker process serves all of them."""
    opened: dict[str, Client] = {}
    yield opened
    for client in opened.values():
        client.close()


@pytest.fixture
def infer(stages: RunningServer, clients: dict[str, Client]) -> Iterator[Infer]:
    """`infer(method, instances)`; afterwards the worker of before must still serve."""
    before = stages.workers()

    def call(method: str, instances: Any) -> Any:
        if method not in clients:
            clients[method] = Client(stages.grpc, "stages", method)
        return without_advice(clients[method].infer(instances))

    yield call
    [reply] = call("plus_one", {"x": SQUARE})
    assert same(reply["y"], SQUARE + 1)
    assert len(before) == 1
    assert stages.workers() == before


def same(got: Any, expected: Array) -> bool:
    return got.dtype == expected.dtype and got.shape == expected.shape and bool((got == expected).all())


def failed(function: str, method: str, text: str, index: int = 1) -> str:
    return (
        f"Call Function 'stages.{function}' Failed, method: '{method}', "
        f"stage index(begin with 1): {index}, error msg: {text}"
    )


# --- Functions for one instance ---


@stands_for("5.3-output-one")
def test_one_output(infer: Infer) -> None:
    for method in ("plus_one", "through_lambda", "one_in_a_tuple", "one_in_a_list"):
        replies = infer(method, [{"x": SQUARE * i} for i in range(5)])
        expected = {"plus_one": lambda x: x + 1, "through_lambda": lambda x: x * 3}.get(method, lambda x: x)
        assert [list(reply) for reply in replies] == [["y"]] * 5
        assert all(same(reply["y"], expected(SQUARE * i)) for i, reply in enumerate(replies))


@pytest.mark.parametrize(
    "method",
    [
        row("5.3-output-tuple", "pair_tuple"),
        row("5.3-output-list", "pair_list"),
        row("5.3-output-batch-of-tuples", "batch_pair"),
    ],
)
def test_two_outputs(infer: Infer, method: str) -> None:
    replies = infer(method, [{"x": SQUARE * i} for i in range(5)])
    assert len(replies) == 5
    for i, reply in enumerate(replies):
        assert sorted(reply) == ["y0", "y1"]
        assert same(reply["y0"], SQUARE * i)
        assert same(reply["y1"], SQUARE * i * 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row("5.3-input-array", SQUARE, "ndarray float32 (2, 2) writable=True"),
        row("5.3-input-empty-array", np.zeros((2, 0), np.int8), "ndarray int8 (2, 0) writable=True"),
        row("5.3-input-generic", np.float16(1), "ndarray float16 () writable=True"),
        row("5.3-input-int-of-client", 7, "ndarray int64 (1,) writable=True"),
        row("5.3-input-float-of-client", 1.5, "ndarray float64 (1,) writable=True"),
        row("5.3-input-bool-of-client", True, "ndarray bool (1,) writable=True"),
        row("5.3-input-str", "abc", "str 'abc'"),
        row("5.3-input-str-empty", "", "str ''"),
        row("5.3-input-bytes", b"abc", "ndarray uint8 (3,) writable=True"),
        row("5.3-input-bytes-empty", b"", "ndarray uint8 (0,) writable=True"),
    ],
)
def test_values_that_a_function_sees(infer: Infer, value: Any, text: str) -> None:
    assert infer("seen", {"x": value}) == [{"y": text}]
    assert infer("seen", [{"x": value}] * 3) == [{"y": text}] * 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        row("5.3-input-rest-int", "1", "ndarray int32 () writable=True"),
        row("5.3-input-rest-float", "1.5", "ndarray float32 () writable=True"),
        row("5.3-input-rest-bool", "true", "ndarray bool () writable=True"),
        row("5.3-input-rest-array", "[[1,2]]", "ndarray int32 (1, 2) writable=True"),
        row("5.3-input-rest-str", '"abc"', "str 'abc'"),
        row("5.3-input-rest-str-list", '["abc"]', "str 'abc'"),
        row("5.3-input-rest-b64", '{"b64":"YWJj"}', "ndarray uint8 (3,) writable=True"),
        row("5.3-input-rest-b64-str", '{"b64":"YWJj","type":"str"}', "str 'abc'"),
        row("5.3-input-rest-b64-int16", '{"b64":"AQI=","type":"int16"}', "ndarray int16 () writable=True"),
    ],
)
def test_values_from_rest_that_a_function_sees(stages: RunningServer, value: str, text: str) -> None:
    reply = post(stages.rest, "/model/stages:seen", '{"instances":[{"x":' + value + "}]}")
    assert reply.text == '{"instances":[{"y":"' + text + '"}]}'


@stands_for("5.3-input-writable")
def test_inputs_may_be_overwritten(infer: Infer) -> None:
    large = np.zeros(100_000, np.float32)
    for value in (SQUARE, large):
        replies = infer("overwrite", [{"x": value}] * 3)
        assert all(same(reply["y"], np.full_like(value, 5)) for reply in replies)


# --- Functions for batches ---


@pytest.mark.parametrize(
    "method",
    [
        row("5.3-batch-list", "batch_list"),
        row("5.3-batch-tuple", "batch_tuple"),
        row("5.3-batch-generator", "batch_generator"),
        row("5.3-batch-iterator", "batch_iterator"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 70])
def test_batch_functions(infer: Infer, method: str, count: int) -> None:
    replies = infer(method, [{"x": SQUARE * i} for i in range(count)])
    assert len(replies) == count
    assert all(same(reply["y"], SQUARE * i + 1) for i, reply in enumerate(replies))


@pytest.mark.parametrize(
    "method",
    [row("5.3-extra-items-endless", "without_end"), row("5.3-extra-items-iterator", "longer_iterator")],
)
def test_more_items_than_instances_are_not_asked_for(infer: Infer, method: str) -> None:
    replies = infer(method, [{"x": SQUARE * i} for i in range(10)])
    assert len(replies) == 10
    assert all(same(reply["y"], SQUARE * i) for i, reply in enumerate(replies))


@stands_for("5.3-extra-items-list")
def test_a_list_with_more_items_than_instances(infer: Infer) -> None:
    assert infer("longer_list", {"x": SQUARE}) == {
        "error": failed(
            "longer_list",
            "longer_list",
            "The number 3 of instances returned by function 'stages.longer_list' is not equal to the number 1 of "
            "instances provided to this function.",
        )
    }


@stands_for("5.3-batch-array")
def test_an_array_for_all_instances(infer: Infer) -> None:
    text = infer("one_array", {"x": SQUARE})["error"]
    assert text.startswith(
        failed("one_array", "one_array", "The result of function 'stages.one_array' is one ndarray")
    )


@pytest.mark.parametrize(
    ("method", "outputs"),
    [
        row("5.3-batch-decorated", "batch_decorated", ["y"]),
        row("5.3-batch-decorated-pair", "batch_decorated_pair", ["y0", "y1"]),
        row("5.3-decorated-with-more", "decorated_with_more", ["y"]),
    ],
)
def test_functions_of_decorators(infer: Infer, method: str, outputs: list[str]) -> None:
    """`functools.wraps` shows a signature that is not the one of what is called."""
    replies = infer(method, [{"x": SQUARE * i} for i in range(10)])
    for i, reply in enumerate(replies):
        assert all(same(reply[name], SQUARE * i + k + 1) for k, name in enumerate(outputs))


@pytest.mark.parametrize(
    ("method", "limit"),
    [row("5.3-batch_size-4", "batch_size_4", 4), row("5.3-batch_size-1", "batch_size_1", 1)],
)
def test_batches_are_never_above_the_batch_size(infer: Infer, method: str, limit: int) -> None:
    sizes = [int(reply["y"]) for reply in infer(method, [{"x": SQUARE}] * 70)]
    assert len(sizes) == 70
    assert min(sizes) >= 1
    assert max(sizes) <= limit


@stands_for("5.3-batch_size-0")
def test_batch_size_0_is_that_of_the_model(infer: Infer) -> None:
    replies = infer("batch_size_of_the_model", [{"x1": ROW * i, "x2": ROW} for i in range(70)])
    assert all(same(reply["y"], ROW * i + ROW) for i, reply in enumerate(replies))
    assert {int(reply["size"]) for reply in replies} <= {1, 2}


# --- Models ---


@pytest.mark.parametrize("count", [1, 2, 3, 7, 70])
@pytest.mark.parametrize(
    ("method", "x"),
    [
        row("5.4-without-batch-dim", "model_without_batch", SQUARE),
        row("5.4-with-batch-dim", "model_with_batch", ROW),
    ],
)
def test_model(infer: Infer, method: str, x: Array, count: int) -> None:
    replies = infer(method, [{"x1": x * i, "x2": x} for i in range(count)])
    assert len(replies) == count
    assert all(same(reply["y"], x * i + x) for i, reply in enumerate(replies))


@stands_for("5.4-two-outputs")
def test_model_of_two_outputs(infer: Infer) -> None:
    replies = infer("model_of_two_outputs", [{"x1": SQUARE * i, "x2": SQUARE, "x3": ONES} for i in range(5)])
    for i, reply in enumerate(replies):
        assert same(reply["y0"], SQUARE * (i + 1) + 1)
        assert same(reply["y1"], SQUARE * (i + 1) + 2)


@stands_for("12.1-5")
def test_input_without_batch_dim_is_each_instances_own(infer: Infer) -> None:
    replies = infer("model_with_shared_input", [{"x1": ROW, "x2": ONES * i} for i in range(9)])
    assert all(same(reply["y"], ROW + i) for i, reply in enumerate(replies))
    assert len(replies) == 9


@stands_for("5.2-two-models")
def test_two_models(infer: Infer) -> None:
    for method, x in (("add_then_sub", SQUARE), ("batch_add_then_sub", ROW)):
        replies = infer(method, [{"x1": x * i, "x2": x * 10, "x3": x} for i in range(9)])
        assert all(same(reply["y"], x * i + x * 9) for i, reply in enumerate(replies))
        assert len(replies) == 9


@stands_for("5.2-functions-around-models")
def test_functions_around_models(infer: Infer) -> None:
    replies = infer(
        "functions_around_models", [{"x1": SQUARE * i, "x2": SQUARE, "x3": ONES} for i in range(9)]
    )
    assert all(same(reply["y"], SQUARE * (i + 1)) for i, reply in enumerate(replies))
    assert len(replies) == 9


@stands_for("5.2-graph")
def test_a_graph_of_stages(infer: Infer) -> None:
    for reply in infer("a_graph_of_stages", [{"x1": SQUARE, "x2": ONES}] * 3):
        assert sorted(reply) == ["difference", "one_more", "sum", "x1"]
        assert same(reply["sum"], SQUARE + 1)
        assert same(reply["one_more"], SQUARE + 1)
        assert same(reply["difference"], ONES * 0)
        assert same(reply["x1"], SQUARE)


@stands_for("5.2-loop")
def test_a_loop_of_stages(infer: Infer) -> None:
    [reply] = infer("a_loop_of_stages", {"x": SQUARE})
    assert same(reply["y"], SQUARE + 10)


NUMERIC = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"]


@pytest.mark.parametrize("dtype", [row(f"5.3-built-in-{dtype}", dtype) for dtype in NUMERIC])
def test_argmax(infer: Infer, dtype: str) -> None:
    values = [[3, 1, 2], [1, 3, 3], [[1, 2], [3, 0]], [7]]
    replies = infer("argmax", [{"x": np.array(value, dtype)} for value in values])
    assert [reply["y"].tolist() for reply in replies] == [0, 1, 2, 0]
    assert all(reply["y"].dtype == np.int64 and reply["y"].shape == () for reply in replies)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        row("5.3-built-in-float16", np.ones(2, np.float16), "kMSI_Float16"),
        row("5.3-built-in-bool", np.ones(2, np.bool_), "kMSI_Bool"),
        row("5.3-built-in-str", "abc", "kMSI_String"),
        row("5.3-built-in-bytes", b"abc", "kMSI_Bytes"),
    ],
)
def test_argmax_refuses(infer: Infer, value: Any, name: str) -> None:
    assert infer("argmax", {"x": value}) == {"error": f"Argmax not support data type {name}"}
    good, bad = infer("argmax", [{"x": ROW}, {"x": value}])
    assert (int(good["y"]), bad) == (1, {"error": f"Argmax not support data type {name}"})


@stands_for("5.3-built-in-empty")
def test_argmax_of_nothing_is_answered(infer: Infer) -> None:
    assert "error" in infer("argmax", {"x": np.zeros(0, np.float32)})


@stands_for("5.3-built-in-after-a-model")
def test_argmax_of_a_model(infer: Infer) -> None:
    rows = [np.array(row, np.float32) for row in ([1, 0], [0, 1], [5, 5])]
    replies = infer("argmax_of_a_model", [{"x1": row, "x2": ROW * 0} for row in rows])
    assert [int(reply["y"]) for reply in replies] == [0, 1, 0]


# --- Model.call ---


@pytest.mark.parametrize(
    ("method", "x"),
    [
        row("4.1-call-one", "calls_one", SQUARE),
        row("4.1-call-one-of-a-batch-model", "calls_batch_one", ROW),
        row("4.1-call-many", "calls_many", ROW),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_call(infer: Infer, method: str, x: Array, count: int) -> None:
    replies = infer(method, [{"x1": x * i, "x2": x} for i in range(count)])
    assert len(replies) == count
    assert all(same(reply["y"], x * i + x) for i, reply in enumerate(replies))


@stands_for("4.1-call-more-than-batch-size")
def test_call_with_more_instances_than_the_batch_size(infer: Infer) -> None:
    [reply] = infer("calls_five", {"x1": ROW, "x2": ROW})
    assert same(reply["y"], np.array([ROW * i + ROW for i in range(5)]))


@stands_for("4.1-call-two-outputs")
def test_call_of_a_model_with_two_outputs(infer: Infer) -> None:
    [reply] = infer("calls_two_outputs", {"x1": SQUARE, "x2": ONES})
    assert same(reply["y0"], SQUARE + 2)
    assert same(reply["y1"], SQUARE + 3)


@stands_for("4.1-call-and-stages")
def test_calls_and_stages(infer: Infer) -> None:
    replies = infer("calls_and_stages", [{"x1": SQUARE * i, "x2": ONES} for i in range(9)])
    assert all(same(reply["y"], SQUARE * i + 2) for i, reply in enumerate(replies))
    assert len(replies) == 9


ADD_CALL = "Model(tensor_add.mindir).call() failed: "
NO_SUBGRAPH = (
    "Model(tensor_add.mindir, subgraph=1).call() failed: The model does not have subgraph of index 1, "
    "the subgraph count of the model is 1"
)
FORMAT = (
    ADD_CALL + "inputs format invalid, the inputs can be call(x1, x2) for single instance or  "
    "call([[x1, x2], [x1, x2]]) for multi instances."
)
CALL_ERRORS = {
    "nothing": ADD_CALL + "no inputs provided, the inputs can be call(x1, x2) for single instance or "
    "call([[x1, x2], [x1, x2]]) for multi instances.",
    "list of values": FORMAT,
    "tuple of values": FORMAT,
    "list and value": FORMAT,
    "empty list": ADD_CALL + "Input instances count is 0",
    "empty tuple": ADD_CALL + "Input instances count is 0",
    "not declared": "Model(other.mindir).call() failed: the model is not declared, ensure that interface "
    "'declare_model' can take effect when importing servable_config.py by the serving server",
    "subgraph 1": NO_SUBGRAPH,
    "subgraph 1 of many": NO_SUBGRAPH,
    "one input": ADD_CALL
    + "The inputs count 1 of instance 0 is not equal to the inputs count 2 of the model",
    "three inputs": ADD_CALL
    + "The inputs count 3 of instance 0 is not equal to the inputs count 2 of the model",
    "second has one input": ADD_CALL
    + "The inputs count 1 of instance 1 is not equal to the inputs count 2 of the model",
    "wide": ADD_CALL + "Given model input 0 size 24 not match the size 16 defined in model",
    "second is wide": ADD_CALL + "Given model input 1 size 24 not match the size 16 defined in model",
    "batch model": "Model(tensor_add_2_1.mindir).call() failed: "
    "Given model input 0 size 16 not match the size 8 defined in model",
    "int32": ADD_CALL
    + "Given model input 0 data type kMSI_Int32 not match the data type kMSI_Float32 defined in model",
    "text": ADD_CALL + "Given model input 0 size 0 not match the size 16 defined in model",
}


@pytest.mark.parametrize(
    "which", [row("4.1-call-" + which.replace(" ", "-"), which) for which in CALL_ERRORS]
)
def test_call_errors(infer: Infer, which: str) -> None:
    text = CALL_ERRORS[which]
    assert infer("caught_call", {"which": which, "x1": SQUARE}) == [{"y": text}]
    assert infer("failed_call", {"which": which, "x1": SQUARE}) == {
        "error": failed("wrong_call", "failed_call", text)
    }


@stands_for("4.1-call-none")
def test_call_with_none_is_an_error(infer: Infer) -> None:
    [reply] = infer("caught_call", {"which": "none", "x1": SQUARE})
    assert reply["y"] != "no error"


# --- Objects between stages ---


@pytest.mark.parametrize(
    ("method", "kind", "is_same", "expected"),
    [
        row("5.3-same-object-array", "same_array", "ndarray", True, SQUARE + 1),
        row("5.3-same-object-kept", "kept_array", "ndarray", False, SQUARE + 1),
        row("5.3-same-object-subclass", "same_matrix", "Matrix", False, SQUARE + 1),
        row("5.3-same-object-str", "same_text", "str", True, "text4"),
    ],
)
def test_the_very_same_object_reaches_a_later_stage(
    infer: Infer, method: str, kind: str, is_same: bool, expected: Any
) -> None:
    [reply] = infer(method, {"x": SQUARE})
    assert (reply["type"], bool(reply["same"])) == (kind, is_same)
    assert reply["y"] == expected if kind == "str" else same(reply["y"], expected)


@stands_for("5.3-not-contiguous")
def test_an_array_with_gaps_reaches_a_later_stage_as_an_array(infer: Infer) -> None:
    [reply] = infer(
        "same_strided", {"x": SQUARE}
    )  # made contiguous on the way, so it need not be the same object
    assert reply["type"] == "ndarray"
    assert same(reply["y"], (SQUARE + 1).T[::-1])


@stands_for("5.3-in-place")
def test_changes_in_place_are_visible(infer: Infer) -> None:
    [reply] = infer("changes_in_place", {"x": SQUARE})
    changed = np.array([[123, 123], [4, 5]], np.float32)
    assert same(reply["later"], changed)
    assert same(reply["y"], changed)


@stands_for("5.3-texts-between-stages")
def test_texts_and_bytes_between_stages(infer: Infer) -> None:
    assert infer("text_through_two_stages", {"x": "abc"}) == [{"y": "ABC"}]
    assert infer("bytes_from_an_earlier_stage", {"x": b"abc"}) == [{"type": "bytes"}]


# --- Outputs of a function ---

GOOD_OUTPUTS: dict[str, Any] = {
    "bool": np.array(True),
    "int": np.array(7, np.int64),
    "negative int": np.array(-(1 << 63), np.int64),
    "float": np.array(1.5, np.float64),
    "str": "h\u00e9llo",
    "empty str": "",
    "bytes": b"a\xff",
    "empty bytes": b"",
    "generic float16": np.array(1.5, np.float16),
    "generic bool": np.array(True),
    "generic uint64": np.array((1 << 64) - 1, np.uint64),
    "array of no dims": np.array(3, np.int8),
    "fortran order": np.array([[0, 1, 2], [3, 4, 5]], np.int32),
    "transposed": np.array([[0, 3], [1, 4], [2, 5]], np.float32),
    "sliced": np.array([0, 3, 6, 9], np.int64),
    "reversed": np.array([3, 2, 1, 0], np.uint8),
    "broadcast": np.full((2, 3), 2.0),
    "big endian": np.array([0, 1, 2], np.int32),
    "empty array": np.zeros((2, 0), np.float16),
    "with asnumpy": np.array([0, 1, 2], np.int16),
    "nested list": np.array([[1.5, 2.5]]),
    "nested tuple": np.array([1, 2, 3], np.int64),
}


@pytest.mark.parametrize(
    "which", [row("5.3-output-" + which.replace(" ", "-"), which) for which in GOOD_OUTPUTS]
)
@pytest.mark.parametrize("method", ["give", "give_batch"])
def test_output_of_a_function(infer: Infer, method: str, which: str) -> None:
    expected = GOOD_OUTPUTS[which]
    for reply in infer(method, [{"x": which}] * 2):
        if isinstance(expected, np.ndarray):
            assert same(reply["y"], expected)
        else:
            assert reply["y"] == expected
            assert type(reply["y"]) is type(expected)


ILLEGAL_TYPES = {
    "None": "<class 'NoneType'>",
    "dict": "<class 'dict'>",
    "set": "<class 'set'>",
    "object": "<class 'object'>",
    "function": "<class 'builtin_function_or_method'>",
    "object array": "<class 'numpy.ndarray'>",
    "array of str": "<class 'numpy.ndarray'>",
    "complex": "<class 'complex'>",
    "complex array": "<class 'numpy.ndarray'>",
    "ragged list": "<class 'list'>",
    "list of None": "<class 'list'>",
    "date": "<class 'numpy.datetime64'>",
}


@pytest.mark.parametrize(
    "which", [row("5.3-output-" + which.replace(" ", "-"), which) for which in ILLEGAL_TYPES]
)
@pytest.mark.parametrize("method", ["give", "give_batch"])
def test_output_of_an_illegal_type(infer: Infer, method: str, which: str) -> None:
    text = infer(method, {"x": which})["error"]
    assert text.startswith(failed(method, method, ""))
    assert f"Get illegal result data with type {ILLEGAL_TYPES[which]}" in text
    good, bad, last = infer(method, [{"x": "int"}, {"x": which}, {"x": "int"}])
    assert (int(good["y"]), bad, int(last["y"])) == (7, {"error": text}, 7)


@pytest.mark.parametrize(
    "which",
    [
        row("5.3-output-int-too-large", "int too large"),
        row("5.3-output-int-far-too-large", "int far too large"),
        row("5.3-output-int-too-small", "int too small"),
        row("5.3-output-lone-surrogate", "lone surrogate"),
    ],
)
@pytest.mark.parametrize("method", ["give", "give_batch"])
def test_output_that_cannot_be_sent(infer: Infer, method: str, which: str) -> None:
    good, bad, last = infer(method, [{"x": "int"}, {"x": which}, {"x": "int"}])
    assert (int(good["y"]), int(last["y"])) == (7, 7)
    assert bad["error"].startswith(failed(method, method, ""))
    assert infer(method, {"x": which}) == bad


@pytest.mark.parametrize(
    "which",
    [
        row("5.3-output-asnumpy-raises", "asnumpy raises"),
        row("5.3-output-array-raises", "__array__ raises"),
        row("5.3-output-asnumpy-gives-text", "asnumpy gives text"),
    ],
)
def test_output_whose_conversion_fails(tmp_path: Path, which: str) -> None:
    add_servable(tmp_path, "stages", CONFIG, MODELS)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(tmp_path, ['".", "stages", device_ids=0']))
        before = running.workers()
        for method in ("give", "give_batch"):
            client = stack.enter_context(Client(running.grpc, "stages", method))
            replies: Any = client.infer([{"x": "int"}, {"x": which}, {"x": "int"}])
            assert isinstance(replies, list), replies
            assert (int(replies[0]["y"]), int(replies[2]["y"])) == (7, 7)
            if which == "asnumpy gives text" and "y" in replies[1]:
                assert replies[1] == {"y": "text"}
            else:
                assert replies[1]["error"].startswith(failed(method, method, ""))
        assert running.workers() == before


# --- Errors of functions ---


@pytest.mark.parametrize(
    ("method", "function"),
    [
        row("5.3-raises-function", "negative_raises", "negative_raises"),
        row("5.3-raises-generator", "negative_raises_generator", "negative_raises_generator"),
    ],
)
@pytest.mark.parametrize(
    "signs", ["-", "+-+", "-++", "++-", "+-+-+", "--+", "---", "+--", "+" * 20 + "-" + "+" * 20]
)
def test_a_raise_is_one_instances_own(infer: Infer, method: str, function: str, signs: str) -> None:
    values = [SQUARE + i if sign == "+" else -SQUARE - i for i, sign in enumerate(signs)]
    texts = [failed(function, method, f"negative: -{4.0 + i}") for i in range(len(signs))]
    replies = infer(method, [{"x": value} for value in values])
    if len(signs) == 1:
        assert replies == {"error": texts[0]}
        return
    assert len(replies) == len(signs)
    for sign, value, text, reply in zip(signs, values, texts, replies, strict=True):
        if sign == "+":
            assert same(reply["y"], value)
        else:
            assert reply == {"error": text}


@stands_for("5.3-batch-raises-list")
def test_a_list_function_that_raises_fails_its_batch(infer: Infer) -> None:
    text = failed("negative_raises_list", "negative_raises_list", "negative: -4.0")
    assert infer("negative_raises_list", [{"x": -SQUARE}] * 3) == {"error": text}
    replies = infer("negative_raises_list", [{"x": -SQUARE}, *[{"x": SQUARE}] * 19])
    assert replies[0] == {"error": text}
    alike = sum(reply == {"error": text} for reply in replies)
    assert alike <= 8
    assert all(reply == {"error": text} or same(reply["y"], SQUARE) for reply in replies)


@pytest.mark.parametrize("count", [row("5.3-batch-raises", count) for count in (1, 3, 20)])
def test_a_batch_function_that_raises_at_once(infer: Infer, count: int) -> None:
    assert infer("batch_raises", [{"x": SQUARE}] * count) == {
        "error": failed("batch_raises", "batch_raises", "no batch at all")
    }


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize(
    ("method", "kind"),
    [row("5.3-returns-none", "batch_none", "NoneType"), row("5.3-returns-number", "batch_number", "int")],
)
def test_a_batch_function_that_returns_no_iterator(infer: Infer, method: str, kind: str, count: int) -> None:
    text = infer(method, [{"x": SQUARE}] * count)["error"]
    assert text in [
        failed(method, method, f"'{kind}' object is not {what}") for what in ("iterable", "an iterator")
    ]


@stands_for("5.3-yields-none")
def test_a_batch_function_that_yields_none(infer: Infer) -> None:
    text = infer("batch_none_items", [{"x": SQUARE}] * 3)["error"]
    assert text.startswith(failed("batch_none_items", "batch_none_items", ""))
    assert "Get illegal result data with type <class 'NoneType'>" in text


def too_few(function: str, got: int, given: int) -> str:
    return failed(
        function,
        function,
        f"The number {got} of instances returned by function 'stages.{function}' is not equal to the number {given} "
        "of instances provided to this function.",
    )


@stands_for("5.3-ends-early")
def test_too_few_instances(infer: Infer) -> None:
    assert infer("batch_empty", {"x": SQUARE}) == {"error": too_few("batch_empty", 0, 1)}
    assert infer("batch_stops", {"x": -SQUARE}) == {"error": too_few("batch_stops", 0, 1)}


@pytest.mark.parametrize(
    "signs",
    [
        row("5.3-ends-early-of-many", "+-"),
        row("5.3-ends-early-of-many", "-+"),
        row("5.3-ends-early-of-many", "++-"),
        row("5.3-ends-early-of-many", "+-+"),
        row("5.3-ends-early-of-many", "+" * 20 + "-" + "+" * 20),
    ],
)
def test_too_few_instances_are_the_error_of_one_batch(infer: Infer, signs: str) -> None:
    """Nobody knows which of the batch are missing: all of this batch fail, and nobody else."""
    replies = infer("batch_stops", [{"x": SQUARE if sign == "+" else -SQUARE} for sign in signs])
    if isinstance(replies, dict):
        replies = [replies] * len(signs)
    possible = [too_few("batch_stops", got, given) for given in range(1, 9) for got in range(given)]
    text = replies[signs.index("-")]["error"]
    assert text in possible
    assert sum(reply == {"error": text} for reply in replies) <= 8
    assert all(reply == {"error": text} or same(reply["y"], SQUARE) for reply in replies)


@pytest.mark.parametrize(
    ("method", "got", "registered"),
    [
        row("5.3-outputs-number-two-for-one", "two_for_one", 2, 1),
        row("5.3-outputs-number-one-for-two", "one_for_two", 1, 2),
        row("5.3-outputs-number-three-for-two", "three_for_two", 3, 2),
        row("5.3-outputs-number-none-for-two", "none_for_two", 0, 2),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_wrong_number_of_outputs(infer: Infer, method: str, got: int, registered: int, count: int) -> None:
    assert infer(method, [{"x": SQUARE}] * count) == {
        "error": failed(
            method,
            method,
            f"The outputs number {got} of one instance returned by function 'stages.{method}' is not equal to the "
            f"outputs number {registered}  registered in method {method}",
        )
    }


@stands_for("5.3-outputs-number-one-instance")
def test_wrong_number_of_outputs_is_one_instances_own(infer: Infer) -> None:
    good, bad, last = infer("batch_sometimes_two", [{"x": SQUARE}, {"x": -SQUARE}, {"x": SQUARE}])
    assert same(good["y"], SQUARE)
    assert same(last["y"], SQUARE)
    assert bad == {
        "error": failed(
            "batch_sometimes_two",
            "batch_sometimes_two",
            "The outputs number 2 of one instance returned by function 'stages.batch_sometimes_two' is not equal to "
            "the outputs number 1  registered in method batch_sometimes_two",
        )
    }


@pytest.mark.parametrize("method", ["raise_it", "raise_it_in_a_batch"])
@pytest.mark.parametrize(
    ("which", "text"),
    [
        row("5.3-exception-empty", "empty", "ValueError"),
        row("5.3-exception-lines", "lines", "two\nlines"),
        row("5.3-exception-unicode", "not ascii", "\u00e9\U0001f600"),
        row("5.3-exception-key", "key", "KeyError: 'k'"),
        row("5.3-exception-memory", "memory", "no room"),
    ],
)
def test_exceptions(infer: Infer, method: str, which: str, text: str) -> None:
    assert infer(method, {"x": which}) == {"error": failed(method, method, text)}


@pytest.mark.parametrize(
    ("which", "text"),
    [
        row("5.3-exception-exit", "exit", "bye"),
        row("5.3-exception-base", "base", "base"),
        row("5.3-exception-generator-exit", "generator exit", "gone"),
        row("5.3-exception-stop", "stop", "enough"),
        row("5.3-exception-surrogate", "surrogate", "odd text "),
        row("5.3-exception-without-text", "without text", "WithoutText"),
    ],
)
def test_no_exception_ends_the_worker(infer: Infer, which: str, text: str) -> None:
    assert infer("raise_it", {"x": which})["error"].startswith(failed("raise_it", "raise_it", text))
    told = infer("raise_it_in_a_batch", {"x": which})["error"]
    if which == "stop":  # in a generator Python makes another exception of it
        text = "generator raised StopIteration"
    assert told.startswith(failed("raise_it_in_a_batch", "raise_it_in_a_batch", text))


@stands_for("5.3-exception-recursion")
def test_endless_recursion(infer: Infer) -> None:
    text = infer("recurse", {"x": SQUARE})["error"]
    assert text.startswith(failed("recurse", "recurse", "maximum recursion depth exceeded"))


@stands_for("5.3-stage-index")
def test_index_of_the_stage(infer: Infer) -> None:
    assert infer("raises_in_stage_3", {"x": -SQUARE}) == {
        "error": failed("negative_raises", "raises_in_stage_3", "negative: -4.0", 3)
    }
    good, bad = infer("raises_in_stage_3", [{"x": SQUARE}, {"x": -SQUARE}])
    assert same(good["y"], SQUARE)
    assert bad == {"error": failed("negative_raises", "raises_in_stage_3", "negative: -4.0", 3)}


@pytest.mark.parametrize(
    ("method", "index", "total"),
    [
        row("5.3-raises-before-a-model", "raises_before_a_model", 1, "x1"),
        row("5.3-raises-after-a-model", "model_then_raises", 2, "sum"),
    ],
)
def test_errors_before_and_after_a_model(infer: Infer, method: str, index: int, total: str) -> None:
    least = -4.0 if total == "x1" else -3.0
    values = [SQUARE, -SQUARE, SQUARE * 2, -SQUARE, SQUARE * 3]
    replies = infer(method, [{"x1": value, "x2": ONES} for value in values])
    text = failed("negative_raises", method, f"negative: {least}", index)
    for value, reply in zip(values, replies, strict=True):
        if value[0, 0] < 0:
            assert reply == {"error": text}
        else:
            assert same(reply["y"], value + 1)


@stands_for("5.4-byte-size-after-a-function")
def test_a_function_that_gives_a_model_the_wrong_shape(infer: Infer) -> None:
    wide = np.ones((3, 2), np.float32)
    text = "Given model input 0 size 24 not match the size 16 defined in model"
    good, bad = infer("wrong_shape_for_the_model", [{"x1": SQUARE, "x2": ONES}, {"x1": wide, "x2": ONES}])
    assert same(good["y"], SQUARE + 2)
    assert bad == {"error": text}


@stands_for("5.2-tag")
def test_tag(infer: Infer) -> None:
    assert infer("with_a_tag", {"x": -SQUARE}) == {
        "error": "Call My stage Failed, method: 'with_a_tag', stage index(begin with 1): 1, error msg: negative: -4.0"
    }
