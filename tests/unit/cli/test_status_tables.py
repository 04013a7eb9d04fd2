"""What `status` draws of documents: hostile names, little width, and what a server does not say."""

from __future__ import annotations

import io
import json
import time
from dataclasses import asdict, replace
from typing import Any

import pytest
from rich.console import Console

from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import FAILED, NOT_REACHED, OK, REFUSED
from mindspore_serving.cli.watching.screen import Seen, frame
from mindspore_serving.cli.watching.tables import whole_status
from mindspore_serving.cli.watching.words import milliseconds, percent, plain, rate, size, span
from mindspore_serving.server.console.status.advice import advice_of
from mindspore_serving.server.console.status.document import Limit, MethodStatus, RestartOf, StepTimes
from tests.unit.console.status.figures import DOCUMENT, HOSTILE, VERSION, WINDOW

WIDTH = 80


def drawn(document: Any, window: str = "1m") -> str:
    """What a terminal of 80 columns is sent."""
    out = io.StringIO()
    Console(file=out, width=WIDTH, force_terminal=True, color_system=None, highlight=False).print(
        whole_status(document, "http://127.0.0.1:1500", window)
    )
    return out.getvalue()


def as_json(document: Any) -> Any:
    return json.loads(json.dumps(asdict(document)))


def test_all_of_it_in_80_columns() -> None:
    busy = replace(
        WINDOW,
        requests={"ok": 1234567, "lost": 89},
        refused={"bytes": 7},
        requests_per_s=20576.1,
        instances_per_s=120576.4,
        steps=(StepTimes("normalize", 30, 1.0, 0.9), StepTimes("m.onnx", 30, 0.1, 0.1)),
    )
    version = replace(
        VERSION,
        methods=(MethodStatus("predict", {"1m": busy}),),
        last_restarts=(RestartOf(1e9, 75.0, "servable add version 1 device0", "killed by signal 9"),),
        waiting_instances=4321,
    )
    document = replace(
        DOCUMENT,
        versions=(version,),
        windows={"10s": replace(busy, seconds=10.4), "start": busy},
        limits=(Limit("pending_requests", "server", 90, 100, 0.9),),
    )
    text = drawn(as_json(replace(document, advice=advice_of(document))))
    assert max(map(len, text.splitlines())) <= WIDTH
    for word in (
        "MindSpore Serving 1.2.3 at http://127.0.0.1:1500: ready, up 1 h 6 min, 2 MiB",
        "10 s",
        "20,576",
        "add.predict",
        "add/1",
        "1 of 1",
        "4,321",
        "1 min 15 s",
        "killed by signal 9",
        "normalize",
        "90% of the limit of pending requests",
        "Problem: 90 of 100 requests",
        "Hint: Stage 'normalize' takes 90%",
    ):
        assert word in " ".join(text.split()), word
    [phase] = [line for line in text.splitlines() if line.startswith("queue")]
    assert phase.split() == ["queue", "20%", "2", "2", "2", "2"]


def test_hostile_names_stay_text() -> None:
    method = MethodStatus(HOSTILE, {"1m": replace(WINDOW, padding_share=0.9)})
    restart = RestartOf(1e9, 3.0, HOSTILE, HOSTILE)
    version = replace(
        VERSION, servable=HOSTILE, methods=(method,), last_restarts=(restart,), state=HOSTILE, reason=HOSTILE
    )
    document = replace(DOCUMENT, versions=(version,), ready=False, reason=HOSTILE, build=HOSTILE)
    text = drawn(as_json(replace(document, advice=advice_of(document))))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[bold red]" in "".join(text.split("\n")).replace(" ", "").replace("[boldred]", "[bold red]")
    assert "\\x1b[31m" in text.replace("\n", "").replace(" ", "")


def test_markup_is_shown_and_not_obeyed() -> None:
    restart = RestartOf(1e9, 3.0, "[red]w[/red]", "[b]why[/b]")
    method = MethodStatus(
        "[i]m[/i]", {"1m": replace(WINDOW, steps=(StepTimes("[u]s[/u]", 1, 1.0, 0.5),) * 2)}
    )
    version = replace(VERSION, methods=(method,), last_restarts=(restart,))
    text = drawn(as_json(replace(DOCUMENT, versions=(version,))))
    for word in ("[red]w[/red]", "[b]why[/b]", "add.[i]m[/i]", "[u]s[/u]"):
        assert word in text


def test_many_methods_and_versions_are_few_rows() -> None:
    methods = tuple(MethodStatus(f"m{place}", {"1m": WINDOW}) for place in range(5))
    versions = tuple(
        replace(VERSION, servable=f"s{place}", methods=methods, methods_left_out=3) for place in range(200)
    )
    text = drawn(as_json(replace(DOCUMENT, versions=versions, versions_left_out=9800)))
    assert len(text.splitlines()) < 80
    assert "... 9980 more" in text  # of 10,000 versions
    assert f"... {200 * 5 - 20 + 600} more" in text


def test_a_server_that_has_served_nothing() -> None:
    text = drawn(as_json(replace(DOCUMENT, windows={}, versions=(), advice=())))
    assert "No method was called so far." in text
    assert "Nothing stands out." in text


@pytest.mark.parametrize(
    "document",
    [
        {},
        {
            "windows": 3,
            "versions": [None, 7, {"copies": "x", "methods": [{"windows": []}]}],
            "limits": [{"share": "x"}],
        },
        {"windows": {"1m": {"phases": {"total": "none"}, "requests": []}}, "versions": {}, "advice": [{}]},
        {
            "pending_requests": None,
            "uptime_s": "long",
            "memory_bytes": [],
            "versions": [{"last_restarts": [{}]}],
        },
    ],
)
def test_what_another_release_says_otherwise(document: Any) -> None:
    assert "MindSpore Serving" in drawn(document)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (plain("a[b]\n\x1b[31mc"), "a[b]\\n\\x1b[31mc"),
        (plain(None), ""),
        (plain("x" * 300), "x" * 200 + "..."),
        (milliseconds(0.01234), "0.0123"),
        (milliseconds(1234.5), "1,234"),
        (milliseconds(None), "-"),
        (rate(0.04), "0.0"),
        (rate(1234.5), "1,234"),
        (percent(0.123), "12%"),
        (percent(None), "-"),
        (size(0), "-"),
        (size(100), "100 bytes"),
        (size(3 << 20), "3 MiB"),
        (size(5 << 30), "5 GiB"),
        (span(0.3), "0 s"),
        (span(59.9), "59 s"),
        (span(3600), "1 h"),
        (span(3725), "1 h 2 min"),
        (span(90000), "1 d 1 h"),
        (span("x"), "-"),
    ],
)
def test_numbers_for_people(shown: str, text: str) -> None:
    assert shown == text


def framed(seen: Seen) -> str:
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(frame(seen, "host:1500", "1m"))
    return " ".join(out.getvalue().split())


def test_frames() -> None:
    document = as_json(DOCUMENT)
    gone = CommandError("No server answers at host:1500: [/b] refused", exit_code=NOT_REACHED)
    assert framed(Seen()) == "Asking host:1500 ..."
    assert "q ends" in framed(Seen(document, time.monotonic()))
    assert framed(Seen(problem=gone)) == "No server answers at host:1500: [/b] refused"
    both = framed(Seen(document, time.monotonic() - 61, problem=gone))
    assert "What follows is 1 min 1 s old." in both
    assert "add.predict" in both


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (Seen(), NOT_REACHED),
        (Seen({"ready": True}), OK),
        (Seen({"ready": False}), FAILED),
        (Seen({"ready": True}, problem=CommandError("", exit_code=REFUSED)), REFUSED),
    ],
)
def test_exit_codes_of_a_screen(seen: Seen, code: int) -> None:
    assert seen.exit_code == code
