"""A stub of any service, from its descriptor."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from mindspore_serving.proto.foreign import health_pb2, open_inference_pb2


class Stub:
    """The calls of a service, as attributes: as the classes that grpcio-tools generates.

    Args:
        channel: Of grpc or grpc.aio.
        service: Which.
    """

    def __init__(self, channel: Any, service: ServiceDescriptor) -> None:
        for method in service.methods:
            sides = [
                "stream" if streams else "unary"
                for streams in (method.client_streaming, method.server_streaming)
            ]
            call = getattr(channel, "_".join(sides))(
                f"/{service.full_name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the service has no method {name}")


def health_stub(channel: Any) -> Stub:
    """A stub of the health checks of gRPC."""
    return Stub(channel, health_pb2.DESCRIPTOR.services_by_name["Health"])


def inference_stub(channel: Any) -> Stub:
    """A stub of Open Inference Protocol."""
    return Stub(channel, open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"])
