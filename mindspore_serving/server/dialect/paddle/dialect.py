"""What clients of Paddle Serving are answered, and where."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.errors import Failure, ServingError
from mindspore_serving.server.dialect.paddle import general_model, operations, pipeline
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.server.transport.description import DescribedServable, Description
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route


class PaddleDialect:
    """Both services of Paddle Serving.

    Args:
        service: What it asks.
    """

    name = "paddle"

    def __init__(self, service: Service) -> None:
        self._targets = targets = Targets(service, "GET /v1/models")
        parts = general_model.GeneralModel(service, targets), pipeline.Pipelines(service, targets)
        self.routes: Sequence[Route] = [route for part in parts for route in part.routes]
        self.grpc_methods: Sequence[GrpcMethod] = [method for part in parts for method in part.grpc_methods]

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed."""
        if request.path.startswith(f"{operations.GENERAL_PATH}/"):
            return general_model.refusal(failure, request)
        return pipeline.refusal(failure)

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What the dialect answers.

        Args:
            servables: Those to be described.
        """
        try:
            destination = self._targets.unnamed()
        except ServingError:  # requests have to name a servable
            return operations.describe(servables, None)
        return operations.describe(servables, (destination.servable.name, destination.method))
