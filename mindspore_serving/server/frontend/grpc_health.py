"""The gRPC interface of health checks: service `grpc.health.v1.Health` with Check and Watch."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from mindspore_serving.server.master.dispatcher import Dispatcher

MOST_WATCHES = 1000
"""Watch streams at a time of one server; one beyond that is refused."""
_SERVICE = "/grpc.health.v1.Health"
_MOST_SHOWN = 100
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class HealthHandler(grpc.GenericRpcHandler):
    """Answers health checks.

    Args:
        dispatcher: Whose servables are asked about.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._watches = 0
        self._ended = False
        coding = (health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString)
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            f"{_SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self.check, *coding),
            f"{_SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(self.watch, *coding),
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None for anything but Check and Watch."""
        return self._methods.get(handler_call_details.method)

    async def check(self, request: Any, context: _Context) -> Any:
        """Say how a service is now; NOT_FOUND for one that nobody has declared."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Unknown service '{request.service[:_MOST_SHOWN]}', expected '' for the server, '{{servable}}' or "
                "'{servable}/{version}'",
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(self, request: Any, context: _Context) -> None:
        """Say how a service is now, and again whenever that has changed, until the client or the server goes away."""
        if self._watches >= MOST_WATCHES:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"There are {MOST_WATCHES} watches already, the most there may be"
            )
        self._watches += 1
        try:
            await self._tell_changes(request.service, context)
        finally:
            self._watches -= 1

    def end_watches(self) -> None:
        """Let every watch tell its last status, and end; safe to call twice."""
        self._ended = True
        self._dispatcher.readiness.notify()

    async def _tell_changes(self, service: str, context: _Context) -> None:
        told: int | None = None
        while True:
            changed = self._dispatcher.readiness.changed
            status = self._status(service)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            if self._ended:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        """SERVING, NOT_SERVING or SERVICE_UNKNOWN."""
        serves = self._dispatcher.readiness.look().serves(service)
        if serves is None:
            return _UNKNOWN
        return _SERVING if serves else _NOT_SERVING
