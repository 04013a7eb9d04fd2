"""Health checks as clients send them."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

import grpc

from mindspore_serving.proto.foreign import health_pb2
from tests.support.grpc_stub import Stub, health_stub
from tests.support.http_requests import send

ANSWER_TIMEOUT_S = 20.0


def readiness(rest: str) -> tuple[int, Any]:
    """HTTP status and document of /healthz/ready."""
    reply = send(rest, "GET", "/healthz/ready")
    return reply.status, json.loads(reply.body)


class Watch:
    """A Watch stream.

    Args:
        stub: Of the service.
        service: What to watch.
    """

    def __init__(self, stub: Stub, service: str) -> None:
        self._told: queue.Queue[str] = queue.Queue()
        self._call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
        """The next status; `end` where the server has ended the stream in order, else the status of gRPC."""
        return self._told.get(timeout=timeout_s)

    def _read(self) -> None:
        try:
            for reply in self._call:
                self._told.put(_name_of(reply.status))
            self._told.put("end")
        except grpc.RpcError as error:
            self._told.put(error.code().name)


class Checks:
    """A client of the gRPC service.

    Args:
        address: Where the gRPC server listens, or will listen.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = health_stub(self._channel)

    def check(self, service: str) -> str:
        """Status of a service; NOT_FOUND where there is none."""
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            reply = self._stub.Check(request, timeout=ANSWER_TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
            return "NOT_FOUND"
        return _name_of(reply.status)

    def check_all(self, *services: str) -> list[str]:
        """Status of each service."""
        return [self.check(service) for service in services]

    def watch(self, service: str) -> Watch:
        """Watch a service from now on."""
        return Watch(self._stub, service)

    def __enter__(self) -> Checks:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()


def _name_of(status: int) -> str:
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
    return name
