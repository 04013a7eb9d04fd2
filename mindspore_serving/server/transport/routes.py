"""Routes as data: what a dialect gives to the transports.

A transport reads a request within its limits, decides whether its client may ask it, and calls the handler of the route
that it fits. A handler returns a reply, or raises: over HTTP a `ServingError`, of which the dialect makes a reply, over
gRPC a `GrpcError`, which is the status of the call. The transport gives the reply its id, logs what has failed, and
writes it.

`http_routes` has the routes of HTTP, `grpc_routes` the methods of gRPC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mindspore_serving.errors import Failure
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route


class Dialect(Protocol):
    """A language in which clients ask.

    Attributes:
        name: As logs and documentation call it.
        routes: What it answers over HTTP.
        grpc_methods: What it answers over gRPC.
    """

    name: str
    routes: Sequence[Route]
    grpc_methods: Sequence[GrpcMethod]

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed, or that a transport does not take.

        The transport adds `Allow`, `Retry-After`, `WWW-Authenticate` and the request id, and logs the failure.

        Args:
            failure: Why; its status is what HTTP says to it.
            request: What is known of it; its verb is empty where that is nothing.
        """
