"""Replies to bytes, which the protobuf library reads as what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.server.dialect.open_inference.grpc.reply import (
    parts_of_reply,
    size_of,
    streamed,
    streamed_error,
)
from mindspore_serving.server.dialect.open_inference.grpc.request import Heading
from mindspore_serving.server.dialect.open_inference.messages import InferReply, OutputTensor, RawData


def joined(parts: Sequence[RawData]) -> bytes:
    content = b"".join(parts)
    assert size_of(parts) == len(content)
    return content


def read(reply: InferReply, **options: Any) -> pb.ModelInferResponse:
    return pb.ModelInferResponse.FromString(joined(parts_of_reply(reply, **options)))


def test_a_reply_has_an_entry_of_raw_data_for_each_output() -> None:
    large = np.arange(1000, dtype="<f4").view(np.uint8).data
    outputs = [
        OutputTensor("a", "FP32", (2, 500), large),
        OutputTensor("e", "INT8", (0,), b""),
        OutputTensor("s", "FP32", (1,), None, {"shared_memory_region": "r", "shared_memory_byte_size": 4}),
        OutputTensor("z", "BYTES", (1,), b"\x01\0\0\0x"),
    ]
    message = read(InferReply("m", "3", "\u4e00", outputs, {"p": 1.5}))
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "\u4e00")
    assert [(one.name, one.datatype, tuple(one.shape)) for one in message.outputs] == [
        (one.name, one.datatype, one.shape) for one in outputs
    ]
    assert list(message.raw_output_contents) == [large.tobytes(), b"", b"", b"\x01\0\0\0x"]
    assert message.outputs[2].parameters["shared_memory_region"].string_param == "r"
    assert message.parameters["p"].double_param == 1.5
    assert not any(one.HasField("contents") for one in message.outputs)


def test_what_is_remembered_is_neither_id_nor_data() -> None:
    for name, data in (("a", b"1"), ("", b"2"), ("a", b"1")):
        message = read(InferReply("m", "1", name, [OutputTensor("y", "INT8", (1,), data)]))
        assert (message.id, list(message.raw_output_contents)) == (name, [data])
    other = read(InferReply("m", "2", "", [OutputTensor("y", "INT8", (1,), b"1")]))
    assert other.model_version == "2"


def test_a_reply_of_a_stream_says_that_it_is_the_last() -> None:
    parts = parts_of_reply(InferReply("m", "1", "i", [OutputTensor("y", "INT8", (1,), b"1")]), final=True)
    message = pb.ModelStreamInferResponse.FromString(joined(streamed(parts)))
    assert message.error_message == ""
    assert message.infer_response.parameters["triton_final_response"].bool_param
    assert list(message.infer_response.raw_output_contents) == [b"1"]


def test_an_error_of_a_stream_names_its_request() -> None:
    message = pb.ModelStreamInferResponse.FromString(streamed_error("wrong", Heading("m", "", "i")))
    assert message.error_message == "wrong"
    assert (message.infer_response.model_name, message.infer_response.id) == ("m", "i")


@given(
    st.lists(
        st.builds(
            OutputTensor,
            st.text(max_size=4),
            st.text(max_size=4),
            st.lists(st.integers(0, 2**40), max_size=3).map(tuple),
            st.one_of(st.none(), st.binary(max_size=200), st.binary(max_size=9).map(memoryview)),
        ),
        max_size=3,
    ),
    st.text(max_size=4),
    st.dictionaries(
        st.text(max_size=3),
        st.one_of(
            st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=3), st.floats(allow_nan=False)
        ),
        max_size=3,
    ),
)
def test_a_reply_is_read_as_it_was(
    outputs: list[OutputTensor], id: str, parameters: dict[str, bool | int | float | str]
) -> None:
    message = read(InferReply("m", "1", id, outputs, parameters))
    assert message.id == id
    assert [(one.name, one.datatype, tuple(one.shape)) for one in message.outputs] == [
        (one.name, one.datatype, one.shape) for one in outputs
    ]
    assert list(message.raw_output_contents) == [bytes(one.data or b"") for one in outputs]
    got = {
        name: getattr(one, str(one.WhichOneof("parameter_choice")))
        for name, one in message.parameters.items()
    }
    assert got == parameters
    assert [type(got[name]) for name in parameters] == [type(value) for value in parameters.values()]
