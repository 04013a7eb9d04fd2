"""ModelInferRequest bytes to a request, and what is wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.server.dialect.open_inference.grpc import request as grpc_request
from mindspore_serving.server.dialect.open_inference.grpc.contents import FIELD_OF
from mindspore_serving.server.dialect.open_inference.grpc.request import (
    MOST_BESIDE_RAW,
    MOST_FIELDS,
    heading_in,
    read_message,
    request_in,
)
from mindspore_serving.server.dialect.open_inference.messages import InferRequest
from tests.unit.dialect.open_inference.messages import REGION, entry, request, tensor


def read(message: pb.ModelInferRequest | bytes) -> InferRequest:
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return asyncio.run(request_in(read_message(content)))


def refusal(message: pb.ModelInferRequest | bytes) -> str:
    with pytest.raises(InvalidInput) as raised:
        read(message)
    return str(raised.value)


VALUES: dict[str, tuple[str, list[Any]]] = {
    "BOOL": ("?", [True, False, True]),
    "INT8": ("<i1", [-128, 0, 127]),
    "INT16": ("<i2", [-(2**15), 0, 2**15 - 1]),
    "INT32": ("<i4", [-(2**31), 0, 2**31 - 1]),
    "INT64": ("<i8", [-(2**63), 0, 2**63 - 1]),
    "UINT8": ("<u1", [0, 1, 255]),
    "UINT16": ("<u2", [0, 1, 2**16 - 1]),
    "UINT32": ("<u4", [0, 1, 2**32 - 1]),
    "UINT64": ("<u8", [0, 1, 2**64 - 1]),
    "FP32": ("<f4", [0.5, float("inf"), -1e30]),
    "FP64": ("<f8", [0.1, float("-inf"), 1e300]),
}


@pytest.mark.parametrize("datatype", VALUES)
def test_typed_contents_become_the_bytes_of_their_datatype(datatype: str) -> None:
    dtype, values = VALUES[datatype]
    got = read(request(tensor("x", datatype, [3, 1], **{FIELD_OF[datatype]: values})))
    [x] = got.inputs
    assert (x.name, x.datatype, x.shape) == ("x", datatype, (3, 1))
    assert isinstance(x.data, bytes)
    assert x.data == np.array(values, dtype).tobytes()


def test_typed_bytes_are_a_list_of_elements() -> None:
    [x] = read(request(tensor("x", "BYTES", [2], bytes_contents=[b"", b"\xff\x00"]))).inputs
    assert x.data == [b"", b"\xff\x00"]


def test_many_typed_elements_are_read_in_turns() -> None:
    values = np.arange(100_000, dtype=np.int16) % 100

    async def turns() -> tuple[InferRequest, int]:
        content = request(tensor("x", "INT8", [100_000], int_contents=values.tolist())).SerializeToString()
        reading = asyncio.create_task(request_in(read_message(content)))
        count = 0
        while not reading.done():
            await asyncio.sleep(0)
            count += 1
        return reading.result(), count

    got, count = asyncio.run(turns())
    assert count > 5
    assert got.inputs[0].data == values.astype(np.int8).tobytes()


@pytest.mark.parametrize("datatype", [*VALUES, "FP16", "BF16", "BYTES", "ANY"])
def test_raw_data_is_a_view_of_the_message_whatever_it_is(datatype: str) -> None:
    content = request(
        tensor("x", datatype, [3]), tensor("e", datatype, [0]), raw=[b"\x01\x02", b""]
    ).SerializeToString()
    x, e = read(content).inputs
    assert isinstance(x.data, memoryview) and isinstance(e.data, memoryview)
    assert x.data.obj is content
    assert (bytes(x.data), bytes(e.data)) == (b"\x01\x02", b"")
    assert (x.name, x.datatype, x.shape, e.shape) == ("x", datatype, (3,), (0,))


def test_everything_else_is_as_it_was_sent() -> None:
    message = request(tensor("x", "FP32", [1], parameters={"p": {"double_param": 0.5}}), raw=[b"1234"])
    message.model_name, message.model_version, message.id = "add.add_cast", "3", "\u4e00"
    message.parameters["b"].bool_param = False
    message.parameters["i"].int64_param = -1
    message.parameters["u"].uint64_param = 2**64 - 1
    message.parameters["s"].string_param = ""
    message.outputs.add(name="y").parameters["classification"].int64_param = 3
    for _ in range(2):  # the second time from memory
        got = read(message)
        assert (got.model, got.version, got.id) == ("add.add_cast", "3", "\u4e00")
        assert got.parameters == {"b": False, "i": -1, "u": 2**64 - 1, "s": ""}
        assert got.parameters["b"] is False
        assert [(one.name, dict(one.parameters)) for one in got.outputs] == [("y", {"classification": 3})]
        assert got.inputs[0].parameters == {"p": 0.5}


def test_what_is_remembered_is_neither_id_nor_data() -> None:
    first, second = (
        request(tensor("x", "INT8", [1]), raw=[data], id=name) for data, name in ((b"1", "a"), (b"2", ""))
    )
    before = grpc_request._remembered.cache_info()
    got = [read(message) for message in (first, second, first)]
    after = grpc_request._remembered.cache_info()
    assert after.misses - before.misses <= 1
    assert [(one.id, bytes(one.inputs[0].data or b"")) for one in got] == [  # type: ignore[arg-type]
        ("a", b"1"),
        ("", b"2"),
        ("a", b"1"),
    ]
    assert got[0].inputs[0] is not got[2].inputs[0]


def test_what_is_remembered_takes_little_memory() -> None:
    most = grpc_request._remembered.cache_parameters()["maxsize"]
    assert most is not None
    assert most * grpc_request._LONGEST_REMEMBERED <= 1 << 20, (
        "an object of Python may take 100 times its bytes"
    )


def test_raw_data_skips_inputs_in_shared_memory() -> None:
    shared = {REGION: {"string_param": "r"}, "shared_memory_byte_size": {"int64_param": 4}}
    got = read(
        request(
            tensor("a", "INT8", [1], parameters=shared),
            tensor("b", "INT8", [1]),
            tensor("c", "INT8", [1], parameters=shared),
            tensor("d", "INT8", [1]),
            raw=[b"b", b"d"],
        )
    )
    assert [one.data if one.data is None else bytes(one.data) for one in got.inputs] == [  # type: ignore[arg-type]
        None,
        b"b",
        None,
        b"d",
    ]
    alone = read(request(tensor("a", "INT8", [1], parameters=shared)))
    assert alone.inputs[0].data is None
    typed = read(
        request(tensor("a", "INT8", [1], parameters=shared), tensor("b", "INT8", [1], int_contents=[7]))
    )
    assert [one.data for one in typed.inputs] == [None, b"\x07"]


def test_what_has_no_elements_needs_no_data() -> None:
    [x] = read(request(tensor("x", "FP32", [0, 3]))).inputs
    assert (x.data, x.shape) == (b"", (0, 3))


def test_an_empty_message_of_contents_may_stand_beside_raw_data() -> None:
    message = request(tensor("x", "INT8", [1]), raw=[b"1"])
    message.inputs[0].contents.SetInParent()
    assert bytes(read(message).inputs[0].data or b"") == b"1"  # type: ignore[arg-type]


WRONG: list[tuple[Callable[[], pb.ModelInferRequest], str]] = [
    (
        lambda: request(tensor("x", "INT8", [1], int_contents=[1]), raw=[b"1"]),
        "Input 'x' has contents, but the request has raw_input_contents, too; expected is one of the two",
    ),
    (
        lambda: request(tensor("x", "INT8", [1]), tensor("y", "INT8", [1]), raw=[b"1"]),
        "The request has 1 raw_input_contents, expected 2: one for each input that is not in shared memory",
    ),
    (lambda: request(raw=[b"1"]), "The request has 1 raw_input_contents, expected 0"),
    (lambda: request(tensor("x", "INT8", [1])), "Input 'x' has no data, expected are raw_input_contents or"),
    (
        lambda: request(tensor("x", "INT8", [1], int_contents=[1]), tensor("y", "INT8", [1])),
        "Input 'y' has 0 elements in int_contents, expected 1: its shape is [1]",
    ),
    (
        lambda: request(tensor("x", "FP32", [2, 2], fp32_contents=[1, 2, 3])),
        "Input 'x' has 3 elements in fp32_contents, expected 4: its shape is [2, 2]",
    ),
    (
        lambda: request(tensor("x", "FP32", [-1], fp32_contents=[1])),
        "Input 'x' has shape [-1], in which a size is negative",
    ),
    (
        lambda: request(tensor("x", "FP32", [2**62, 2**62], fp32_contents=[1])),
        "Input 'x' has shape [4611686018427387904, 4611686018427387904], which is too large",
    ),
    (
        lambda: request(tensor("x", "FP32", [1] * 32, fp32_contents=[1])),
        "Input 'x' has 32 dimensions, expected are at most 31",
    ),
    (
        lambda: request(tensor("x", "FP32", [2**62 + 1] * 100_000, fp32_contents=[1])),
        "An input has more than 31 dimensions",
    ),
    (
        lambda: request(
            tensor("x", "FP32", [1], {f"{at:06}": {"bool_param": True} for at in range(MOST_FIELDS)})
        ),
        "The inputs and outputs of the request have more than 4096 fields: names, sizes, parameters",
    ),
    (
        lambda: request(tensor("x", "FP32", [1], fp64_contents=[1])),
        "Input 'x' of datatype FP32 has elements in fp64_contents, expected fp32_contents",
    ),
    (
        lambda: request(tensor("x", "FP32", [1], fp32_contents=[1], int_contents=[1])),
        "Input 'x' of datatype FP32 has elements in int_contents, expected fp32_contents",
    ),
    (
        lambda: request(tensor("x", "INT8", [3], int_contents=[1, 2, 128])),
        "Input 'x' has 128 as element 2, expected -128 to 127, since it is INT8",
    ),
    (
        lambda: request(tensor("x", "UINT16", [1], uint_contents=[65536])),
        "Input 'x' has 65536 as element 0, expected 0 to 65535, since it is UINT16",
    ),
    (
        lambda: request(tensor("x", "FP16", [1], fp32_contents=[1])),
        "Input 'x' of datatype 'FP16' has no typed contents, which there are of BOOL, INT8,",
    ),
    (
        lambda: request(tensor("x", "float", [1], fp32_contents=[1])),
        "Input 'x' of datatype 'float' has no typed contents",
    ),
    (
        lambda: request(
            tensor("x", "INT8", [1], parameters={REGION: {"string_param": "r"}}, int_contents=[1])
        ),
        "Input 'x' has contents, and parameter shared_memory_region; expected is one of them",
    ),
    (
        lambda: request(tensor("x", "INT8", [1], parameters={"p": {}}), raw=[b"1"]),
        "Parameter 'p' has no value, expected one of InferParameter",
    ),
    (
        lambda: request(*(tensor("x", "INT8", [0]) for _ in range(MOST_FIELDS)), raw=[b"1"]),
        "The request has more than 4096 fields",
    ),
    (
        lambda: request(tensor("x", "BYTES", [1], bytes_contents=[bytes(MOST_BESIDE_RAW)])),
        "bytes beside raw_input_contents, expected are at most 8388608; send large tensors in raw_input_contents",
    ),
]


@pytest.mark.parametrize(("make", "text"), WRONG, ids=[text[:60] for _, text in WRONG])
def test_what_is_wrong_is_named(make: Callable[[], pb.ModelInferRequest], text: str) -> None:
    assert text in refusal(make())
    assert len(refusal(make())) < 500


def test_an_error_quotes_only_the_beginning_of_what_was_sent() -> None:
    assert len(refusal(request(tensor("x" * 100_000, "T" * 100_000, [1], fp32_contents=[1])))) < 700


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff",
        b"\x00\x00",
        b"\x0a\x05abc",
        b"\x3a\x05abc",
        b"\x0b\x0c",
        b"\x0a\x01\xff",
        b"\x1a\x01\xff",
        b"\x2a\x02\x0a\x05",
        b"\x0a",
        b"\x0a" + b"\xff" * 11,
    ],
)
def test_bytes_that_are_no_message(content: bytes) -> None:
    with pytest.raises((DecodeError, UnicodeDecodeError)):
        read(content)


def test_fields_may_come_in_any_order_and_unknown_ones_are_passed_over() -> None:
    message = request(tensor("x", "INT8", [1]), raw=[b"1"], id="i", model="m", version="2")
    parts = [
        message.SerializeToString(),
        b"\xa2\x06\x02hi",  # field 100
        b"\xa0\x06\x05",
        b"\xa5\x06\x00\x00\x00\x00",
        b"\xba\x00\x01z",  # field 7, its tag longer than it need be
        request(tensor("y", "INT8", [1]), id="j").SerializeToString(),
    ]
    got = read(b"".join(parts))
    assert (got.model, got.version, got.id) == ("m", "2", "j")
    assert [(one.name, bytes(one.data or b"")) for one in got.inputs] == [  # type: ignore[arg-type]
        ("x", b"1"),
        ("y", b"z"),
    ]


def test_the_target_is_found_in_the_beginning_of_a_message() -> None:
    content = request(
        tensor("x", "INT8", [100]), raw=[bytes(100)], model="m", version="2", id="i"
    ).SerializeToString()
    assert heading_in(content) == ("m", "2", "i")
    assert heading_in(content[:40]) == ("m", "2", "i")
    assert heading_in(content[:2]) is None
    assert heading_in(request(model="m").SerializeToString()) == ("m", "", "")
    assert heading_in(b"\x0a\x01\xff") is None
    assert heading_in(b"") is None


def parameters() -> st.SearchStrategy[dict[str, dict[str, Any]]]:
    value = st.one_of(
        st.builds(entry, st.just("bool_param"), st.booleans()),
        st.builds(entry, st.just("int64_param"), st.integers(-(2**63), 2**63 - 1)),
        st.builds(entry, st.just("uint64_param"), st.integers(0, 2**64 - 1)),
        st.builds(entry, st.just("double_param"), st.floats(allow_nan=False)),
        st.builds(entry, st.just("string_param"), st.text(max_size=5)),
    )
    return st.dictionaries(st.text(max_size=5), value, max_size=3)


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Requests with raw data, of which the core may still find anything wrong."""
    tensors = draw(
        st.lists(
            st.builds(
                lambda name, datatype, shape, values: tensor(name, datatype, shape, parameters=values),
                st.text(max_size=5),
                st.sampled_from(["FP32", "BYTES", "", "?"]),
                st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
                parameters().map(lambda found: {k: v for k, v in found.items() if k != REGION}),
            ),
            min_size=1,
            max_size=4,
        )
    )
    raw = [draw(st.binary(max_size=20)) for _ in tensors]
    message = request(*tensors, raw=raw, id=draw(st.text(max_size=5)), model=draw(st.text(max_size=5)))
    message.parameters.MergeFrom(request(parameters=draw(parameters())).parameters)
    return message


@given(requests(), st.booleans())
def test_a_request_is_what_the_protobuf_library_reads(message: pb.ModelInferRequest, backwards: bool) -> None:
    content = message.SerializeToString()
    if backwards:
        content = b"".join(reversed(list(pieces(content))))
        message = pb.ModelInferRequest.FromString(content)
    got = read(content)
    assert (got.model, got.id) == (message.model_name, message.id)
    assert [bytes(one.data or b"") for one in got.inputs] == list(message.raw_input_contents)  # type: ignore[arg-type]
    for one, sent in zip(got.inputs, message.inputs, strict=True):
        assert (one.name, one.datatype, list(one.shape)) == (sent.name, sent.datatype, list(sent.shape))
        assert set(one.parameters) == set(sent.parameters)
    for name, value in got.parameters.items():
        assert value == getattr(
            message.parameters[name], str(message.parameters[name].WhichOneof("parameter_choice"))
        )


def pieces(content: bytes) -> Iterator[bytes]:
    """The fields of a message."""
    at = 0
    while at < len(content):
        _, end = grpc_request.field_at(content, at)
        yield content[at:end]
        at = end
