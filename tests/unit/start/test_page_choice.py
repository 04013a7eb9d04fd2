"""Which pages a front end has, and who may see them."""

from __future__ import annotations

from typing import Any

import pytest

from mindspore_serving.errors import Failure, InvalidParameter, StatusCode
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.start import pages
from mindspore_serving.server.start.page_choice import METRICS_ALIASES, PAGES, PageChoice, page_choice
from mindspore_serving.server.start.pages import PageNeeds, pages_of
from mindspore_serving.server.telemetry.metrics.aliases import ALIASES
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest, Route

NAMES = "'metrics', 'status', 'openapi', 'console'"


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ((None,), PageChoice()),
        (([],), PageChoice(())),
        ((["status", "metrics", "status"],), PageChoice(("status", "metrics"))),
        ((None, ("metrics",)), PageChoice(None, frozenset(("metrics",)))),
        ((["metrics"], ["status"], ["kserve", "triton"]),
         PageChoice(("metrics",), frozenset(("status",)), ("kserve", "triton"))),
    ],
)  # fmt: skip
def test_what_is_chosen(given: Any, choice: PageChoice) -> None:
    assert page_choice(*given) == choice


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((["metric"],), f"Parameter 'pages' has 'metric', expected are some of {NAMES}"),
        (("metrics",), f"Parameter 'pages' should be a list or tuple of some of {NAMES}, but actually <class 'str'>"),
        (([3],), "Parameter 'pages' has 3, expected"),
        ((None, ["all"]), "Parameter 'public_pages' has 'all', expected are some of 'metrics', 'status'"),
        ((None, None), "Parameter 'public_pages' should be a list or tuple of some of"),
        ((None, (), ["Triton"]), "'metrics_aliases' has 'Triton', expected are some of 'triton', 'kserve', 'tf"),
    ],
)  # fmt: skip
def test_what_is_refused(given: Any, text: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        page_choice(*given)
    assert text in str(raised.value)


def test_there_are_as_many_aliases_as_may_be_chosen() -> None:
    assert tuple(ALIASES) == METRICS_ALIASES


def test_each_page_has_its_name_and_its_line() -> None:
    assert set(pages._MAKERS) <= set(PAGES)


class Page:
    """A page with routes of each right."""

    grpc_methods = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.routes = tuple(Route(("GET",), f"/{name}/{right.value}", self.show, right) for right in Right)

    async def show(self, request: HttpRequest) -> HttpReply:
        raise NotImplementedError

    def refuse(self, failure: Failure, request: HttpRequest) -> HttpReply:
        return HttpReply(failure.status, self.name.encode())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages are simple ones."""
    makers = {name: lambda needs, choice, name=name: Page(name) for name in PAGES}
    monkeypatch.setattr(pages, "_MAKERS", makers)


NEEDS: Any = None


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("choice", "elsewhere", "names"),
    [
        (PageChoice(), (), PAGES),
        (PageChoice(), ("metrics", "openapi"), ("status", "console")),
        (PageChoice(("status", "metrics")), ("metrics",), ("status", "metrics")),  # as asked for
        (PageChoice(()), (), ()),
    ],
)
def test_which_pages_there_are(choice: PageChoice, elsewhere: Any, names: Any) -> None:
    needs: PageNeeds = NEEDS
    assert tuple(pages_of(needs, choice, elsewhere)) == names


@pytest.mark.usefixtures("made")
def test_a_public_page_is_for_everybody_but_what_needs_more() -> None:
    found = pages_of(NEEDS, page_choice(None, ["status"]))
    rights = {name: [route.right for route in page.routes] for name, page in found.items()}
    assert rights["status"] == [Right.NONE, Right.INFER, Right.NONE, Right.MANAGE]
    assert rights["metrics"] == list(Right)
    request = HttpRequest("GET", "/status/x", {})
    refused = found["status"].refuse(Failure(StatusCode.INVALID_INPUTS, "why", 404), request)
    assert (found["status"].name, refused) == ("status", HttpReply(404, b"status"))
