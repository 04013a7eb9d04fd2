"""What there is, over HTTP: health, metadata, configuration, statistics, the index, and settings that can be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from mindspore_serving.errors import InvalidInput, NotOffered, UnknownTarget, excerpt
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.dialect.open_inference.http.request import kind_of, read_document
from mindspore_serving.server.dialect.open_inference.models import Models
from mindspore_serving.server.transport.http_routes import (
    BodyContent,
    BodyFormat,
    HttpReply,
    HttpRequest,
    Route,
)

_READ: Final = ("GET", "HEAD")
_NEVER_STORED: Final = (("Cache-Control", "no-store"),)
_MOST_BYTES: Final = 1 << 16
"""Of a body here: all that one may say are a few words."""
TRACE_SETTINGS: Final[Mapping[str, str | list[str]]] = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
LOG_SETTINGS: Final[Mapping[str, bool | int | str]] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
NO_LOADING: Final = (
    "explicit model load / unload is not offered by this server. It serves what its start script starts: change "
    "start_servables there, and start it again"
)
NO_SETTING: Final = "This server does not change settings at run time; its start script sets them"
Handler = Callable[[HttpRequest], Awaitable[HttpReply]]


def _nothing(body: bytes, argument: Any) -> BodyContent:
    """What is read of a body here, where it is large: nothing, since none is."""
    return BodyContent([])


_SMALL = BodyFormat(_nothing)


class Pages:
    """Answers what only tells something.

    Args:
        models: Describes what there is.

    Attributes:
        routes: All of them.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self.routes: Sequence[Route] = (
            *_probes("/v2/health/live", self.live),
            *_probes("/v2/health/ready", self.ready),
            Route(_READ, "/v2", self.server),
            Route(_READ, "/v2/", self.server),
            Route(_READ, "/v2/models", self.listing),
            Route(_READ, "/v2/models/stats", self.statistics),
            *_of_model("", self.metadata),
            *(
                route
                for version in ("", "/versions/{version}")
                for route in _probes(f"/v2/models/{{model}}{version}/ready", self.model_ready)
            ),
            *_of_model("/config", self.config),
            *_of_model("/stats", self.statistics),
            *(
                Route(("POST",), f"/v2/repository{repository}/index", self.index, most_bytes=_MOST_BYTES)
                for repository in ("", "/{repository}")
            ),
            *(
                Route(("POST",), f"/v2/repository{repository}/models/{{model}}/{action}", self.no_change)
                for repository in ("", "/{repository}")
                for action in ("load", "unload")
            ),
            *_settings("/v2/trace/setting", self.trace, self.no_settings),
            *_settings("/v2/models/{model}/trace/setting", self.trace, self.no_settings),
            *_settings("/v2/logging", self.logging, self.no_settings),
        )

    async def live(self, request: HttpRequest) -> HttpReply:
        """Say that the event loop turns, which is all that being alive means."""
        return _document({"live": True})

    async def ready(self, request: HttpRequest) -> HttpReply:
        """Say whether all that is to be served is."""
        ready = self._models.server_ready()
        document: dict[str, Any] = {"live": True, "ready": ready}
        if not ready:
            document["error"] = "The server is not ready"
        return _document(document, 200 if ready else 503)

    async def server(self, request: HttpRequest) -> HttpReply:
        """Describe the server."""
        return _document(self._models.server_metadata())

    async def listing(self, request: HttpRequest) -> HttpReply:
        """List models, and methods with all that is known of them."""
        return _document(self._models.listing())

    async def model_ready(self, request: HttpRequest) -> HttpReply:
        """Say whether a model is ready.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        model, version = _named(request)
        try:
            ready = self._models.ready(model, version)
        except UnknownTarget as error:
            if request.authenticated:
                raise
            raise UnknownTarget("There is no such model or version") from error  # which there are is not told
        document: dict[str, Any] = {"name": model, "ready": ready}
        if not ready:
            document["error"] = f"Model '{excerpt(model)}' is not ready"
        return _document(document, 200 if ready else 503)

    async def metadata(self, request: HttpRequest) -> HttpReply:
        """Describe a model.

        Raises:
            ServingError: There is no such model or version, or its methods are not known yet.
        """
        return _document(self._models.metadata(*_named(request)))

    async def config(self, request: HttpRequest) -> HttpReply:
        """Describe a model as Triton's configuration does.

        Raises:
            ServingError: As `metadata`.
        """
        return _document(self._models.config(*_named(request)))

    async def statistics(self, request: HttpRequest) -> HttpReply:
        """Give what was counted, of one model or of all.

        Raises:
            UnknownTarget: There is no such model or version.
        """
        return _document(self._models.statistics(*_named(request)))

    async def index(self, request: HttpRequest) -> HttpReply:
        """List each version of each model.

        Raises:
            InvalidInput: The body is no JSON object, or `ready` is no bool.
        """
        body = request.small_body(_SMALL)
        document = read_document(body) if body else {}
        ready = document.get("ready", False)
        if type(ready) is not bool:
            raise InvalidInput(f"ready should be true or false, but is {kind_of(ready)}")
        return _document(self._models.index(ready=ready))

    async def no_change(self, request: HttpRequest) -> HttpReply:
        """Refuse to load or unload a model.

        Raises:
            NotOffered: Always.
        """
        raise NotOffered(NO_LOADING)

    async def trace(self, request: HttpRequest) -> HttpReply:
        """Give the settings of traces, of which there are none.

        Raises:
            ServingError: There is no such model.
        """
        if "model" in request.parts:
            self._models.ready(request.parts["model"], "")
        return _document(TRACE_SETTINGS)

    async def logging(self, request: HttpRequest) -> HttpReply:
        """Give the settings of the log."""
        return _document(LOG_SETTINGS)

    async def no_settings(self, request: HttpRequest) -> HttpReply:
        """Refuse to change a setting.

        Raises:
            NotOffered: Always.
        """
        raise NotOffered(NO_SETTING)


def _document(document: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, orjson.dumps(document), headers=_NEVER_STORED)


def _named(request: HttpRequest) -> tuple[str, str]:
    """Model and version that a path names; "" where it names none."""
    return request.parts.get("model", ""), request.parts.get("version", "")


def _probes(pattern: str, handler: Handler) -> list[Route]:
    return [Route(_READ, pattern, handler, Right.NONE, probe=True)]


def _of_model(action: str, handler: Handler) -> list[Route]:
    return [
        Route(_READ, f"/v2/models/{{model}}{version}{action}", handler)
        for version in ("", "/versions/{version}")
    ]


def _settings(pattern: str, read: Handler, write: Handler) -> list[Route]:
    return [Route(_READ, pattern, read), Route(("POST",), pattern, write)]
