"""The Open Inference Protocol: what it answers over HTTP, and over gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.server.dialect.open_inference.grpc.service import GrpcInference
from mindspore_serving.server.dialect.open_inference.http.operations import describe
from mindspore_serving.server.dialect.open_inference.http.rest import OpenInferenceRest
from mindspore_serving.server.dialect.open_inference.http.shared_memory import SharedMemoryRest
from mindspore_serving.server.dialect.open_inference.inference import Inference
from mindspore_serving.server.dialect.open_inference.models import Models
from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.description import DescribedServable, Description
from mindspore_serving.server.transport.grpc_routes import GrpcMethod


class OpenInferenceDialect(OpenInferenceRest):
    """What Triton, KServe and MLServer speak.

    Args:
        service: What it asks.
        regions: Shared memory of clients.
    """

    def __init__(self, service: Service, regions: SharedMemoryRegions) -> None:
        self._regions = regions
        inference, models = Inference(service, regions), Models(service, regions)
        super().__init__(inference, models, SharedMemoryRest(regions).routes)
        self.grpc_methods: Sequence[GrpcMethod] = GrpcInference(inference, models, regions).grpc_methods

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What is answered over HTTP.

        Args:
            servables: Those to be described.
        """
        return describe(servables, self.routes, shared_memory=self._regions.allowed)
