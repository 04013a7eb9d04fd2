"""`/console`, and what it asks for beside `/status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

import orjson

from mindspore_serving.errors import Failure, InvalidInput, UnknownTarget, excerpt
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi.html import safe_headers
from mindspore_serving.server.console.page import files
from mindspore_serving.server.console.page.document import methods_document
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.server.service.worker_logs import WorkerLogs
from mindspore_serving.server.transport.description import (
    OK,
    TEXT_SCHEMA,
    Content,
    DescribedServable,
    Description,
    Operation,
    Parameter,
    error_schema,
    object_schema,
)
from mindspore_serving.server.transport.grpc_routes import GrpcMethod
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.reply_coding import compressed

PAGE_PATH: Final = "/console"
METHODS_PATH: Final = f"{PAGE_PATH}/methods"
LOG_PATH: Final = f"{PAGE_PATH}/log"
LOG_BYTES: Final = 64 << 10
"""Of the end of a log, that are shown."""
_FILES: Final = f"{PAGE_PATH}/{{file}}"
_VERBS: Final = ("GET", "HEAD")
_HEADERS: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_MOST_FIELDS: Final = 16


class ConsolePage:
    """Shows the server in a browser.

    The files that a browser loads hold no data, so everybody may load them: a browser sends no key for them. All data
    needs a right.

    Args:
        catalog: Tells what there is.
        logs: Tells what workers have written.
        keys: Whether the listener asks for API keys.
        infers: Whether it runs methods.
    """

    name = "console"
    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(self, catalog: Catalog, logs: WorkerLogs, *, keys: bool, infers: bool) -> None:
        self._catalog = catalog
        self._logs = logs
        self._keys = keys
        self._infers = infers
        self.routes: Sequence[Route] = (
            Route(_VERBS, PAGE_PATH, self.page, Right.NONE),
            Route(_VERBS, METHODS_PATH, self.methods, Right.VIEW),
            Route(_VERBS, LOG_PATH, self.log, Right.MANAGE),
            Route(_VERBS, _FILES, self.file, Right.NONE),
        )

    async def page(self, request: HttpRequest) -> HttpReply:
        """Give the page itself."""
        return await _file(files.PAGE, request)

    async def file(self, request: HttpRequest) -> HttpReply:
        """Give a file of the page.

        Raises:
            UnknownTarget: There is no such file.
        """
        name = request.parts["file"]
        if name not in files.FILE_TYPES or name == files.PAGE:
            raise UnknownTarget(f"There is nothing at {PAGE_PATH}/{excerpt(name)}")
        return await _file(name, request)

    async def methods(self, request: HttpRequest) -> HttpReply:
        """Say what there is to run; with `?search=` what fits."""
        search = _field(request.target, "search")
        document = methods_document(
            self._catalog.servables(), search, request.identity, keys=self._keys, infers=self._infers
        )
        reply = HttpReply(200, orjson.dumps(document), headers=_HEADERS)
        return await compressed(reply, request.headers.get("accept-encoding"))

    async def log(self, request: HttpRequest) -> HttpReply:
        """Give the last lines that a worker has written.

        Raises:
            UnknownTarget: There is no such worker here, or its log cannot be read.
        """
        worker = _field(request.target, "worker")
        try:
            # On the loop: once the start script has come to its end, Python starts no threads. It takes a millisecond.
            end = self._logs.end_of(worker, LOG_BYTES)
        except OSError as cause:
            raise UnknownTarget(
                f"The log of worker '{excerpt(worker)}' cannot be read: {cause.strerror}"
            ) from cause
        if end is None:
            raise UnknownTarget(f"There is no log of worker '{excerpt(worker)}' on this machine")
        reply = HttpReply(200, orjson.dumps({"worker": worker, **_lines(end)}), headers=_HEADERS)
        return await compressed(reply, request.headers.get("accept-encoding"))

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed."""
        return HttpReply(failure.status, encode_failure(failure))

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What is answered.

        Args:
            servables: Not asked for.
        """
        search = Parameter("search", "query", "Words that are in `SERVABLE/VERSION METHOD`.")
        worker = Parameter("worker", "query", "As `/status` calls it.")
        name = Parameter("file", "path", "Name of a file.")
        scripts = [Content(TEXT_SCHEMA, kind) for kind in ("text/css", "text/javascript")]
        methods = Content(object_schema({"versions": {"type": "array"}}))
        lines = {"type": "array", "items": TEXT_SCHEMA}
        log = Content(object_schema({"worker": TEXT_SCHEMA, "lines": lines}))
        page = Content(TEXT_SCHEMA, "text/html")
        return Description(
            [
                Operation(
                    verb,
                    pattern,
                    summary,
                    parameters=parameters,
                    gives={OK: contents if verb == "GET" else []},
                )
                for pattern, summary, parameters, contents in (
                    (PAGE_PATH, "Show the server in a browser", (), [page]),
                    (METHODS_PATH, "Say what the console shows of methods", (search,), [methods]),
                    (LOG_PATH, "Give the last lines of a worker's log", (worker,), [log]),
                    (_FILES, "Give a file of the console", (name,), scripts),
                )
                for verb in _VERBS
            ],
            error_schema("error_msg"),
        )


async def _file(name: str, request: HttpRequest) -> HttpReply:
    reply = HttpReply(200, files.content_of(name), files.FILE_TYPES[name], safe_headers(files.POLICY))
    return await compressed(reply, request.headers.get("accept-encoding"))


def _lines(end: bytes) -> dict[str, list[str] | bool]:
    """Whole lines of the end of a log, and whether something is before them."""
    is_cut = len(end) == LOG_BYTES
    if is_cut:
        end = end.partition(b"\n")[2] or end
    return {"lines": end.decode(errors="replace").splitlines(), "cut": is_cut}


def _field(target: str, name: str) -> str:
    """A field of the query; "" where it is not there.

    Raises:
        InvalidInput: The query has very many fields.
    """
    query = target.partition("?")[2]
    try:
        return dict(parse_qsl(query, max_num_fields=_MOST_FIELDS)).get(name, "")
    except ValueError as cause:
        raise InvalidInput(f"The query has more than {_MOST_FIELDS} fields") from cause
