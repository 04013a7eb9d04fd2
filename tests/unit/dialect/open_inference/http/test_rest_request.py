"""Bodies over HTTP: JSON, raw tensors behind it, and the way through the process for large bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindspore_serving.errors import InvalidInput
from mindspore_serving.server.dialect.open_inference.http.large_request import read_large, request_of
from mindspore_serving.server.dialect.open_inference.http.reply import http_reply
from mindspore_serving.server.dialect.open_inference.http.request import header_length, read_request
from mindspore_serving.server.dialect.open_inference.inputs import instances_of
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, OutputTensor
from mindspore_serving.server.dialect.open_inference.shared_data import SharedData, UnknownPeer
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.transport.http_routes import BodyContent
from tests.unit.dialect.open_inference.fake_service import untyped

X = {"name": "x", "shape": [2], "datatype": "INT8"}


def head(**fields: Any) -> bytes:
    """The JSON of a request with the input `x` of two raw bytes."""
    return orjson.dumps({"inputs": [{**X, "parameters": {"binary_data_size": 2}}], **fields})


def with_raw(document: bytes, rest: bytes) -> tuple[bytes, int]:
    return document + rest, len(document)


def through_the_process(content: BodyContent) -> BodyContent:
    """What a channel makes of what was read."""
    return BodyContent(content.rows, orjson.loads(orjson.dumps(content.rest)))


def both_ways(body: bytes, length: int | None) -> list[InferRequest]:
    """A body as it is read at once, and as it is read elsewhere."""
    large = request_of(through_the_process(read_large(body, length)), "m", "1")
    return [read_request(body, length, "m", "1"), large]


def many_tensors(what: str, count: int) -> bytes:
    """A request that has or names so many tensors."""
    tensors = [{**X, "data": [1, 2], "name": f"x{i}"} for i in range(count)]
    return orjson.dumps({"inputs": [{**X, "data": [1, 2]}], what: tensors})


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_more_tensors_than_a_request_may_have(what: str) -> None:
    assert len(getattr(read_request(many_tensors(what, 1024), None, "m", "1"), what)) == 1024
    text = f"The request has 1025 {what}, expected are at most 1024"
    with pytest.raises(InvalidInput, match=text):
        read_request(many_tensors(what, 1025), None, "m", "1")
    with pytest.raises(InvalidInput, match=text):
        read_large(many_tensors(what, 1025), None)


def test_a_request_of_json() -> None:
    document = {
        "id": "7",
        "parameters": {"priority": 1, "a": "b", "c": 1.5, "d": True},
        "inputs": [{**X, "data": [1, 2], "parameters": {"k": 1}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
        "more": 1,
    }
    for asked in both_ways(orjson.dumps(document), None):
        assert (asked.model, asked.version, asked.id) == ("m", "1", "7")
        assert asked.parameters == document["parameters"]
        [tensor] = asked.inputs
        assert (tensor.name, tensor.shape, tensor.datatype, tensor.parameters) == (
            "x",
            (2,),
            "INT8",
            {"k": 1},
        )
        assert [(one.name, one.parameters) for one in asked.outputs] == [
            ("y", {"binary_data": False}),
            ("z", {}),
        ]


def test_what_may_be_left_out() -> None:
    for fields in ({}, {"id": None, "parameters": None, "outputs": None}, {"parameters": {}, "outputs": []}):
        asked = read_request(orjson.dumps({"inputs": [], **fields}), None, "m", "")
        assert (asked.id, asked.parameters, list(asked.outputs), list(asked.inputs)) == ("", {}, [], [])


def test_raw_tensors_are_views_in_the_order_of_their_inputs() -> None:
    document = orjson.dumps(
        {
            "inputs": [
                {**X, "name": "a", "parameters": {"binary_data_size": 2}},
                {**X, "name": "b", "data": [5, 6]},
                {**X, "name": "c", "shape": [0], "parameters": {"binary_data_size": 0}},
                {**X, "name": "d", "parameters": {"binary_data_size": 3}},
            ]
        }
    )
    body, length = with_raw(document, b"\1\2\3\4\5")
    small, large = both_ways(body, length)
    assert small.inputs[0].data.obj is body  # type: ignore[union-attr]
    assert [bytes(one.data) for one in small.inputs if one.name != "b"] == [b"\1\2", b"", b"\3\4\5"]  # type: ignore[arg-type]
    assert small.inputs[1].data == [5, 6]
    assert [bytes(one.data) for one in large.inputs] == [b"\1\2", b"\5\6", b"", b"\3\4\5"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b"", "The request is no JSON"),
        (b"{", "The request is no JSON"),
        (b"\xff", "The request is no JSON"),
        (b"[" * 100_000, "The request is no JSON"),
        (b'{"inputs":[],"parameters":' + b'{"a":' * 900 + b"1" + b"}" * 901, "parameter 'a' should be a string"),
        (b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}", "An input should be an object, but is a list of 1"),
        (b'{"inputs":[{"name":"x","datatype":"INT8","shape":' + b"[" * 900 + b"]" * 900 + b"}]}", "but is a list of 1"),
        (b"[]", "The request should be a JSON object, but is a list of 0"),
        (b"{}", "inputs should be a list of tensors, but is missing"),
        (b'{"inputs":{}}', "inputs should be a list of tensors, but is an object"),
        (b'{"inputs":[],"outputs":{}}', "outputs should be a list, but is an object"),
        (b'{"inputs":[],"outputs":[{}]}', "An output should be an object with a name"),
        (b'{"inputs":[],"outputs":["y"]}', "An output should be an object with a name"),
        (b'{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}', "binary_data should be true or"),
        (b'{"inputs":[],"id":7}', "id should be a string, but is 7"),
        (b'{"inputs":[],"parameters":[]}', "The request: parameters should be an object, but is a list of 0"),
        (b'{"inputs":[],"parameters":0}', "The request: parameters should be an object, but is 0"),
        (b'{"inputs":[],"parameters":{"a":null}}', "parameter 'a' should be a string, a number or a bool"),
        (b'{"inputs":[],"parameters":{"binary_data_output":"yes"}}', "binary_data_output should be true or false"),
        (b'{"inputs":[1]}', "An input should be an object, but is 1"),
        (b'{"inputs":[{"datatype":"INT8","shape":[1]}]}', "name of an input should be a string, but is missing"),
        (b'{"inputs":[{"name":"x","shape":[1]}]}', "datatype of input 'x' should be a string, but is missing"),
        (b'{"inputs":[{"name":"x","datatype":"INT8"}]}', "shape of input 'x' should be a list of whole numbers"),
        (b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1.0]}]}', "but is [1.0]"),
        (b'{"inputs":[{"name":"x","datatype":"INT8","shape":[true]}]}', "but is [True]"),
        (b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":"a"}]}', "data of input 'x' should be a list"),
        (
            b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1],"parameters":{"shared_memory_region":"r"}}]}',
            "Input 'x' has both data and shared_memory_region, expected one of them",
        ),
        (head(), "Input 'x' has binary_data_size, but the request has no header Inference-Header-Content-Length"),
    ],
)  # fmt: skip
def test_json_that_is_no_request(document: bytes, text: str) -> None:
    for read in (lambda: read_request(document, None, "m", ""), lambda: read_large(document, None)):
        with pytest.raises(InvalidInput) as caught:
            read()
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("document", "rest", "length", "text"),
    [
        (head(), b"\1", None, "Input 'x' has binary_data_size 2, but only 1 bytes are left of the body"),
        (head(), b"", None, "but only 0 bytes are left of the body"),
        (head(), b"\1\2\3", None, "3 bytes stand behind the JSON of the request, but its inputs have 2"),
        (head(), b"\1\2", 9_999, "Header Inference-Header-Content-Length is 9999, but the body has only"),
        (head(), b"\1\2", 5, "The request is no JSON"),
        (head().replace(b":2}", b":-2}"), b"\1\2", None, "binary_data_size should be a number of bytes, but is -2"),
        (head().replace(b":2}", b":2.0}"), b"\1\2", None, "binary_data_size should be a number of bytes, but is 2.0"),
        (head().replace(b":2}", b":true}"), b"\1\2", None, "binary_data_size should be a number of bytes, but is True"),
        (head().replace(b":2}", b":18446744073709551615}"), b"\1\2", None, "but only 2 bytes are left"),
        (b'{"inputs":[]}', b"\1", None, "1 bytes stand behind the JSON of the request, but its inputs have 0"),
        (
            b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1],"parameters":{"binary_data_size":1}}]}',
            b"\1",
            None,
            "Input 'x' has both data and binary_data_size",
        ),
    ],
)  # fmt: skip
def test_raw_tensors_that_are_wrong(document: bytes, rest: bytes, length: int | None, text: str) -> None:
    length = len(document) if length is None else length
    for read in (
        lambda: read_request(document + rest, length, "m", ""),
        lambda: read_large(document + rest, length),
    ):
        with pytest.raises(InvalidInput) as caught:
            read()
        assert text in str(caught.value)


@pytest.mark.parametrize(("value", "length"), [(None, None), ("0", 0), (" 17 ", 17), ("0017", 17)])
def test_the_length_of_the_json(value: str | None, length: int | None) -> None:
    assert header_length({} if value is None else {"inference-header-content-length": value}) == length


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "0x10", "1, 1", "٣", "9" * 19])
def test_a_header_that_is_no_length(value: str) -> None:
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length should be a number of bytes"):
        header_length({"inference-header-content-length": value})


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        ({**X, "data": [1, 300]}, "has 300 as element 1, which is no INT8"),
        ({**X, "data": [1]}, "has 1 elements, but shape [2] has 2"),
        ({**X, "datatype": "FP8", "data": [1, 2]}, "datatype 'FP8', which is unknown"),
        ({**X, "datatype": "BF16", "data": [1, 2]}, "should be raw bytes"),
        ({**X, "shape": [-2], "data": [1, 2]}, "in which a size is negative"),
        ({**X, "datatype": "BYTES", "data": ["a", 1]}, "expected a string"),
    ],
)
def test_data_that_is_wrong_is_found_where_it_is_read(tensor: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_large(orjson.dumps({"inputs": [tensor]}), None)
    assert text in str(caught.value)


def test_data_that_is_read_elsewhere_is_the_same() -> None:
    inputs: list[dict[str, Any]] = [
        {"name": "a", "datatype": "FP32", "shape": [2, 1], "data": [[0.5], [1]]},
        {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["é"]},
        {"name": "c", "datatype": "UINT8", "shape": [8], "data": [1] * 8},
        {"name": "d", "datatype": "BOOL", "shape": [0], "data": []},
        {"name": "e", "datatype": "INT64", "shape": [1], "data": [-(2**63)]},
    ]
    called = untyped("m", [one["name"] for one in inputs], ["y"])
    small, large = (
        asyncio.run(instances_of(asked.inputs, called, SharedData(SharedMemoryRegions(), UnknownPeer())))
        for asked in both_ways(orjson.dumps({"inputs": inputs}), None)
    )
    assert small.specs == large.specs
    for one, other in zip(small.columns, large.columns, strict=True):
        np.testing.assert_array_equal(one, other)


# --- There and back ---

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
arrays = st.lists(st.integers(-128, 127), max_size=6)
tensors = st.lists(st.tuples(names, arrays, st.booleans()), max_size=4)


@given(tensors, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_what_is_written_is_read_again(found: list[tuple[str, list[int], bool]], name: str) -> None:
    """A reply has the form of a request, but for the name of its tensors."""
    outputs = [
        OutputTensor(at, "INT8", (len(values),), np.array(values, np.int8).tobytes())
        for at, values, _ in found
    ]
    asked = InferRequest("m", "", name, [], (), {"binary_data_output": True})
    reply = asyncio.run(http_reply(InferReply("m", "1", name, outputs), asked))
    headers = {key.lower(): value for key, value in reply.headers}
    length = header_length(headers)
    document = reply.body[:length].replace(b'"outputs":', b'"inputs":', 1)
    again = read_request(
        document + reply.body[len(reply.body[:length]) :], len(document) if headers else None, "m", ""
    )
    assert again.id == name
    assert [(one.name, list(np.frombuffer(one.data or b"", np.int8))) for one in again.inputs] == [  # type: ignore[arg-type]
        (at, values) for at, values, _ in found
    ]


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_do_harm(body: bytes, length: int) -> None:
    for at in (None, length):
        for read in (read_request, lambda body, at, *_: read_large(body, at)):
            try:
                read(body, at, "m", "")
            except InvalidInput as error:
                assert str(error)
