"""The pages that show the document, and the first page: under what a browser runs them, and what they let out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mindspore_serving.errors import UnknownTarget, VerbNotAllowed
from mindspore_serving.server.access.identity import ANYBODY, STRANGER
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.console.openapi import swagger_ui
from mindspore_serving.server.console.openapi.front_page import FrontPage
from mindspore_serving.server.console.openapi.page import OpenApiPage
from mindspore_serving.server.transport.http_routes import HttpReply, HttpRequest
from mindspore_serving.server.transport.routes import Dialect
from tests.unit.console.openapi.described import HOSTILE, catalog_of, dialects, method

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The files of Swagger UI, as a package has them."""
    folder = tmp_path / "swagger-ui-4.15.5"
    folder.mkdir()
    for name in swagger_ui.FILE_TYPES:
        (folder / name).write_text(f"this is {name}")
    (folder / "secret").write_text("of others")
    return folder


def page_with(folder: Path | None) -> OpenApiPage:
    catalog = catalog_of(shop=[method(HOSTILE)])
    asked: list[Dialect] = list(dialects(catalog))
    page = OpenApiPage(catalog, lambda: asked, keys=False, swagger_folder=folder)
    asked.append(page)
    return page


def get(page: OpenApiPage, path: str, file: str = "") -> HttpReply:
    handler = {"/docs": page.docs, "/openapi.json": page.document}.get(path, page.file)

    async def ask() -> HttpReply:
        return await handler(HttpRequest("GET", path, {}, parts={"file": file}))

    return asyncio.run(ask())


def policy_of(reply: HttpReply) -> str:
    return dict(reply.headers)["Content-Security-Policy"]


def test_without_the_package_all_paths_are_listed_as_text() -> None:
    reply = get(page_with(None), "/docs")
    text = reply.body.decode()
    assert "pip install swagger-ui-bundle" in text
    assert "/healthz/live" in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text  # in the summary
    assert "script-src" not in policy_of(reply)
    assert policy_of(reply).startswith("default-src 'none'")


def test_with_the_package_its_files_are_served(package: Path) -> None:
    page = page_with(package)
    reply = get(page, "/docs")
    for name in (*swagger_ui.FILE_TYPES, swagger_ui.SCRIPT_NAME):
        assert f"docs/{name}".encode() in reply.body
        assert get(page, f"/docs/{name}", name).content_type.startswith(("text/", "image/"))
    assert get(page, "/docs/swagger-ui.css", "swagger-ui.css").body == b"this is swagger-ui.css"
    assert "script-src 'self';" in policy_of(reply)
    assert "unsafe" not in policy_of(reply)
    assert b"http" not in reply.body.replace(b"http-equiv", b"")


@pytest.mark.parametrize("name", ["secret", "../secret", "..", "", "swagger-ui.css/../secret"])
def test_no_other_file_is_served(package: Path, name: str) -> None:
    with pytest.raises(UnknownTarget):
        get(page_with(package), "/docs/x", name)


def test_without_the_package_no_file_is_served() -> None:
    for name in ("swagger-ui.css", swagger_ui.SCRIPT_NAME):
        with pytest.raises(UnknownTarget):
            get(page_with(None), "/docs/x", name)


def test_a_file_that_is_gone_is_no_error_of_the_server(package: Path) -> None:
    (package / "swagger-ui.css").unlink()
    with pytest.raises(UnknownTarget, match=r"swagger-ui\.css"):
        get(page_with(package), "/docs/x", "swagger-ui.css")


@pytest.mark.parametrize(
    ("release", "told"),
    [("swagger-ui-4.15.5", '"3.0.3"'), ("swagger-ui-5.9.0", "null"), ("other", '"3.0.3"')],
)
def test_what_does_not_read_3_1_is_told_3_0(release: str, told: str) -> None:
    assert f"spec.openapi = {told}" in swagger_ui.script_for(Path(release))


def test_the_installed_package_is_found() -> None:
    folder = swagger_ui.folder_of_package()
    assert folder is not None
    assert (folder / "swagger-ui-bundle.js").stat().st_size > 100_000


# --- The first page ---


def front(right: Right = Right.VIEW) -> FrontPage:
    catalog = catalog_of(**{HOSTILE: [method()]})
    asked: list[Dialect] = list(dialects(catalog))
    page = FrontPage(catalog, asked[0], lambda: asked, right)
    asked += [page, OpenApiPage(catalog, lambda: asked, keys=False)]
    return page


def greeted(page: FrontPage, request: HttpRequest) -> HttpReply:
    async def ask() -> HttpReply:
        return await page.greet(request)

    return asyncio.run(ask())


def test_a_browser_is_shown_where_to_look() -> None:
    text = greeted(front(), HttpRequest("GET", "/", BROWSER, identity=ANYBODY)).body.decode()
    assert '<a href="docs">/docs</a>' in text
    assert '<a href="v2">/v2</a>' in text
    assert "/console" not in text  # which is not served
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_strangers_are_told_no_names() -> None:
    reply = greeted(front(Right.NONE), HttpRequest("GET", "/", BROWSER, identity=STRANGER))
    assert b"alert(1)" not in reply.body


def test_everybody_else_gets_what_the_first_dialect_says() -> None:
    page = front()
    with pytest.raises(VerbNotAllowed, match=r"^http message only support POST right now$") as caught:
        greeted(page, HttpRequest("GET", "/", {"accept": "*/*"}))
    native = dialects(catalog_of())[0]
    failure = caught.value.failure()
    request = HttpRequest("GET", "/", {})
    assert page.refuse(failure, request) == native.refuse(failure, request)
    assert {(verb, route.pattern) for route in page.routes for verb in route.verbs} == {
        ("POST", "/"),
        ("GET", "/"),
    }
