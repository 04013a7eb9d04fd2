"""The gRPC interface of health checks: service `grpc.health.v1.Health` with Check and Watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mindspore_serving.proto import UNDECODABLE
from mindspore_serving.proto.foreign import health_pb2
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.host.waiting import wait_for_any
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.grpc_routes import (
    GrpcCall,
    GrpcMethod,
    GrpcReply,
    GrpcStatus,
    StreamedReplyMethod,
    UnaryMethod,
    client_error,
)

if TYPE_CHECKING:  # a class in the hints of the messages alone
    Status: TypeAlias = health_pb2.HealthCheckResponse.ServingStatus

MOST_WATCHES = 1000
"""Watch streams at a time of one server; one beyond that is refused."""
_SERVICE = "/grpc.health.v1.Health"
_LARGEST_REQUEST = 1024
"""Bytes; a servable is a folder, whose name is shorter. A watch holds its request for as long as it lasts."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """Answers health checks, from everybody.

    Args:
        catalog: What is asked.
        services: Names of what the server answers over gRPC: they are as healthy as all of it.

    Attributes:
        grpc_methods: Check and Watch.
    """

    def __init__(self, catalog: Catalog, services: Collection[str] = ()) -> None:
        self.grpc_methods: Sequence[GrpcMethod] = (
            UnaryMethod(
                path=f"{_SERVICE}/Check",
                handler=self.check,
                right=Right.NONE,
                refuses=_is_too_large,
                probe=True,
            ),
            StreamedReplyMethod(
                path=f"{_SERVICE}/Watch",
                handler=self.watch,
                right=Right.NONE,
                refuses=_is_too_large,
                probe=True,
            ),
        )
        self._catalog = catalog
        self._services = frozenset(services)
        self._watches = 0

    async def check(self, message: bytes, call: GrpcCall) -> GrpcReply:
        """Say how a service is now.

        Args:
            message: Serialised HealthCheckRequest.
            call: Of the message.

        Returns:
            Serialised HealthCheckResponse.

        Raises:
            GrpcError: NOT_FOUND for a service that nobody has declared; others where the message asks for none.
        """
        service = _service_in(message)
        status = self._status(service)
        if status == _UNKNOWN:
            raise client_error(
                GrpcStatus.NOT_FOUND,
                f"Unknown service '{service}', expected '' for the server, '{{servable}}', "
                "'{servable}/{version}', or a service of gRPC",
            )
        return _reply(status)

    async def watch(self, message: bytes, call: GrpcCall) -> AsyncGenerator[GrpcReply, None]:
        """Say how a service is now, and again whenever that has changed, until the client or the server goes away.

        Args:
            message: Serialised HealthCheckRequest.
            call: Of the message.

        Yields:
            Serialised HealthCheckResponse.

        Raises:
            GrpcError: There are too many watches, or the message asks for no service.
        """
        service = _service_in(message)
        if self._watches >= MOST_WATCHES:
            raise client_error(
                GrpcStatus.RESOURCE_EXHAUSTED,
                f"There are {MOST_WATCHES} watches already, the most there may be",
            )
        self._watches += 1
        reported: Status | None = None
        try:
            while True:
                stopping = call.stopping.is_set()  # before the status, which is then the last one
                changed = self._catalog.changed
                status = self._status(service)
                if status != reported:
                    reported = status
                    yield _reply(status)
                if stopping:
                    return
                await wait_for_any(changed, call.stopping)
        finally:
            self._watches -= 1

    def _status(self, service: str) -> Status:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN."""
        serves = self._catalog.health().serves("" if service in self._services else service)
        if serves is None:
            return _UNKNOWN
        return _SERVING if serves else _NOT_SERVING


def _service_in(message: bytes) -> str:
    """What a call asks about.

    Raises:
        GrpcError: The message is too large, or no HealthCheckRequest.
    """
    if _is_too_large(message):
        raise client_error(
            GrpcStatus.RESOURCE_EXHAUSTED,
            f"Health check of {len(message)} bytes, expected at most {_LARGEST_REQUEST}",
        )
    try:
        service = health_pb2.HealthCheckRequest.FromString(message).service
    except UNDECODABLE as cause:
        raise client_error(GrpcStatus.INTERNAL, "Unable to parse request") from cause
    return service


def _is_too_large(message: bytes) -> bool:
    return len(message) > _LARGEST_REQUEST


def _reply(status: Status) -> GrpcReply:
    return GrpcReply(health_pb2.HealthCheckResponse(status=status).SerializeToString())
