"""The document: of all dialects, safe, bounded, and kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from openapi_spec_validator import validate

from mindspore_serving.errors import Failure
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi.document import MOST_METHODS, OpenApiDocument
from mindspore_serving.server.console.openapi.front_page import FrontPage
from mindspore_serving.server.console.openapi.page import OpenApiPage
from mindspore_serving.server.service.catalog import Catalog
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.signature import TensorType
from mindspore_serving.tensor import DataType
from tests.unit.console.openapi.described import HOSTILE, catalog_of, dialects, method

KINDS = (
    TensorType("a", DataType.STRING, (), declared=True),
    TensorType("b", DataType.BYTES, (), content="image", declared=True),
    TensorType("c", DataType.INT64, (3,), declared=True),
    TensorType("d"),
    TensorType("e", DataType.BOOL, (), shared=True, declared=True),
)
NUMBERS = {"b64": "AQAAAAAAAAACAAAAAAAAAAMAAAAAAAAA", "type": "int64", "shape": [3]}
EXAMPLE = json.dumps({"a": "t", "b": {"b64": "YQ=="}, "c": NUMBERS, "d": 1.5, "e": True})


class Silent:
    """A dialect that says nothing of itself."""

    name = "silent"
    grpc_methods = ()

    def __init__(self) -> None:
        self.routes: Sequence[Route] = (
            Route(("GET", "PUT"), "/silent/{thing}", self.answer),
            Route(("GET",), "/all/{rest*}", self.answer, Right.NONE),
            Route(("GET",), "", self.answer),
            Route((), "/silent", self.answer),
        )

    async def answer(self, request: HttpRequest) -> HttpReply:
        return HttpReply(200, b"")

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, b"")


def made(catalog: Catalog, *more: Dialect, keys: bool = False) -> dict[str, Any]:
    asked = (*dialects(catalog), *more)
    found: dict[str, Any] = json.loads(asyncio.run(OpenApiDocument(catalog, lambda: asked, keys=keys).text()))
    return found


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return found


def test_every_kind_of_input_is_described() -> None:
    catalog = catalog_of(shop=[method("m", *KINDS, examples=[EXAMPLE])])
    document = made(catalog)
    validate(document)
    native = schema_of(document, "/model/shop:m")
    values = native["schema"]["properties"]["instances"]["items"]["properties"]
    assert native["schema"]["properties"]["instances"]["items"]["required"] == ["a", "b", "c", "d", "e"]
    assert values["a"]["anyOf"][0] == {"type": "string"}
    assert values["b"]["required"] == ["b64"]
    assert (values["c"]["minItems"], values["c"]["maxItems"]) == (3, 3)
    assert values["c"]["items"]["maximum"] == 2**63 - 1
    assert values["e"]["anyOf"][0] == {"type": "boolean"}
    assert native["examples"]["example 1"]["value"] == {"instances": [json.loads(EXAMPLE)]}
    parts = document["paths"]["/model/shop:m"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert parts["encoding"]["b"] == {"contentType": "image/*"}
    tensors = schema_of(document, "/v2/models/shop/infer")
    assert tensors["examples"]["example 1"]["value"]["inputs"][2] == {
        "name": "c",
        "datatype": "INT64",
        "shape": [1, 3],
        "data": [1, 2, 3],
    }
    assert tensors["schema"]["properties"]["inputs"]["prefixItems"][2]["properties"]["shape"]["prefixItems"][
        1
    ] == {"enum": [3]}
    rows = schema_of(document, "/v1/models/shop:predict")
    assert rows["examples"]["example 1"]["value"]["instances"][0]["c"] == [1, 2, 3]
    assert rows["schema"]["oneOf"][1]["properties"]["inputs"]["properties"]["e"]["anyOf"][0] == {
        "type": "boolean"
    }
    pairs = schema_of(document, "/shop/prediction")
    assert "examples" not in pairs  # a number for an input of any type would be a text


@pytest.mark.parametrize(
    ("given", "shape", "least"), [((), None, None), ((-1,), "array", 1), ((2, -1), "array", 2)]
)
def test_open_sizes_have_no_end(given: tuple[int, ...], shape: str | None, least: int | None) -> None:
    one = TensorType("x", DataType.FLOAT32, given, declared=True)
    document = made(catalog_of(shop=[method("m", one)]))
    value = schema_of(document, "/model/shop:m")["schema"]["properties"]["instances"]["items"]["properties"][
        "x"
    ]
    assert value.get("type") == shape
    assert value.get("minItems") == least
    assert ("maxItems" in value) == (given[:1] == (2,))


def test_what_examples_alone_have_shown_may_be_otherwise() -> None:
    signature = method("m")
    seen = TensorType("y", DataType.FLOAT32, (2,))
    for output, certain in ((seen, False), (TensorType("y", DataType.FLOAT32, (2,), file_name="out"), True)):
        catalog = catalog_of(shop=[type(signature)(**{**vars(signature), "outputs": (output,)})])
        given = made(catalog)["paths"]["/model/shop:m"]["post"]["responses"]["200"]["content"][
            "application/json"
        ]
        value = given["schema"]["properties"]["instances"]["items"]["anyOf"][0]["properties"]["y"]
        assert ("type" in value) is certain
        assert certain or "float32" in value["description"]


def test_hostile_names_are_escaped_in_paths() -> None:
    document = made(catalog_of(shop=[method(HOSTILE), method("a/b{c}?d")]))
    validate(document)
    for prefix in ("/model/shop:", "/v2/models/shop.", "/v1/models/shop.", "/shop."):
        paths = [path for path in document["paths"] if path.startswith(prefix)]
        assert any("%22%3E%3Cscript%3E" in path for path in paths)
        assert any("a%2Fb%7Bc%7D%3Fd" in path for path in paths)
    identifiers = [one["operationId"] for verbs in document["paths"].values() for one in verbs.values()]
    assert all(identifier.replace("_", "").isalnum() for identifier in identifiers)
    assert len(set(identifiers)) == len(identifiers)


def test_keys_are_asked_for_where_the_server_has_keys() -> None:
    catalog = catalog_of(shop=[method()])
    without, with_keys = made(catalog), made(catalog, keys=True)
    assert "security" not in without
    assert "securitySchemes" not in without["components"]
    assert set(with_keys["components"]["securitySchemes"]) == {"bearer", "api_key"}
    assert with_keys["security"] == [{"bearer": []}, {"api_key": []}]
    asked = with_keys["paths"]["/model/shop:add"]["post"]
    live = with_keys["paths"]["/healthz/live"]["get"]
    assert "security" not in asked
    assert {"401", "403"} <= asked["responses"].keys()
    assert live["security"] == []
    assert "401" not in live["responses"]
    assert "401" not in without["paths"]["/model/shop:add"]["post"]["responses"]


def test_a_dialect_that_says_nothing_is_listed() -> None:
    document = made(catalog_of(), Silent(), keys=True)
    validate(document)
    assert document["paths"]["/silent/{thing}"]["put"]["summary"] == "PUT /silent/{thing}"
    assert document["paths"]["/all/{rest}"]["get"]["security"] == []
    assert "/silent" not in document["paths"]
    assert "" not in document["paths"]


def test_each_route_is_described_or_left_out_on_purpose() -> None:
    catalog = catalog_of(shop=[method()])
    asked: list[Dialect] = list(dialects(catalog))
    pages = [OpenApiPage(catalog, lambda: asked, keys=False), FrontPage(catalog, asked[0], lambda: asked)]
    document = made(catalog, *pages)
    validate(document)
    undescribed = [
        (path, verb)
        for path, verbs in document["paths"].items()
        for verb, one in verbs.items()
        if one["summary"] == f"{verb.upper()} {path}"
    ]
    assert undescribed == []
    assert "/v2/repository/models/{model}/load" not in document["paths"]
    assert "/v2/systemsharedmemory/status" not in document["paths"]
    assert document["paths"]["/"].keys() == {"get"}


def test_it_is_made_again_when_anything_has_changed() -> None:
    catalog = catalog_of(shop=[method("one")])
    asked = list(dialects(catalog))
    document = OpenApiDocument(catalog, lambda: asked, keys=False)

    async def ask() -> list[bytes]:
        found = list(await asyncio.gather(document.text(), document.text()))
        catalog.methods["shop"] = [method("two")]  # type: ignore[attr-defined]
        found.append(await document.text())
        catalog.changed = asyncio.Event()
        found.append(await document.text())
        asked.append(Silent())
        return [*found, await document.text()]

    first, same, unchanged, changed, longer = asyncio.run(ask())
    assert first is same is unchanged
    assert b"shop:one" in first
    assert b"shop:two" not in first
    assert b"shop:two" in changed
    assert b"/silent/" not in changed
    assert b"/silent/" in longer


def test_of_very_many_methods_the_first_ones_are_described_and_others_have_their_turns() -> None:
    methods = [method(f"m{at}") for at in range(150)]
    catalog = catalog_of(**{f"s{at}": methods for at in range(67)})
    asked = dialects(catalog)
    document = OpenApiDocument(catalog, lambda: asked, keys=False)

    async def ask() -> tuple[bytes, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        text = await document.text()
        counting.cancel()
        return text, turns

    text, turns = asyncio.run(ask())
    found = json.loads(text)
    own = [path for path in found["paths"] if path.startswith("/model/s")]
    assert len(own) == MOST_METHODS
    assert f"{MOST_METHODS} of 10050 methods" in found["info"]["description"]
    assert "/model/{target}" in found["paths"]
    assert turns > 100
