"""What a GET on a servable or a method is answered."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any, cast

import orjson
import pytest

from mindspore_serving.errors import InvalidInput, UnknownTarget
from mindspore_serving.server.dialect.native.description import Descriptions
from mindspore_serving.server.service.catalog import Catalog, ServableInfo, VersionInfo, VersionState
from mindspore_serving.server.transport.http_routes import HttpRequest
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

TYPED = MethodSignature(
    "typed",
    ("x", "t"),
    8,
    output_names=("y", "b"),
    inputs=(
        TensorType("x", DataType.FLOAT32, (2, -1), description="numbers"),
        TensorType("t", DataType.STRING, ()),
    ),
    outputs=(TensorType("y"), TensorType("b", DataType.BYTES, (), "image")),
    description="What it does.",
    examples=('{"x": [[1.0], [2.0]], "t": "it\'s"}', '{"x": [[1.0], [2.0]], "t": "b"}'),
)
UNTYPED = MethodSignature(
    "untyped",
    ("x", "t"),
    8,
    output_names=("y",),
    inputs=(TensorType("x"), TensorType("t")),
    outputs=(TensorType("y"),),
)


class FakeCatalog:
    """Knows the servable `a b`, whose version 2 is ready and whose version 3 is not."""

    def servable(self, name: str) -> ServableInfo | None:
        versions = (
            VersionInfo(2, VersionState.READY, "", (), (TYPED, UNTYPED)),
            VersionInfo(3, VersionState.LOADING, "starting /root/secret", (), ()),
        )
        return ServableInfo(name, versions) if name == "a b" else None


def described(target: str, host: str = "h:1500") -> Any:
    pages = Descriptions(cast("Catalog", FakeCatalog()))
    reply = asyncio.run(pages.describe(HttpRequest("GET", target, {"host": host} if host else {})))
    assert (reply.status, reply.content_type) == (200, "application/json")
    return orjson.loads(reply.body)


def test_a_method_with_types_and_an_example() -> None:
    document = described("/model/a%20b:typed?q")
    [method] = document.pop("methods")
    assert document == {
        "name": "a b",
        "version": 2,
        "versions": [
            {"version": 2, "state": "ready"},
            {"version": 3, "state": "loading", "reason": "starting secret"},
        ],
    }
    line = shlex.split(method.pop("curl"))
    assert method == {
        "name": "typed",
        "description": "What it does.",
        "inputs": [
            {"name": "x", "dtype": "float32", "shape": [2, -1], "description": "numbers"},
            {"name": "t", "dtype": "str", "shape": []},
        ],
        "outputs": [
            {"name": "y", "dtype": None, "shape": None},
            {"name": "b", "dtype": "bytes", "shape": [], "content": "image"},
        ],
        "example": {"instances": [{"x": [[1.0], [2.0]], "t": "it's"}]},
    }
    assert (line[:2], line[3:]) == (["curl", "-d"], ["http://h:1500/model/a%20b:typed"])
    assert orjson.loads(line[2]) == method["example"]


def test_a_method_of_which_nothing_is_known() -> None:
    [method] = described("/model/a%20b/version/2:untyped")["methods"]
    assert method == {
        "name": "untyped",
        "description": "",
        "inputs": [{"name": name, "dtype": None, "shape": None} for name in "xt"],
        "outputs": [{"name": "y", "dtype": None, "shape": None}],
        "example": None,
        "curl": 'curl -d \'{"instances": [{"x": ..., "t": ...}]}\' '
        "http://h:1500/model/a%20b/version/2:untyped",
    }


@pytest.mark.parametrize(
    ("target", "version", "methods"),
    [
        ("/model/a%20b", 2, ["typed", "untyped"]),
        ("/model/a%20b/", 2, ["typed", "untyped"]),
        ("/model/a%20b/version/0", 2, ["typed", "untyped"]),
        ("/version/2/model/a%20b", 2, ["typed", "untyped"]),
        ("/model/a%20b%3Atyped", 2, ["typed"]),
        ("/model/a%20b/version/3", 3, []),
    ],
)
def test_all_methods_of_a_version(target: str, version: int, methods: list[str]) -> None:
    document = described(target)
    assert (document["version"], [method["name"] for method in document["methods"]]) == (version, methods)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/model/b", "Request servable(b) , servable is not available"),
        ("/model/a%20b/version/9:typed", "Request servable(a b) method(typed)  version(9) , servable is not"),
        ("/model/a%20b:nosuch", "Request servable(a b) method(nosuch) , method is not available"),
        ("/model/a%20b/version/3:typed", "Request servable(a b) method(typed)  version(3) , method is not"),
    ],
)
def test_what_is_not_there(target: str, text: str) -> None:
    with pytest.raises(UnknownTarget) as caught:
        described(target)
    assert str(caught.value).startswith(text)


def test_a_version_that_is_no_number() -> None:
    with pytest.raises(InvalidInput, match="version"):
        described("/model/a%20b/version/x")


@pytest.mark.parametrize("host", ["", "a b", "h'; rm -rf /", "h" * 300])
def test_a_strange_host_is_not_shown(host: str) -> None:
    [method] = described("/model/a%20b:untyped", host)["methods"]
    assert method["curl"].endswith(" http://HOST:PORT/model/a%20b:untyped")
