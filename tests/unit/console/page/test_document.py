"""What the console says of methods: all of a few, a bounded part of very many."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from mindspore_serving.server.access.identity import ANYBODY, Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.page.document import (
    LONGEST_DESCRIPTION,
    MOST_EXAMPLES,
    MOST_METHODS,
    MOST_VERSIONS,
    MethodsDocument,
    ShownMethod,
    ShownValue,
    methods_document,
)
from mindspore_serving.server.service.catalog import ServableInfo, VersionInfo, VersionState
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType
from tests.unit.console.openapi.described import HOSTILE, X, method


def version(number: int, *methods: MethodSignature, reason: str = "") -> VersionInfo:
    state = VersionState.UNAVAILABLE if reason else VersionState.READY
    return VersionInfo(number, state, reason, (), methods)


def said(
    servables: Sequence[ServableInfo], search: str = "", identity: Identity = ANYBODY
) -> MethodsDocument:
    return methods_document(servables, search, identity, keys=False, infers=True)


def names(document: MethodsDocument) -> list[str]:
    return [
        f"{one.servable}/{one.version} {' '.join(method.name for method in one.methods)}".strip()
        for one in document.versions
    ]


def test_a_method_is_shown_with_all_that_is_known_of_it() -> None:
    picture = TensorType("picture", DataType.BYTES, (), "image", declared=True, description="A cat.")
    any_input = TensorType("any", shared=True)
    signature = method("add", X, picture, any_input, examples=['{"x": 1}'])
    [shown] = said([ServableInfo("shop", (version(3, signature),))]).versions
    assert (shown.servable, shown.version, shown.state, shown.reason) == ("shop", 3, "ready", "")
    assert shown.methods == (
        ShownMethod(
            "add",
            "shop",
            True,
            "What add does.",
            (
                ShownValue("x", "float32", (2, -1), "", False, ""),
                ShownValue("picture", "bytes", (), "image", False, "A cat."),
                ShownValue("any", "unknown", None, "", True, ""),
            ),
            (ShownValue("y", "float32", (), "", False, ""),),
            ('{"x": 1}',),
        ),
    )


def test_one_of_several_methods_is_a_model_of_its_own() -> None:
    [shown] = said([ServableInfo("shop", (version(1, method("buy"), method("sell")),))]).versions
    assert [one.model for one in shown.methods] == ["shop.buy", "shop.sell"]
    [found] = said([ServableInfo("shop", (version(1, method("buy"), method("sell")),))], "sell").versions
    assert [one.model for one in found.methods] == ["shop.sell"]


def test_reasons_show_no_paths() -> None:
    [shown] = said(
        [ServableInfo("shop", (version(1, reason="cannot read /home/ann/secret/x.mindir"),))]
    ).versions
    assert (shown.state, shown.reason, shown.methods) == ("unavailable", "cannot read x.mindir", ())


SHOP = ServableInfo("Shop", (version(1, method("buy"), method("sell")), version(2, method("buy"))))
BANK = ServableInfo("bank", (version(1, method("sell")), version(2, reason="loading")))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", ["Shop/1 buy sell", "Shop/2 buy", "bank/1 sell", "bank/2"]),
        ("sell", ["Shop/1 sell", "bank/1 sell"]),
        ("shop BUY", ["Shop/1 buy", "Shop/2 buy"]),
        ("bank", ["bank/1 sell", "bank/2"]),
        ("buy shop/2", ["Shop/2 buy"]),
        ("2", ["Shop/2 buy", "bank/2"]),
        ("nothing", []),
        (HOSTILE, []),
    ],
)
def test_what_is_searched_for(search: str, found: list[str]) -> None:
    assert names(said([SHOP, BANK], search)) == found


def test_of_very_many_methods_the_first_are_shown() -> None:
    many = [method(f"m{number}") for number in range(MOST_METHODS - 1)]
    servables = [
        ServableInfo("a", (version(1, *many),)),
        ServableInfo("b", (version(1, method("b1"), method("b2"), method("b3")), version(2, method("b1")))),
    ]
    document = said(servables)
    assert [len(one.methods) for one in document.versions] == [MOST_METHODS - 1, 1, 0]
    assert (document.methods_left_out, document.versions_left_out) == (3, 0)


def test_ten_thousand_servables_are_a_small_document() -> None:
    document = said([ServableInfo(f"s{number:05}", (version(1, method()),)) for number in range(10_000)])
    assert len(document.versions) == MOST_VERSIONS
    assert sum(len(one.methods) for one in document.versions) == MOST_METHODS
    assert document.versions_left_out == 10_000 - MOST_VERSIONS
    assert document.methods_left_out == 10_000 - MOST_METHODS
    assert len(orjson.dumps(document)) < 100_000
    assert names(said([ServableInfo("s09999", (version(1, method()),))], "s09999")) == ["s09999/1 add"]


def test_long_texts_and_many_examples_are_cut() -> None:
    signature = method(examples=[f'{{"x": {number}}}' for number in range(MOST_EXAMPLES + 1)])
    long = MethodSignature("long", (), 1, description="x" * (LONGEST_DESCRIPTION + 1))
    [shown] = said([ServableInfo("shop", (version(1, signature, long),))]).versions
    assert shown.methods[0].examples == signature.examples[:MOST_EXAMPLES]
    assert (
        shown.methods[1].description
        == "x" * LONGEST_DESCRIPTION + f"... ({LONGEST_DESCRIPTION + 1} characters)"
    )


def test_who_asks_is_told_what_it_may_do() -> None:
    anybody = said([])
    assert (anybody.client, anybody.rights) == ("", ("none", "infer", "view"))
    operator = Identity("operator", frozenset((Right.VIEW, Right.MANAGE)))
    document = methods_document([], "", operator, keys=True, infers=False)
    assert (document.client, document.rights) == ("operator", ("view", "manage"))
    assert (document.asks_for_keys, document.infers) == (True, False)
    assert (anybody.asks_for_keys, anybody.infers) == (False, True)
