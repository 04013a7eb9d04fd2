"""The gRPC interface of health checks: service `grpc.health.v1.Health` with Check and Watch."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from mindspore_serving.server.dialect.native.predict_codec import UNDECODABLE
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.grpc.messages import Context, MessageReader, MessageRefused

MOST_WATCHES = 1000
"""Watch streams at a time of one server; one beyond that is refused."""
_SERVICE = "/grpc.health.v1.Health"
_LARGEST_REQUEST = 1024
"""Bytes; a servable is a folder, whose name is shorter. A watch holds its request for as long as it lasts."""
_SERVING: int = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: int = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthHandler(grpc.GenericRpcHandler):
    """Answers health checks.

    Args:
        catalog: What is asked.
        reader: Reads the messages of calls.
    """

    def __init__(self, catalog: Catalog, reader: MessageReader) -> None:
        self._catalog = catalog
        self._reader = reader
        self._watches = 0
        self._ended = False
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"{_SERVICE}/Check": grpc.stream_unary_rpc_method_handler(self.check),
            f"{_SERVICE}/Watch": grpc.stream_stream_rpc_method_handler(self.watch),
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None for anything but Check and Watch."""
        return self._methods.get(handler_call_details.method)

    async def check(self, requests: Any, context: Context) -> bytes:
        """Say how a service is now; NOT_FOUND for one that nobody has declared.

        Args:
            requests: Not used; a serialised HealthCheckRequest is read from `context`.
            context: Of the call.

        Returns:
            Serialised HealthCheckResponse.
        """
        service = await self._service_of(context)
        status = self._status(service)
        if status == _UNKNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Unknown service '{service}', expected '' for the server, '{{servable}}' or "
                "'{servable}/{version}'",
            )
        return _reply(status)

    async def watch(self, requests: Any, context: Context) -> None:
        """Say how a service is now, and again whenever that has changed, until the client or the server goes away.

        Args:
            requests: Not used; a serialised HealthCheckRequest is read from `context`.
            context: Of the call.
        """
        service = await self._service_of(context)
        if self._watches >= MOST_WATCHES:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"There are {MOST_WATCHES} watches already, the most there may be",
            )
        self._watches += 1
        try:
            await self._report_changes(service, context)
        finally:
            self._watches -= 1

    def end_watches(self) -> None:
        """Let every watch report its last status, and end; safe to call twice."""
        self._ended = True
        self._catalog.notify()

    async def _report_changes(self, service: str, context: Context) -> None:
        reported: int | None = None
        while True:
            changed = self._catalog.changed
            status = self._status(service)
            if status != reported:
                await context.write(_reply(status))
                reported = status
            if self._ended:
                return
            await changed.wait()

    async def _service_of(self, context: Context) -> str:
        """What a call asks about; ends it where it does not ask."""
        try:
            message = await self._reader.read(context, context.peer(), _is_too_large)
            if _is_too_large(message):
                raise MessageRefused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"Health check of {len(message)} bytes, expected at most {_LARGEST_REQUEST}",
                )
            service: str = health_pb2.HealthCheckRequest.FromString(message).service
        except MessageRefused as refused:
            await context.abort(refused.status, str(refused))
        except UNDECODABLE:
            await context.abort(grpc.StatusCode.INTERNAL, "Unable to parse request")
        return service

    def _status(self, service: str) -> int:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN."""
        serves = self._catalog.health().serves(service)
        if serves is None:
            return _UNKNOWN
        return _SERVING if serves else _NOT_SERVING


def _is_too_large(message: bytes) -> bool:
    return len(message) > _LARGEST_REQUEST


def _reply(status: int) -> bytes:
    reply: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return reply
