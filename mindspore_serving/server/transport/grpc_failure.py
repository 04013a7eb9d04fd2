"""The status of gRPC for a failure."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from mindspore_serving.errors import AlreadyExists, Failure, InvalidInput, ServingError, unexpected_failure
from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.server.transport.grpc_routes import GrpcError, GrpcStatus

_STATUS_OF: Final[Mapping[int, GrpcStatus]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: GrpcStatus.UNAUTHENTICATED,
        HTTPStatus.FORBIDDEN: GrpcStatus.PERMISSION_DENIED,
        HTTPStatus.NOT_FOUND: GrpcStatus.NOT_FOUND,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: GrpcStatus.RESOURCE_EXHAUSTED,
        HTTPStatus.TOO_MANY_REQUESTS: GrpcStatus.RESOURCE_EXHAUSTED,
        HTTPStatus.NOT_IMPLEMENTED: GrpcStatus.UNIMPLEMENTED,
        HTTPStatus.SERVICE_UNAVAILABLE: GrpcStatus.UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT: GrpcStatus.DEADLINE_EXCEEDED,
    }
)


def status_of(failure: Failure) -> GrpcStatus:
    """What gRPC says to a failure: the twin of its HTTP status.

    Args:
        failure: Why a request has no result.
    """
    found = _STATUS_OF.get(failure.status)
    if found is not None:
        return found
    return GrpcStatus.INVALID_ARGUMENT if failure.status < 500 else GrpcStatus.INTERNAL


def error_of(error: Exception, target: str = "") -> GrpcError:
    """What ends a call that has failed.

    Args:
        error: Why; anything that no class of Serving or of protobuf stands for is a fault of Serving itself.
        target: What the call asked for, for the log; "" where that is not known.
    """
    if isinstance(error, GrpcError):
        error.target = target
        return error
    if isinstance(error, UNDECODABLE):
        return GrpcError(GrpcStatus.INTERNAL, InvalidInput("Unable to parse request").failure(), target)
    failure = error.failure() if isinstance(error, ServingError) else unexpected_failure(error)
    # HTTP has no status for it.
    status = GrpcStatus.ALREADY_EXISTS if isinstance(error, AlreadyExists) else status_of(failure)
    return GrpcError(status, failure, target)
