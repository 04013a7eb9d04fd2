"""The document of OpenAPI 3.1: what all dialects and pages of a listener say of their paths, in one (ADR 67).

It is made in small pieces, with turns of others in between, and kept until the catalog changes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import orjson

from mindspore_serving import __version__
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi.operation_object import (
    KEY_SCHEMES,
    error_responses,
    operation_object,
)
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.description import (
    DescribedServable,
    Description,
    Operation,
    SelfDescribing,
)
from mindspore_serving.server.transport.http_routes import Route
from mindspore_serving.server.transport.routes import Dialect

OPENAPI: Final = "3.1.0"
MOST_METHODS: Final = 200
"""Methods that have paths of their own. Of thousands no browser would show the page, and few tools read it."""
_AT_ONCE: Final = 8
"""Operations that are written without a turn of others: a millisecond."""
_TITLE: Final = "MindSpore Serving"
_ABOUT: Final = (
    "What this server answers over HTTP. Each servable and method can be asked in several dialects. Any request for a "
    "method may have the header `X-Request-Timeout-Ms`, the milliseconds after which its client wants no reply."
)
_STARRED = re.compile(r"\{(\w+)\*\}")
_Paths: TypeAlias = dict[str, dict[str, orjson.Fragment]]


class OpenApiDocument:
    """What a listener answers, as OpenAPI has it.

    Args:
        catalog: Tells what there is.
        dialects: Gives all that answers there, pages included.
        keys: Whether the listener asks for API keys.
    """

    def __init__(self, catalog: Catalog, dialects: Callable[[], Sequence[Dialect]], *, keys: bool) -> None:
        self._catalog = catalog
        self._dialects = dialects
        self._keys = keys
        self._made = b""
        self._made_of: tuple[asyncio.Event, tuple[Dialect, ...]] | None = None
        self._making = asyncio.Lock()

    async def text(self) -> bytes:
        """The document as JSON, of the catalog as it is now."""
        async with self._making:
            made_of = self._catalog.changed, tuple(self._dialects())
            if self._made_of != made_of:
                self._made = await self._make()
                self._made_of = made_of
            return self._made

    async def _make(self) -> bytes:
        servables, known = described_servables(self._catalog)
        chosen = sum(len(servable.methods) for servable in servables)
        paths: _Paths = {}
        responses: dict[str, Any] = {}
        for number, dialect in enumerate(self._dialects()):
            key = f"{re.sub(r'[^A-Za-z0-9]+', '_', dialect.name)}_{number}"
            description = dialect.describe(servables) if isinstance(dialect, SelfDescribing) else None
            if description is not None:
                responses |= error_responses(key, description, keys=self._keys)
            async for operation, route in operations_of(dialect, description):
                document = operation_object(
                    operation,
                    dialect.name,
                    errors=key if description is not None else "",
                    is_open=route.right is Right.NONE,
                    keys=self._keys,
                )
                path = _STARRED.sub(r"{\1}", operation.path or operation.pattern)
                paths.setdefault(path, {})[operation.verb.lower()] = orjson.Fragment(orjson.dumps(document))
        return orjson.dumps(self._whole(paths, responses, chosen, known))

    def _whole(self, paths: _Paths, responses: Mapping[str, Any], chosen: int, known: int) -> dict[str, Any]:
        about = _ABOUT
        if chosen < known:
            about += (
                f" {chosen} of {known} methods have paths of their own here. The others are answered likewise: at the "
                "paths with names in braces."
            )
        components: dict[str, Any] = {"responses": responses}
        document: dict[str, Any] = {
            "openapi": OPENAPI,
            "info": {"title": _TITLE, "version": __version__, "description": about},
            "paths": paths,
            "components": components,
        }
        if self._keys:
            components["securitySchemes"] = KEY_SCHEMES
            document["security"] = [{name: []} for name in KEY_SCHEMES]
        return document


async def operations_of(
    dialect: Dialect, description: Description | None
) -> AsyncIterator[tuple[Operation, Route]]:
    """All that a dialect answers, with the route of each; others have their turns meanwhile.

    Args:
        dialect: It.
        description: What it says of itself; None where it says nothing.
    """
    routes = {(verb, route.pattern): route for route in dialect.routes for verb in route.verbs}
    left = dict(routes)
    operations: Iterator[Operation] = iter(() if description is None else description.operations)
    while some := tuple(islice(operations, _AT_ONCE)):
        for operation in some:
            place = operation.verb, operation.pattern
            left.pop(place, None)
            yield operation, routes[place]
        await asyncio.sleep(0)
    otherwise = frozenset() if description is None else description.unlisted
    for (verb, pattern), route in left.items():
        if pattern and pattern not in otherwise:
            yield Operation(verb, pattern, f"{verb} {pattern}"), route


def described_servables(catalog: Catalog) -> tuple[Sequence[DescribedServable], int]:
    """What is to be described: of each servable the version that answers requests without a version.

    Args:
        catalog: Tells what there is.

    Returns:
        Servables of `MOST_METHODS` methods together at most, and how many methods there are.
    """
    chosen: list[DescribedServable] = []
    known, left = 0, MOST_METHODS
    for servable in catalog.servables():
        version = servable.version(0)
        methods = () if version is None else version.methods
        known += len(methods)
        if methods and left:
            chosen.append(DescribedServable(servable.name, methods[:left]))
            left -= len(chosen[-1].methods)
    return chosen, known
