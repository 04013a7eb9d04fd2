"""The checks, one module for each area of the protocol."""

from __future__ import annotations

from oip_conformance.areas import (
    classification,
    compression,
    configuration,
    datatypes,
    generate,
    grpc_basic,
    grpc_infer,
    grpc_refused,
    grpc_services,
    grpc_stream,
    repository,
    rest_binary,
    rest_health,
    rest_infer,
    rest_metadata,
    rest_refused,
    settings,
    shared_memory,
    statistics,
)
from oip_conformance.check import Area, Check

# In the order in which they run. Malformed requests come late: they may harm a server.
AREAS: tuple[Area, ...] = (
    rest_health.AREA,
    rest_health.HTTP,
    rest_metadata.AREA,
    rest_infer.AREA,
    rest_binary.AREA,
    grpc_basic.AREA,
    grpc_infer.AREA,
    grpc_stream.AREA,
    datatypes.AREA,
    statistics.AREA,
    configuration.AREA,
    repository.AREA,
    classification.AREA,
    generate.AREA,
    settings.AREA,
    grpc_services.HEALTH,
    grpc_services.REFLECTION,
    compression.AREA,
    shared_memory.AREA,
    rest_refused.AREA,
    rest_refused.BINARY,
    grpc_refused.AREA,
    rest_refused.DEEP,
)


def all_checks() -> tuple[Check, ...]:
    """Return every check, in the order in which they run.

    Raises:
        ValueError: Two checks have one id.
    """
    checks = tuple(check for area in AREAS for check in area.checks)
    ids = [check.id for check in checks]
    twice = {each for each in ids if ids.count(each) > 1}
    if twice:
        raise ValueError(f"ids of several checks: {', '.join(sorted(twice))}")
    return checks
