"""What `GET /model/{servable}[/version/{n}][:{method}]` is answered: what there is to call, and how.

    {"name": "add", "version": 1, "versions": [{"version": 1, "state": "ready"}],
     "methods": [{"name": "add_common", "description": "",
                  "inputs": [{"name": "x1", "dtype": "float32", "shape": [2, 2]}, ...], "outputs": [...],
                  "example": {"instances": [...]}, "curl": "curl -d '{...}' http://HOST:PORT/model/add:add_common"}]}

A dtype or shape of null takes any. The methods are those of `version`: the one that was asked for, or the highest one
that is ready.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from mindspore_serving.errors import UnknownTarget
from mindspore_serving.server.dialect.native.rest_url import Target, parse_description_target
from mindspore_serving.server.dispatch.failures import request_spec
from mindspore_serving.server.service.catalog import Catalog, ServableInfo, VersionInfo
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

TARGET_PATTERNS: Final = (
    "/model/{target}",
    "/model/{name}/version/{target}",
    "/version/{number}/model/{target}",
)
"""Paths of servables and methods; what they are is read by `rest_url`."""
_DTYPES: Final[dict[DataType, str | None]] = {
    DataType.UNKNOWN: None,
    DataType.STRING: "str",
    DataType.BYTES: "bytes",
}
"""Names that are not the name of the data type in small letters."""
_HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)
_SOME_HOST: Final = "HOST:PORT"


class Descriptions:
    """Describes servables and their methods.

    Args:
        catalog: What is asked.

    Attributes:
        routes: Of all paths of servables and methods.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.routes: Sequence[Route] = tuple(
            Route(("GET", "HEAD"), pattern, self.describe) for pattern in TARGET_PATTERNS
        )

    async def describe(self, request: HttpRequest) -> HttpReply:
        """Describe a servable, or one of its methods.

        Raises:
            InvalidInput: The path does not fit the grammar.
            UnknownTarget: There is no such servable, version or method.
        """
        target = parse_description_target(request.path)
        servable = self._catalog.servable(target.name)
        version = None if servable is None else servable.version(target.version)
        spec = request_spec(target.name, target.method, target.version)
        if servable is None or version is None:
            whole = spec if target.method else spec.replace(" method()", "")
            raise UnknownTarget(f"Request {whole}, servable is not available")
        methods = [method for method in version.methods if target.method in ("", method.name)]
        if target.method and not methods:
            raise UnknownTarget(f"Request {spec}, method is not available")
        host = request.headers.get("host", "")
        base = f"http://{host if _HOST.fullmatch(host) else _SOME_HOST}{_path(target)}"
        return HttpReply(200, orjson.dumps(_document(servable, version, methods, base)))


def _path(target: Target) -> str:
    version = f"/version/{target.version}" if target.version else ""
    return f"/model/{quote(target.name)}{version}"


def _document(
    servable: ServableInfo, version: VersionInfo, methods: Sequence[MethodSignature], base: str
) -> dict[str, Any]:
    return {
        "name": servable.name,
        "version": version.number,
        "versions": [_of_version(one) for one in servable.versions],
        "methods": [_of_method(method, f"{base}:{method.name}") for method in methods],
    }


def _of_version(version: VersionInfo) -> dict[str, Any]:
    document: dict[str, Any] = {"version": version.number, "state": version.state.value}
    if version.reason:
        document["reason"] = hidden(version.reason)
    return document


def _of_method(method: MethodSignature, url: str) -> dict[str, Any]:
    """A method, as far as it is known.

    Args:
        method: The method.
        url: Where it is called.
    """
    example = f'{{"instances": [{method.examples[0]}]}}' if method.examples else ""
    return {
        "name": method.name,
        "description": method.description,
        "inputs": [_of_tensor(one) for one in method.inputs],
        "outputs": [_of_tensor(one) for one in method.outputs],
        "example": orjson.loads(example) if example else None,
        "curl": f"curl -d {_quoted(example or _form_of_body(method))} {url}",
    }


def _of_tensor(one: TensorType) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": one.name,
        "dtype": _DTYPES.get(one.dtype, one.dtype.name.lower()),
        "shape": None if one.shape is None else list(one.shape),
    }
    extra = {"content": one.content, "description": one.description}
    return document | {name: value for name, value in extra.items() if value}


def _form_of_body(method: MethodSignature) -> str:
    values = ", ".join(f'"{name}": ...' for name in method.input_names)
    return f'{{"instances": [{{{values}}}]}}'


def _quoted(text: str) -> str:
    """A text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"
