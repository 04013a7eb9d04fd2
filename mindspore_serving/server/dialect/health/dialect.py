"""Health checks: what is answered over HTTP, and over gRPC."""

from __future__ import annotations

from collections.abc import Collection

from mindspore_serving.server.dialect.health.grpc import HealthService
from mindspore_serving.server.dialect.health.page import HealthPages
from mindspore_serving.server.service.catalog import Catalog


class HealthDialect(HealthPages):
    """Says whether the server lives, and is ready.

    Args:
        catalog: What is asked.
        services: As of `HealthService`.
    """

    def __init__(self, catalog: Catalog, services: Collection[str] = ()) -> None:
        super().__init__(catalog)
        self.grpc_methods = HealthService(catalog, services).grpc_methods
