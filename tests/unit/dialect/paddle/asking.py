"""A dialect in front of methods that the test declares, and what clients send it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mindspore_serving.errors import ServingError
from mindspore_serving.server.dialect.paddle.dialect import PaddleDialect
from mindspore_serving.server.transport.grpc_routes import GrpcReply, UnaryMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.unit.dialect.grpc_calls import FakeCall
from tests.unit.dialect.open_inference.fake_service import echo, method, service_of

GENERAL = "/GeneralModelService/inference"
GRPC_GENERAL = "/baidu.paddle_serving.predictor.general_model.GeneralModelService/inference"
GRPC_PIPELINE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
HOUSE = TensorType("x", DataType.FLOAT32, (3,), file_name="input_0")
PRICE = TensorType("price", DataType.FLOAT32, (3,), file_name="fc_0.tmp_1")
UCI = method("predict", (HOUSE,), (PRICE,))


class Asked:
    """A dialect, and the dispatcher behind it.

    Args:
        methods: As of `service_of`.
        outcome: As of `service_of`.
        default: Of the catalog.
    """

    def __init__(
        self,
        methods: Mapping[tuple[str, int], Sequence[MethodSignature]] | Sequence[MethodSignature] = (UCI,),
        outcome: Any = echo,
        default: str = "",
        **more: Any,
    ) -> None:
        service, self.dispatcher = service_of(methods, outcome, **more)
        service.catalog.default = default
        self.dialect = PaddleDialect(service)

    def post(self, path: str, body: Any, **headers: str) -> HttpReply:
        """The reply to a body: bytes, or what is written as JSON."""
        return asyncio.run(self.posted(path, body, **headers))

    async def posted(self, path: str, body: Any, **headers: str) -> HttpReply:
        """As `post`."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest("POST", path, named, body=sent)
        patterns = {route.pattern: route for route in self.dialect.routes}
        service = path.removesuffix("/prediction").removeprefix("/")
        route = patterns.get(path) or patterns["/{service}/prediction"]
        request.parts = {"service": service}
        try:
            return await route.handler(request)
        except ServingError as error:
            return self.dialect.refuse(error.failure(), request)

    def ask(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and document of the reply to JSON."""
        reply = self.post(path, body, **headers)
        assert reply.content_type == "application/json"
        return reply.status, json.loads(reply.body)

    def call(self, path: str, message: bytes, call: FakeCall | None = None) -> GrpcReply:
        """The reply to a message of gRPC."""
        found = next(one for one in self.dialect.grpc_methods if one.path == path)
        assert isinstance(found, UnaryMethod)

        async def answered() -> GrpcReply:
            return await found.handler(message, call or FakeCall())

        return asyncio.run(answered())
