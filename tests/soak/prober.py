"""Health checks as an orchestrator makes them, once a second in a thread of their own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

import grpc

from mindspore_serving.proto.foreign import health_pb2
from tests.soak.servables import API_KEY
from tests.support.grpc_stub import health_stub

_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 5.0
_OK, _UNAVAILABLE = 200, 503


@dataclass
class Probes:
    """What health checks have said.

    Attributes:
        asked: How often all three were asked.
        ready: How often REST said that the server is ready.
        not_ready: How often it said that it is not.
        ready_by_grpc: How often gRPC said that it is ready.
        not_ready_by_grpc: How often gRPC said that it is not.
        slowest_s: The longest that one of them took.
    """

    asked: int = 0
    ready: int = 0
    not_ready: int = 0
    ready_by_grpc: int = 0
    not_ready_by_grpc: int = 0
    slowest_s: float = 0.0


class Prober:
    """Asks one server.

    Args:
        grpc_address: Of the gRPC server.
        rest_address: Of the REST server.

    Attributes:
        probes: What was said so far.
        problems: Checks that were not answered in time, or not as health checks are.
    """

    def __init__(self, grpc_address: str, rest_address: str) -> None:
        self.probes = Probes()
        self.problems: list[str] = []
        self._rest = rest_address
        self._channel = grpc.insecure_channel(grpc_address)
        self._stub = health_stub(self._channel)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Ask every second from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Ask no more, and close the connection."""
        self.stop()
        self._channel.close()

    def readiness(self) -> dict[str, Any]:
        """What REST says about readiness.

        Raises:
            OSError: It says nothing in time, or no HTTP.
            ValueError: It says something else.
        """
        status, document = self._get("/healthz/ready")
        said = document["status"]
        if (status, said) not in ((_OK, "ready"), (_UNAVAILABLE, "not ready")):
            raise ValueError(f"HTTP status {status} does not fit {said!r}")
        return document

    def ready_by_grpc(self) -> bool:
        """What gRPC says about readiness.

        Raises:
            grpc.RpcError: It says nothing in time.
            ValueError: It says something else.
        """
        reply = self._stub.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_TIMEOUT_S)
        serving = health_pb2.HealthCheckResponse.ServingStatus
        if reply.status not in (serving.SERVING, serving.NOT_SERVING):
            raise ValueError(f"the status is {serving.Name(reply.status)}")
        return bool(reply.status == serving.SERVING)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.probes.asked += 1
            for ask in (self._ask_live, self._ask_ready, self._ask_grpc):
                begin = time.monotonic()
                try:
                    ask()
                except (OSError, http.client.HTTPException, grpc.RpcError, ValueError, KeyError) as error:
                    took_s = time.monotonic() - begin
                    self.problems.append(f"health check {ask.__name__[5:]}, after {took_s:.1f} s: {error!r}")
                self.probes.slowest_s = max(self.probes.slowest_s, round(time.monotonic() - begin, 3))

    def _ask_live(self) -> None:
        status, _ = self._get("/healthz/live")
        if status != _OK:
            raise ValueError(f"HTTP status {status}")

    def _ask_ready(self) -> None:
        if self.readiness()["status"] == "ready":
            self.probes.ready += 1
        else:
            self.probes.not_ready += 1

    def _ask_grpc(self) -> None:
        if self.ready_by_grpc():
            self.probes.ready_by_grpc += 1
        else:
            self.probes.not_ready_by_grpc += 1

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        host, _, port = self._rest.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", path, headers={"X-API-Key": API_KEY})
            reply = connection.getresponse()
            document: dict[str, Any] = json.loads(reply.read())
            return reply.status, document
        finally:
            connection.close()
