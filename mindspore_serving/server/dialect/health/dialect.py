"""Health checks: what is answered over HTTP, and over gRPC."""

from __future__ import annotations

from mindspore_serving.server.dialect.health.grpc import HealthService
from mindspore_serving.server.dialect.health.page import HealthPages
from mindspore_serving.server.service.catalog import Catalog


class HealthDialect(HealthPages):
    """Says whether the server lives, and is ready.

    Args:
        catalog: What is asked.
    """

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog)
        self.grpc_methods = HealthService(catalog).grpc_methods
