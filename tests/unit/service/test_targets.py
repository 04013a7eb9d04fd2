"""What the names of models mean."""

from __future__ import annotations

from typing import Any

import pytest

from mindspore_serving.errors import InvalidInput, ServableUnavailable, ServingError, UnknownTarget
from mindspore_serving.server.service.targets import Targets
from tests.unit.dialect.open_inference.fake_service import method, service_of

METHODS = {
    ("add", 1): [method("first")],
    ("add", 3): [method("second"), method("first")],
    ("a.b", 1): [method("c")],
    ("a", 1): [method("b"), method("c")],
}


@pytest.mark.parametrize(
    ("model", "version", "called", "expected"),
    [
        ("add", "", "", ("add", "second", 3)),
        ("add", "1", "", ("add", "first", 1)),
        ("add", "", "first", ("add", "first", 3)),
        ("add.first", "", "", ("add", "first", 3)),
        ("add.first", "", "first", ("add", "first", 3)),
        ("add.second", "3", "", ("add", "second", 3)),
        ("a.b", "", "", ("a.b", "c", 1)),
        ("a.b.c", "", "", ("a.b", "c", 1)),
        ("a.c", "", "", ("a", "c", 1)),
        ("a", "", "b", ("a", "b", 1)),
    ],
)
def test_names_of_models(model: str, version: str, called: str, expected: tuple[str, str, int]) -> None:
    service, _ = service_of(METHODS)
    found = Targets(service, "GET /v2/models").destination(model, version, called)
    assert (found.servable.name, found.method.name, found.servable.version) == expected


@pytest.mark.parametrize(
    ("model", "version", "called", "kind", "text"),
    [
        ("no", "", "", UnknownTarget, "There is no model 'no'; GET /v2/models lists"),
        ("", "", "", UnknownTarget, "There is no model ''"),
        (".", "", "", UnknownTarget, "There is no model '.'"),
        ("x" * 999, "", "", UnknownTarget, "(999 characters)"),
        ("add", "2", "", UnknownTarget, "Model 'add' has no version 2; it has 1, 3"),
        ("add", "0", "", UnknownTarget, "Model 'add' has no version '0'; versions are numbers from 1 on"),
        ("add", "-1", "", UnknownTarget, "Model 'add' has no version '-1'"),
        ("add", "v1", "", UnknownTarget, "Model 'add' has no version 'v1'"),
        ("add", "٣", "", UnknownTarget, "has no version '٣'"),
        ("add", "9" * 20, "", UnknownTarget, "Model 'add' has no version '99"),
        (
            "add.no",
            "",
            "",
            UnknownTarget,
            "Model 'add.no' version 3 has no method 'no'; it has second, first",
        ),
        ("add", "", "no", UnknownTarget, "Model 'add' version 3 has no method 'no'"),
        (
            "add.second",
            "1",
            "",
            UnknownTarget,
            "Model 'add.second' version 1 has no method 'second'; it has first",
        ),
        (
            "add.first",
            "",
            "second",
            InvalidInput,
            "is the method first, but the request asks for 'second'",
        ),
    ],
)
def test_names_that_mean_nothing(
    model: str, version: str, called: str, kind: type[ServingError], text: str
) -> None:
    service, _ = service_of(METHODS)
    with pytest.raises(kind) as caught:
        Targets(service, "GET /v2/models").destination(model, version, called)
    assert text in str(caught.value)


def test_what_is_known_but_not_ready() -> None:
    service, dispatcher = service_of(
        {("new", 1): [], ("lost", 1): [method("m")]},
        not_ready={("new", 1): "starting", ("lost", 1): "killed"},
    )
    dispatcher.lost.add("lost")
    expected = {
        "new": "Model 'new' version 1 is not ready: starting",
        "lost": "killed",
        "new.any": "not ready",
    }
    for model, text in expected.items():
        with pytest.raises(ServableUnavailable) as caught:
            Targets(service, "GET /v2/models").destination(model, "")
        assert text in str(caught.value)


def test_the_newest_version_that_is_ready_answers() -> None:
    service, _ = service_of(METHODS, not_ready={("add", 3): "starting"})
    assert Targets(service, "GET /v2/models").find("add", "").version.number == 1


def test_what_was_found_is_kept_until_anything_changes() -> None:
    service, dispatcher = service_of(METHODS)
    targets = Targets(service, "GET /v2/models")
    assert targets.destination("add", "") is targets.destination("add", "")
    assert dispatcher.resolved == 1
    dispatcher.known["add", 3] = [method("newer")]
    service.catalog.notify()
    assert targets.destination("add", "").method.name == "newer"


@pytest.mark.parametrize(
    ("methods", "default", "expected"),
    [
        ({("add", 1): [method("first"), method("second")]}, "", ("add", "first")),
        ({("add", 1): [method("first"), method("predict")]}, "", ("add", "predict")),
        (METHODS, "add", ("add", "second")),
        (METHODS, "add.first", ("add", "first")),
        ({**METHODS, ("p", 1): [method("first"), method("predict")]}, "p", ("p", "predict")),
        ({**METHODS, ("p", 1): [method("first"), method("predict")]}, "p.first", ("p", "first")),
    ],
)
def test_no_name(methods: Any, default: str, expected: tuple[str, str]) -> None:
    service, dispatcher = service_of(methods)
    service.catalog.default = default
    targets = Targets(service, "GET /v2/models")
    for _ in range(2):
        found = targets.unnamed()
        assert (found.servable.name, found.method.name) == expected
    assert dispatcher.resolved == 1
    service.catalog.notify()
    targets.unnamed()
    assert dispatcher.resolved == 2


def test_no_name_says_nothing() -> None:
    service, _ = service_of(METHODS)
    targets = Targets(service, "GET /v2/models")
    with pytest.raises(
        InvalidInput, match=r"there are 3: a, a\.b, add\. Start the server with default_servable"
    ):
        targets.unnamed()
    service.catalog.default = "gone"
    with pytest.raises(UnknownTarget, match="There is no model 'gone'"):
        targets.unnamed()
    many, _ = service_of({(f"s{n:02}", 1): [method("m")] for n in range(12)})
    with pytest.raises(InvalidInput, match=r"there are 12: s00, .*, s09, \.\.\.\. Start"):
        Targets(many, "").unnamed()
    none, _ = service_of({})
    with pytest.raises(UnknownTarget, match="There is no servable yet"):
        Targets(none, "").unnamed()
