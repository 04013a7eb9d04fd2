"""What is answered below `/v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mindspore_serving.errors import Failure, NotOffered, UnknownTarget, excerpt
from mindspore_serving.server.dialect.kserve_v1.models import Models
from mindspore_serving.server.dialect.kserve_v1.operations import (
    COLONS,
    LABEL,
    MODEL,
    VERSION,
    describe,
)
from mindspore_serving.server.dialect.kserve_v1.predict import Predict, unknown_label
from mindspore_serving.server.service.error_text import text_for_client
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.targets import Targets
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route

_NOT_OFFERED = {
    "classify": "requests of examples are not supported, use :predict",
    "regress": "requests of examples are not supported, use :predict",
    "explain": "this server explains no predictions, use :predict",
}
_NOT_READY = 503
_ONLY_GET = "A model only supports GET; for predictions send POST to /v1/models/{model}:predict"


class KserveV1Dialect:
    """The REST interface of TensorFlow Serving and of KServe's V1 protocol.

    Args:
        service: What it asks.
    """

    name = "kserve_v1"
    describe = staticmethod(describe)

    def __init__(self, service: Service) -> None:
        targets = Targets(service, "GET /v1/models")
        self._models = Models(service.catalog, targets)
        self._predict = Predict(service, targets)
        self.grpc_methods: Sequence[GrpcMethod] = ()
        self.routes: Sequence[Route] = (
            *[
                Route(("POST",), f"{path}{colon}{{asked}}", self.ask)
                for path in (MODEL, VERSION, LABEL)
                for colon in COLONS
            ],
            Route(("GET",), "/v1/models", self.list_models),
            *[Route(("GET",), f"{path}/metadata", self.metadata) for path in (MODEL, VERSION, LABEL)],
            *[
                Route(("GET",), path, self.status, wrong_verb=_ONLY_GET, probe=True)
                for path in (MODEL, VERSION, LABEL)
            ],
            Route((), "/v1", self.list_models),
            Route((), "/v1/{path*}", self.list_models),
        )

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed."""
        return _json({"error": text_for_client(failure)}, failure.status)

    async def list_models(self, request: HttpRequest) -> HttpReply:
        """List the models."""
        return _json(self._models.listing())

    async def status(self, request: HttpRequest) -> HttpReply:
        """Tell how a model is; with status 503 where it is not ready.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        ready, document = self._models.status(*_place_of(request))
        return _json(document, 200 if ready else _NOT_READY)

    async def metadata(self, request: HttpRequest) -> HttpReply:
        """Tell the signatures of a model.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        return _json(self._models.metadata(*_place_of(request)))

    async def ask(self, request: HttpRequest) -> HttpReply:
        """Answer what is asked of a model behind the colon.

        Raises:
            ServingError: It has no answer.
        """
        model, version = _place_of(request)
        asked = request.parts["asked"].lower()
        if asked == "predict":
            return await self._predict.answer(request, model, version)
        if asked in _NOT_OFFERED:
            raise NotOffered(f":{asked} is not supported: {_NOT_OFFERED[asked]}")
        raise UnknownTarget(
            f"There is nothing at :{excerpt(request.parts['asked'])} of a model, use :predict"
        )


def _place_of(request: HttpRequest) -> tuple[str, str]:
    """Model and version that a path names.

    Raises:
        UnknownTarget: It names a label.
    """
    parts = request.parts
    if "label" in parts:
        raise unknown_label(parts["model"], parts["label"])
    return parts["model"], parts.get("version", "")


def _json(document: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, orjson.dumps(document))
