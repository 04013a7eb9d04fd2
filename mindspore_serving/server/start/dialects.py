"""Which dialects the front ends speak."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore_serving.server.dialect.health.dialect import HealthDialect
from mindspore_serving.server.dialect.native.dialect import NativeDialect
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.transport.routes import Dialect


def dialects_of(service: Service, *, always_ok: bool = False) -> Sequence[Dialect]:
    """All dialects; the first one words what nobody else can.

    Args:
        service: What they ask.
        always_ok: Whether the native one says HTTP 200 also for errors.
    """
    return (
        NativeDialect(service.dispatcher, service.catalog, always_ok=always_ok),
        HealthDialect(service.catalog),
    )
