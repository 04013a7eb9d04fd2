"""A serialised ModelInferRequest: reading by field against the classes that protobuf has generated."""

from __future__ import annotations

from collections.abc import Coroutine
from math import prod
from typing import Any

from google.protobuf.message import DecodeError

from mindspore_serving.errors import InvalidInput
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.proto.foreign import open_inference_pb2 as pb
from mindspore_serving.server.dialect.open_inference.grpc.contents import FIELD_OF
from mindspore_serving.server.dialect.open_inference.grpc.reply import parts_of_reply
from mindspore_serving.server.dialect.open_inference.grpc.request import heading_in, read_message, request_in
from mindspore_serving.server.dialect.open_inference.messages import InferReply, InferRequest, OutputTensor
from tests.fuzz.oracle import demand, demand_text

_REGION = "shared_memory_region"


def one_input(data: bytes) -> None:
    """Read a message twice, and write what is in it as a reply."""
    try:
        expected = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        expected = None
    heading_in(data)
    got = _read(data)
    again = _read(data)
    demand(_told(got) == _told(again), "what is remembered changes nothing", got, again)
    if expected is None:
        demand(not isinstance(got, InferRequest), "what protobuf refuses is refused", got)
    elif isinstance(got, InferRequest):
        _compare(got, expected)
        _write(got)
    else:
        good = _is_good(expected) and not _has_groups(got)
        demand(not good, "what is well formed is read", got, expected)


def _read(data: bytes) -> InferRequest | Exception:
    try:
        return _finished(request_in(read_message(data)))
    except UNDECODABLE as error:
        return error
    except InvalidInput as error:
        demand_text(error)
        return error


def _finished(reading: Coroutine[Any, Any, InferRequest]) -> InferRequest:
    """What a coroutine returns that waits for nothing: an event loop for each input would take most of the time."""
    while True:
        try:
            reading.send(None)
        except StopIteration as end:
            request: InferRequest = end.value
            return request


def _told(outcome: InferRequest | Exception) -> str:
    """An outcome, as it can be compared."""
    if isinstance(outcome, Exception):
        return f"{type(outcome)} {outcome}"
    data = [bytes(one.data) if isinstance(one.data, memoryview) else one.data for one in outcome.inputs]
    names = [(one.name, one.datatype, one.shape, dict(one.parameters)) for one in outcome.inputs]
    outputs = [(one.name, dict(one.parameters)) for one in outcome.outputs]
    whole = (outcome.model, outcome.version, outcome.id, dict(outcome.parameters))
    return repr((whole, names, data, outputs))


def _has_groups(error: InferRequest | Exception) -> bool:
    """Whether a message holds a field type that nobody writes any more; protobuf passes over those."""
    return isinstance(error, DecodeError) and "field type" in str(error)


def _compare(got: InferRequest, expected: Any) -> None:
    told = (got.model, got.version, got.id)
    sent = (expected.model_name, expected.model_version, expected.id)
    demand(told == sent, "a request is for what it says", told, sent)
    demand(set(got.parameters) == set(expected.parameters), "parameters arrive", got.parameters)
    demand([one.name for one in got.outputs] == [one.name for one in expected.outputs], "outputs arrive", got)
    demand(len(got.inputs) == len(expected.inputs), "inputs arrive", got.inputs)
    raw = iter(expected.raw_input_contents)
    for one, tensor in zip(got.inputs, expected.inputs, strict=True):
        demand((one.name, list(one.shape)) == (tensor.name, list(tensor.shape)), "a tensor is as sent", one)
        if _REGION in tensor.parameters:
            demand(one.data is None, "what is in shared memory has no data", one)
        elif expected.raw_input_contents:
            demand(bytes(one.data or b"") == next(raw), "raw data is as sent", one)  # type: ignore[arg-type]
        elif isinstance(one.data, list):
            demand(one.data == list(tensor.contents.bytes_contents), "texts are as sent", one)
        elif prod(one.shape):
            count = len(getattr(tensor.contents, FIELD_OF[one.datatype]))
            demand(bool(one.data) and len(one.data) % count == 0, "elements have one size", one)  # type: ignore[arg-type]
    demand(next(raw, None) is None, "no raw data is left", expected)


def _is_good(message: Any) -> bool:
    """Whether raw data fits the inputs: contents have rules of their own."""
    values = [*message.parameters.values()]
    for one in (*message.inputs, *message.outputs):
        values += one.parameters.values()
    if any(value.WhichOneof("parameter_choice") is None for value in values):
        return False
    if any(tensor.HasField("contents") for tensor in message.inputs) or not message.raw_input_contents:
        return False
    return len(message.raw_input_contents) == sum(_REGION not in one.parameters for one in message.inputs)


def _write(got: InferRequest) -> None:
    outputs = [
        OutputTensor(
            one.name, one.datatype, one.shape, b"" if isinstance(one.data, list) else one.data, one.parameters
        )
        for one in got.inputs
    ]
    parts = parts_of_reply(InferReply(got.model, got.version, got.id, outputs, got.parameters))
    reply = pb.ModelInferResponse.FromString(b"".join(parts))
    demand(len(reply.raw_output_contents) == len(outputs), "each output has an entry", reply)
    demand((reply.model_name, reply.id) == (got.model, got.id), "a reply names its request", reply)
