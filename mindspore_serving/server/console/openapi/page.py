"""`/openapi.json`, and `/docs` that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import orjson

from mindspore_serving.errors import Failure, UnknownTarget, excerpt
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi import swagger_ui
from mindspore_serving.server.console.openapi.document import OpenApiDocument
from mindspore_serving.server.console.openapi.html import HTML_TYPE, link, page_of, safe_headers
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.service.error_text import encode_failure
from mindspore_serving.server.transport.description import (
    JSON,
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
from mindspore_serving.server.transport.routes import Dialect

DOCUMENT_PATH: Final = "/openapi.json"
DOCS_PATH: Final = "/docs"
_FILES: Final = f"{DOCS_PATH}/{{file}}"
_VERBS: Final = ("GET", "HEAD")
_HOW: Final = (
    "<p>This is <a href='openapi.json'>openapi.json</a> in short. To see parameters, types and examples here, and to "
    "try requests, install Swagger UI where the server runs, and start the server again:</p>"
    f"<p><code>pip install {swagger_ui.PACKAGE}</code></p>"
)


class OpenApiPage:
    """Describes what a listener answers.

    Args:
        catalog: Tells what there is.
        dialects: Gives all that answers there, this page included.
        keys: Whether the listener asks for API keys.
        swagger_folder: Files of Swagger UI; None for a plain page.
    """

    name = "openapi"
    grpc_methods: Sequence[GrpcMethod] = ()

    def __init__(
        self,
        catalog: Catalog,
        dialects: Callable[[], Sequence[Dialect]],
        *,
        keys: bool,
        swagger_folder: Path | None = None,
    ) -> None:
        self._document = OpenApiDocument(catalog, dialects, keys=keys)
        self._swagger_folder = swagger_folder
        self.routes: Sequence[Route] = (
            Route(_VERBS, DOCUMENT_PATH, self.document, Right.VIEW),
            Route(_VERBS, DOCS_PATH, self.docs, Right.VIEW),
            Route(_VERBS, _FILES, self.file, Right.VIEW),
        )

    async def document(self, request: HttpRequest) -> HttpReply:
        """Give the document."""
        reply = HttpReply(200, await self._document.text(), JSON, safe_headers())
        return await compressed(reply, request.headers.get("accept-encoding"))

    async def docs(self, request: HttpRequest) -> HttpReply:
        """Show the document: with Swagger UI where there is one."""
        if self._swagger_folder is not None:
            return HttpReply(200, swagger_ui.PAGE.encode(), HTML_TYPE, safe_headers(swagger_ui.POLICY))
        return await compressed(
            page_of("MindSpore Serving: what it answers", _plain(orjson.loads(await self._document.text()))),
            request.headers.get("accept-encoding"),
        )

    async def file(self, request: HttpRequest) -> HttpReply:
        """Give a file of Swagger UI, or the script that starts it.

        Raises:
            UnknownTarget: There is no such file.
        """
        name, folder = request.parts["file"], self._swagger_folder
        if folder is not None and name == swagger_ui.SCRIPT_NAME:
            kind = swagger_ui.FILE_TYPES["swagger-ui-bundle.js"]
            return HttpReply(200, swagger_ui.script_for(folder).encode(), kind, safe_headers())
        if folder is None or name not in swagger_ui.FILE_TYPES:
            raise UnknownTarget(f"There is nothing at {DOCS_PATH}/{excerpt(name)}")
        try:
            # On the loop: once the start script has come to its end, Python starts no threads. It takes a millisecond.
            content = (folder / name).read_bytes()
        except OSError as cause:
            raise UnknownTarget(f"{name} of {swagger_ui.PACKAGE} cannot be read: {cause.strerror}") from cause
        reply = HttpReply(200, content, swagger_ui.FILE_TYPES[name], safe_headers())
        return await compressed(reply, request.headers.get("accept-encoding"))

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        """The reply to a request that has failed."""
        return HttpReply(failure.status, encode_failure(failure))

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What is answered.

        Args:
            servables: Not asked for.
        """
        document = Content(object_schema({"openapi": TEXT_SCHEMA, "paths": {"type": "object"}}))
        page = Content(TEXT_SCHEMA, "text/html")
        files = [Content(TEXT_SCHEMA, kind.partition(";")[0]) for kind in swagger_ui.FILE_TYPES.values()]
        name = Parameter("file", "path", "Name of a file.")
        return Description(
            [
                Operation(
                    verb, pattern, summary, parameters=(name,), gives={OK: given if verb == "GET" else []}
                )
                for pattern, summary, given in (
                    (DOCUMENT_PATH, "Give this document", [document]),
                    (DOCS_PATH, "Show this document", [page]),
                    (_FILES, "Give a file of the page that shows it", files),
                )
                for verb in _VERBS
            ],
            error_schema("error_msg"),
        )


def _plain(document: dict[str, dict[str, dict[str, dict[str, str]]]]) -> str:
    """All paths of a document as HTML."""
    lines = [
        f"<tr><td>{escape(verb.upper())}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td></tr>"
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if verb != "head"
    ]
    return f"{_HOW}\n<table>\n" + "\n".join(lines) + f"\n</table>\n<p>{link('.', 'First page')}</p>"
