"""Messages of the protocol for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mindspore_serving.proto.foreign import open_inference_pb2 as pb

REGION = "shared_memory_region"


def entry(kind: str, value: Any) -> dict[str, Any]:
    """A parameter, by the name of its field."""
    return {kind: value}


def tensor(
    name: str,
    datatype: str,
    shape: Sequence[int],
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    **contents: Any,
) -> pb.ModelInferRequest.InferInputTensor:
    """An input; its elements by the names of their fields."""
    message = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    set_parameters(message.parameters, parameters or {})
    if contents:
        message.contents.MergeFrom(pb.InferTensorContents(**contents))
    return message


def request(
    *inputs: pb.ModelInferRequest.InferInputTensor,
    raw: Sequence[bytes] = (),
    model: str = "",
    version: str = "",
    id: str = "",
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> pb.ModelInferRequest:
    """A request for inference."""
    message = pb.ModelInferRequest(
        model_name=model, model_version=version, id=id, inputs=inputs, raw_input_contents=raw
    )
    set_parameters(message.parameters, parameters or {})
    return message


def set_parameters(target: Any, parameters: Mapping[str, Mapping[str, Any]]) -> None:
    for name, value in parameters.items():
        target[name].MergeFrom(pb.InferParameter(**value))
