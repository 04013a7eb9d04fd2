"""`/console` in a real browser: what it shows and sends, who may see what, names and lines that are hostile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.console import CHROMIUM, INSTALL, SERVABLE, chromium, png
from tests.support.http_requests import send
from tests.support.serving import RunningServer, add_servable, free_port, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=INSTALL)

OPERATOR = "a-key-for-the-operators"
VIEWER = "a-key-that-may-only-view"
CLIENT = "a-key-that-may-only-infer"
MARKUP = "<img src=x onerror=alert(1)>"
METHOD = "\"'`$(id)</script><script>alert(1)</script>"
HOSTILE = f"""\
from mindspore_serving.server import register

print({MARKUP!r}, "in a log", flush=True)


def same(x):
    return x


def named(x):
    return register.add_stage(same, x, outputs_count=1)


named.__name__ = {METHOD!r}
named.__doc__ = {MARKUP!r}
register.register_method(output_names=[{MARKUP!r}], examples=[{{"x": {MARKUP!r}}}])(named)
"""
LIMIT_MS = 30_000
expect.set_options(timeout=LIMIT_MS)
MATRIX = {"x1": [[1.0], [2.0]], "x2": [[3.0], [4.0]]}


class Watched:
    """A page of the browser, and what went wrong in it.

    Args:
        browser: It.
        key: API key that the tab has already; "" for none.
        options: Of the context.
    """

    def __init__(self, browser: Browser, key: str = "", **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(LIMIT_MS)
        if key:
            self.context.add_init_script(f"sessionStorage.setItem('serving-key', {key!r})")
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: set[str] = set()
        self.page.on(
            "console", lambda said: said.type in ("error", "warning") and self.errors.append(said.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._refuse)
        self.page.on("request", lambda request: self.asked.add(request.url))

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def open(self, address: str) -> Page:
        """Open the console of a server."""
        self.page.goto(f"http://{address}/console")
        return self.page

    def _refuse(self, dialog: Any) -> None:
        self.errors.append(f"a script of others has run: {dialog.message}")
        dialog.dismiss()


class Console:
    """A server that asks for keys, and its listener for pages alone, which does not."""

    def __init__(self, server: RunningServer, admin: str) -> None:
        self.server = server
        self.rest = server.rest
        self.admin = admin


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    add_servable(folder, "shop", SERVABLE, ())
    add_servable(folder, MARKUP, HOSTILE, ())
    admin = f"127.0.0.1:{free_port()}"
    keys = [
        f"{OPERATOR} name=operator rights=infer,view,manage",
        f"{VIEWER} rights=view",
        f"{CLIENT} rights=infer",
    ]
    configs = ['".", "shop", num_parallel_workers=1', f'".", {MARKUP!r}, num_parallel_workers=1']
    with serving(
        folder,
        configs,
        rest_options=f"api_keys={keys!r}, pages=['status', 'console']",
        settings=f"server.start_admin_server({admin!r})",
    ) as server:
        yield Console(server, admin)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A tab that has the key of an operator; nothing may go wrong in it."""
    with Watched(browser, OPERATOR) as page:
        yield page
        assert page.errors == []


def choose(page: Page, method: str) -> None:
    page.locator("#methods").get_by_role("button", name=method, exact=True).click()


def reply_of(page: Page) -> str:
    """Send what is in the form; the reply."""
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#try-status")).to_contain_text(
        re.compile(r"^HTTP 200 in [\d.]+ ms"), timeout=LIMIT_MS
    )
    return page.locator("#try-reply").inner_text()


def ask(served: Console, method: str, instance: Any) -> None:
    reply = send(
        served.rest, "POST", f"/model/shop:{method}", {"instances": [instance]}, {"x-api-key": CLIENT}
    )
    assert reply.status == 200, reply.text


def test_it_loads_without_errors_and_asks_nobody_else(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    expect(page.locator("#server")).to_contain_text("Ready. Version")
    expect(page.locator("#workers tr")).to_have_count(2)
    expect(page.locator("#methods")).to_contain_text("(x1: float32 [2, -1], x2: float32 [2, -1])")
    expect(page.locator("#methods")).to_contain_text("(image: image) -> (size: text)")
    expect(page.locator("#methods")).to_contain_text("Greet somebody, once or more.")
    assert {url.split("/")[2] for url in watched.asked} == {served.rest}
    page.locator("#search").fill("shop greet")
    expect(page.locator("#methods li")).to_have_count(1)


def test_charts_move_under_load(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    rate = page.locator("#charts svg").first
    times = page.locator("#charts svg").nth(1)
    expect(rate).to_have_attribute("aria-label", re.compile("^Requests per second, now: rate "))
    for _ in range(30):
        ask(served, "add_matrices", MATRIX)
    expect(rate).to_have_attribute("aria-label", re.compile(r"now: rate (?!0;)\d"))
    expect(times).to_have_attribute("aria-label", re.compile(r"now: p50 [\d.]+ ms, p95 [\d.]+ ms"))
    drawn = rate.locator("path").get_attribute("d")
    expect(rate.locator("path")).not_to_have_attribute("d", drawn or "")
    expect(page.get_by_role("img", name="Instances of a batch")).to_have_attribute(
        "aria-label", re.compile(r"batch: 1: \d+ times; mean 1")
    )
    expect(page.locator("#charts svg rect").first).to_be_attached()
    page.locator("#scope").select_option("shop/1 add_matrices")
    page.locator("#phase").select_option("compute")
    expect(times).to_have_attribute("aria-label", re.compile(r"now: p50 [\d.]+ ms"))
    page.locator("#scope").select_option("shop/1 greeting")
    expect(times).to_have_attribute("aria-label", re.compile("now: p50 -,"))


def test_an_array_and_single_values_are_sent(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    choose(page, "add_matrices")
    assert '"y": [[11.0, 22.5], [33.0, 44.0]]' in reply_of(page)
    expect(page.locator("#try-status")).to_contain_text("answered by version 1")
    page.locator("#try").get_by_label("x1").fill("[[1, 2]]")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#try-status")).to_contain_text("HTTP 400")
    assert [error for error in watched.errors if "400 (Bad Request)" not in error] == []
    watched.errors.clear()
    choose(page, "greeting")
    page.locator("#try").get_by_label("name").fill('Grace "&<b>\n\u4f60\u597d')
    page.locator("#try").get_by_label("times").fill("1")
    page.locator("#try").get_by_label("loud").fill("true")
    assert 'HELLO GRACE \\"&<B>\\n\u4f60\u597d!' in reply_of(page)
    page.get_by_role("button", name="Write JSON").click()
    page.locator("#try").get_by_label("instances").fill(
        '[{"name": "a", "times": 1, "loud": false}, {"name": "b", "times": 1, "loud": true}]'
    )
    assert "Hello a!" in reply_of(page)
    assert "HELLO B!" in page.locator("#try-reply").inner_text()
    page.locator("#try").get_by_label("instances").fill("[{")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#try-status")).to_contain_text("Nothing has come back")


def test_numbers_stay_as_they_are_written(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    example = '{"x": [9007199254740993, 1.50], "a\\"]": {"b64": "YQ=="}, "t": "[{,"}'
    found = page.evaluate(
        "async (text) => { const values = await import('/console/values.js');"
        " return [[...values.members(text)], values.indented(text), values.indented(`[${'1.50,'.repeat(99)}2]`)]; }",
        example,
    )
    assert found[0] == [
        ["x", "[9007199254740993, 1.50]"],
        ['a"]', '{"b64": "YQ=="}'],
        ["t", '"[{,"'],
    ]
    assert found[1] == '{\n  "x": [9007199254740993, 1.50],\n  "a\\"]": {"b64": "YQ=="},\n  "t": "[{,"\n}'
    lines = found[2].splitlines()
    assert "".join(lines).replace(" ", "") == f"[{'1.50,' * 99}2]"
    assert 5 < len(lines) < 15
    assert max(map(len, lines)) < 90


def outputs_of(page: Page, folder: Path, *names: str) -> list[str]:
    """What the code for clients prints that the page shows."""
    codes = {name: page.get_by_label(f"The same request with {name}").inner_text() for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: printed(name, codes[name], folder), names))


def printed(name: str, code: str, folder: Path) -> str:
    """What the code for a client prints."""
    command = ["bash", "-c", code] if name == "curl" else [sys.executable, "-c", code]
    environment = {**os.environ, "SERVING_API_KEY": OPERATOR}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


def test_the_same_request_for_other_clients_is_one(served: Console, watched: Watched, tmp_path: Path) -> None:
    page = watched.open(served.rest)
    choose(page, "add_matrices")
    python, triton = outputs_of(page, tmp_path, "Python client", "tritonclient")
    assert re.sub(r"\s+", "", python).startswith("[{'y':array([[11.,22.5],[33.,44.]]")
    assert "[33.  44. ]" in triton
    choose(page, "greeting")
    page.locator("#try").get_by_label("name").fill('O\'Hara $HOME `id` \\ "x"')
    curl, triton = outputs_of(page, tmp_path, "curl", "tritonclient")
    greeting = 'Hello O\'Hara $HOME `id` \\ "x"!'
    assert json.loads(curl) == {"instances": [{"text": f"{greeting} {greeting}"}]}
    assert "Hello O'Hara $HOME `id`" in triton.replace("\\'", "'")
    assert OPERATOR not in page.content()


def test_an_image_is_shown_and_sent(served: Console, watched: Watched, tmp_path: Path) -> None:
    name = "it's $(id) 64.png"
    (tmp_path / name).write_bytes(png(64, 48))
    page = watched.open(served.rest)
    choose(page, "image_size")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#try-status")).to_contain_text("image has no file yet")
    page.locator("#try").get_by_label("image").set_input_files(tmp_path / name)
    preview = page.get_by_alt_text(name)
    expect(preview).to_be_visible()
    page.wait_for_function("document.querySelector('.field img').naturalWidth === 64")
    assert '"size": "PNG 64x48"' in reply_of(page)
    for text in outputs_of(page, tmp_path, "curl", "Python client"):
        assert "PNG 64x48" in text


def test_names_and_lines_that_are_markup_stay_text(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    expect(page.locator("#methods")).to_contain_text(f"{MARKUP}/1")
    choose(page, METHOD)
    assert MARKUP in reply_of(page)
    page.get_by_role("button", name=f"Log of servable {MARKUP}").click()
    expect(page.locator("#log-lines")).to_contain_text(f"{MARKUP} in a log")
    page.locator("#scope").select_option(f"{MARKUP}/1 {METHOD}")
    expect(page.locator("#charts svg").first).to_have_attribute("aria-label", re.compile("now: rate"))
    page.locator("#search").fill(METHOD)
    expect(page.locator("#methods li")).to_have_count(1)
    assert page.locator("img:not([alt]), img[src='x'], script:not([src])").count() == 0
    # The browser refuses what is not of the page, even where something would let it in.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    page.wait_for_timeout(50)
    assert any("Content Security Policy" in error for error in watched.errors)
    assert not any("has run" in error for error in watched.errors)
    watched.errors.clear()


def test_a_key_is_asked_for_and_shows_what_it_may(served: Console, browser: Browser) -> None:
    with Watched(browser) as watched:
        page = watched.open(served.rest)
        for key, text in (("wrong", "Not let in"), (CLIENT, "needs the right 'view'")):
            page.get_by_label("API key").fill(key)
            page.get_by_role("button", name="Use it").click()
            expect(page.locator("#notice")).to_contain_text(text)
        expect(page.locator("#methods li")).to_have_count(0)
        page.get_by_label("API key").fill(VIEWER)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#methods li")).to_have_count(4)
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.locator("#log-rights")).to_contain_text("which yours does not have")
        expect(page.locator("#workers").get_by_role("button").first).to_be_disabled()
        choose(page, "add_matrices")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator("#try-status")).to_contain_text("HTTP 403")
        expect(page.locator("#try-reply")).to_contain_text("needs the right 'infer'")
        page.get_by_label("API key").fill(OPERATOR)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#log-rights")).to_have_text("")
        page.get_by_role("button", name="Log of servable shop").click()
        expect(page.locator("#log-lines")).to_be_focused()
        assert page.evaluate("Object.values(localStorage)") == []
        page.get_by_role("button", name="Forget it").click()
        expect(page.locator("#methods li")).to_have_count(0)
        assert page.evaluate("Object.values(sessionStorage)") == []


def test_a_listener_for_pages_alone_sends_nothing_and_shows_no_logs(
    served: Console, browser: Browser
) -> None:
    with Watched(browser) as watched:
        page = watched.open(served.admin)
        expect(page.locator("#log-rights")).to_contain_text(
            "This server asks for no keys, so nobody has that right"
        )
        choose(page, "add_matrices")
        expect(page.locator("#try")).to_contain_text("requests cannot be sent from here")
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_disabled()
        expect(page.get_by_label("The same request with curl")).to_contain_text(
            f"http://{served.rest}/model/shop:"
        )
        assert watched.errors == []


def test_a_narrow_page_needs_no_scrolling_to_the_side(served: Console, browser: Browser) -> None:
    with Watched(browser, OPERATOR, viewport={"width": 400, "height": 800}) as watched:
        page = watched.open(served.rest)
        for method in (METHOD, "greeting", "add_matrices"):
            choose(page, method)
            page.get_by_role("button", name="Log of servable shop").click()
            expect(page.locator("#log-lines")).to_be_focused()
            widest = page.evaluate(
                "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('main *')]"
                ".filter((one) => !one.closest('.wide, svg, pre, select'))"
                ".map((one) => one.getBoundingClientRect().right)]"
            )
            assert max(widest) <= 400, method
        assert watched.errors == []


def test_keys_alone_reach_the_form_and_send_it(served: Console, watched: Watched) -> None:
    page = watched.open(served.rest)
    expect(page.locator("#methods li")).to_have_count(4)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Go to the form")).to_be_focused()
    focused = "document.activeElement.textContent.trim()"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "add_matrices":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert (page.evaluate(focused), outline) == ("add_matrices", "solid")
    page.keyboard.press("Enter")
    expect(page.locator("#try-it")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Send":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#try-status")).to_contain_text("HTTP 200")
    unlabelled = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length).length"
    )
    assert unlabelled == 0
    assert page.locator("div[onclick], [role=button]").count() == 0


def test_colours_follow_the_system_and_the_switch(served: Console, browser: Browser) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    with Watched(browser, OPERATOR, color_scheme="dark") as watched:
        page = watched.open(served.rest)
        dark = page.evaluate(back)
        for _ in range(2):
            page.get_by_role("button", name=re.compile("^Theme")).click()
        light = page.evaluate(back)
        assert (dark, light) == ("rgb(17, 21, 27)", "rgb(255, 255, 255)")
        page.reload()
        expect(page.locator("#theme")).to_have_text("Theme: light")
        page.emulate_media(color_scheme="light")
        page.get_by_role("button", name=re.compile("^Theme")).click()
        page.get_by_role("button", name=re.compile("^Theme")).click()
        assert page.evaluate(back) == dark
        assert watched.errors == []
