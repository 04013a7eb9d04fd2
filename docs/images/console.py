"""Takes the pictures of docs/console.md: the page of a real server under load, in the installed Chromium.

.venv/bin/python docs/images/console.py
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Browser

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.support.console import CHROMIUM, INSTALL, SERVABLE, chromium, png  # noqa: E402
from tests.support.http_requests import post  # noqa: E402
from tests.support.serving import RunningServer, add_servable, serving  # noqa: E402

LARGEST_BYTES = 150_000
_LOAD_S = 20.0
_MATRIX = {"x1": [[1, 2.5], [3, 4]], "x2": [[10, 20], [30, 40]]}


class Load:
    """Clients that ask all the time, more and more of them.

    Args:
        server: Whom.
    """

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        self._ended.wait(number * _LOAD_S / 8)
        while not self._ended.wait(0.01 * (1 + number)):
            post(self._server.rest, "/model/shop:add_matrices", {"instances": [_MATRIX] * (1 + number)})


def take(browser: Browser, server: RunningServer, theme: str, folder: Path) -> None:
    """Take a picture of the page.

    Args:
        browser: It.
        server: Whose page.
        theme: `light` or `dark`.
        folder: Where to put it.
    """
    page = browser.new_page(
        viewport={"width": 1100, "height": 1400},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page.goto(server.url("/console"))
    with Load(server):
        page.get_by_role("button", name="image_size").click()
        page.locator("#try-input-0").set_input_files(
            {"name": "disc.png", "mimeType": "image/png", "buffer": png()}
        )
        page.get_by_role("button", name="Send").click()
        page.locator("#try-reply").wait_for()
        page.wait_for_timeout(_LOAD_S * 1000)
        page.evaluate("scrollTo(0, 0)")
        path = folder / f"console-{theme}.png"
        page.screenshot(path=path)
    page.close()
    if path.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST_BYTES}")


def main() -> None:
    """Take both pictures."""
    if CHROMIUM is None:
        raise SystemExit(INSTALL)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        add_servable(Path(name), "shop", SERVABLE, ())
        with serving(Path(name), ['".", "shop", num_parallel_workers=2']) as server:
            for theme in ("light", "dark"):
                take(browser, server, theme, HERE)


if __name__ == "__main__":
    main()
