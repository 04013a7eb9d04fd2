"""Which dialects the front ends speak."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.proto import ms_service_pb2
from mindspore_serving.proto.foreign import (
    health_pb2,
    open_inference_pb2,
    paddle_general_model_pb2,
    paddle_pipeline_pb2,
)
from mindspore_serving.server.dialect.health.dialect import HealthDialect
from mindspore_serving.server.dialect.kserve_v1.dialect import KserveV1Dialect
from mindspore_serving.server.dialect.native.dialect import NativeDialect
from mindspore_serving.server.dialect.open_inference.dialect import OpenInferenceDialect
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.dialect.paddle.dialect import PaddleDialect
from mindspore_serving.server.dialect.reflection.dialect import ReflectionDialect
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.routes import Dialect


def dialects_of(
    service: Service, regions: SharedMemoryRegions, *, always_ok: bool = False
) -> Sequence[Dialect]:
    """All dialects; the first one words what nobody else can.

    Args:
        service: What they ask.
        regions: Shared memory of clients, which all front ends of a server have in common.
        always_ok: Whether the native one says HTTP 200 also for errors.
    """
    asked = (
        NativeDialect(service.dispatcher, service.catalog, always_ok=always_ok),
        OpenInferenceDialect(service, regions),
        KserveV1Dialect(service),
        PaddleDialect(service),
    )
    services = {method.path.split("/")[1] for dialect in asked for method in dialect.grpc_methods}
    return (
        *asked,
        HealthDialect(service.catalog, services),
        ReflectionDialect(
            (
                ms_service_pb2.DESCRIPTOR,
                open_inference_pb2.DESCRIPTOR,
                paddle_general_model_pb2.DESCRIPTOR,
                paddle_pipeline_pb2.DESCRIPTOR,
                health_pb2.DESCRIPTOR,
            )
        ),
    )
