"""The rules of the adviser: each says something just above its threshold, and nothing just below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mindspore_serving.server.console.status.advice import (
    METHOD_RULES,
    SERVER_RULES,
    VERSION_RULES,
    advice_of,
)
from mindspore_serving.server.console.status.document import (
    Advice,
    Limit,
    RestartOf,
    StatusDocument,
    StepTimes,
    Window,
)
from tests.unit.console.status.figures import DOCUMENT, HOSTILE, METHOD, VERSION, WINDOW, document_with, phase

Case = tuple[str, StatusDocument, StatusDocument, Sequence[str]]


def window(**changed: object) -> StatusDocument:
    return document_with(replace(WINDOW, **changed))  # type: ignore[arg-type]


def phases(**mean_ms: float) -> StatusDocument:
    """Of a total of 10 ms."""
    times = {name: phase(100, ms) for name, ms in mean_ms.items()}
    return window(phases={"total": phase(100, 10.0), **times})


def ended(**requests: int) -> StatusDocument:
    return window(requests=requests)


def steps(share: float, runs: int = 100, name: str = "normalize") -> StatusDocument:
    return window(steps=(StepTimes(name, runs, 8.0, share), StepTimes("model m", runs, 1.0, 1 - share)))


def limit(name: str, used: int, of: str = "server") -> StatusDocument:
    return replace(DOCUMENT, limits=(Limit(name, of, used, 1000, used / 1000),))


def restarts(*ago_s: float) -> StatusDocument:
    ended_ = tuple(RestartOf(1e9 - ago, ago, "device0", "killed by signal 9") for ago in ago_s)
    return replace(DOCUMENT, versions=(replace(VERSION, last_restarts=ended_),))


def server_window(name: str = "1m", **changed: object) -> StatusDocument:
    changed_window = replace(WINDOW, **changed)  # type: ignore[arg-type]
    return replace(DOCUMENT, windows={**DOCUMENT.windows, name: changed_window})


def version(**changed: object) -> StatusDocument:
    return replace(DOCUMENT, versions=(replace(VERSION, **changed),))  # type: ignore[arg-type]


IDLE = Window(300.0)
CASES: list[Case] = [
    ("queue_dominates", phases(queue=5.1), phases(queue=5.0), ["51%", "5.1 ms", "now 1 ready", "4 instances"]),
    (
        "queue_dominates",
        window(phases={"total": phase(100, 1.9), "queue": phase(100, 1.0)}),
        window(phases={"total": phase(100, 1.8), "queue": phase(100, 0.99)}),
        ["more copies"],
    ),
    (
        "queue_dominates",
        window(phases={"total": phase(20, 10.0), "queue": phase(20, 6.0)}),
        window(phases={"total": phase(19, 10.0), "queue": phase(19, 6.0)}),
        ["60%"],
    ),
    ("worker_queue_dominates", phases(input=5.1), phases(input=5.0), ["51%", "slots_per_copy"]),
    ("coding_dominates", phases(decode=4.0, encode=1.1), phases(decode=4.0, encode=1.0), ["51%", "gRPC"]),
    ("stage_dominates", steps(0.81), steps(0.8), ["normalize", "81%", "num_parallel_workers"]),
    ("stage_dominates", steps(0.9, 20, "m.onnx"), steps(0.9, 19, "m.onnx"), ["90%", "device_ids"]),
    ("padding", window(padding_share=0.51), window(padding_share=0.5), ["51%", "4 instances", "dynamic"]),
    ("padding", window(padding_share=0.6, batches=20), window(padding_share=0.6, batches=19), ["60%"]),
    (
        "single_batches",
        document_with(replace(WINDOW, mean_batch=1.19), waiting_instances=4),
        document_with(replace(WINDOW, mean_batch=1.2), waiting_instances=4),
        ["1.19 instances", "4 instances wait", "with_batch_dim"],
    ),
    (
        "single_batches",
        document_with(replace(WINDOW, mean_batch=1.0), waiting_instances=4),
        document_with(replace(WINDOW, mean_batch=1.0), waiting_instances=3),
        ["1 instances"],
    ),
    ("requests_fail", ended(ok=98, lost=1, model_failed=1), ended(ok=99, lost=1), ["2.0%", "1 lost"]),
    ("requests_fail", ended(ok=98, stage_failed=2), ended(ok=18, stage_failed=1), ["2 stage_failed"]),
    ("requests_fail", ended(ok=98, serving_failed=2), ended(ok=99, serving_failed=1), ["2 serving_failed"]),
    ("requests_late", ended(ok=98, deadline=2), ended(ok=99, deadline=1), ["2.0%"]),
    ("requests_invalid", ended(ok=89, invalid=11), ended(ok=90, invalid=10), ["11%", "models list"]),
    ("requests_cancelled", ended(ok=89, cancelled=11), ended(ok=90, cancelled=10), ["11%"]),
    ("not_ready", version(state="unavailable", reason="no worker"), version(), ["unavailable: no worker"]),
    ("not_ready", replace(DOCUMENT, ready=False, reason="draining"), DOCUMENT, ["draining"]),
    ("restarts", restarts(600, 300, 9), restarts(601, 300, 9), ["3 times", "10 minutes", "device0", "signal 9"]),
    ("restarts", restarts(3, 2, 1), restarts(2, 1), ["3 times"]),
    (
        "limit_near",
        version(limits=(Limit("pending_bytes", "add/1", 800, 1000, 0.8),)),
        version(limits=(Limit("pending_bytes", "add/1", 799, 1000, 0.799),)),
        ["800 of 1000 bytes", "add version 1", "max_enqueued_bytes"],
    ),
    ("limit_near", limit("pending_requests", 800), limit("pending_requests", 799), ["800 of 1000 requests"]),
    ("memory_near", limit("memory_bytes", 900), limit("memory_bytes", 899), ["0 MiB"]),
    (
        "connections_near",
        limit("connections", 800, "rest 127.0.0.1:1500"),
        limit("connections", 799, "rest 127.0.0.1:1500"),
        ["800 of 1000", "rest 127.0.0.1:1500", "max_connections"],
    ),
    ("refusals", server_window(refused={"bytes": 1}), server_window(refused={"invalid": 9}), ["limit of bytes"]),
    (
        "refusals",
        server_window(refused={"requests": 6, "instances": 4}),
        server_window(refused={}),
        ["10 requests", "last 60 s", "set_max_enqueued_requests"],
    ),
    ("refusals", server_window(refused={"replies": 2}), server_window(), ["do not take their replies"]),
    (
        "unauthorized",
        server_window(refused={"unauthorized": 20}),
        server_window(refused={"unauthorized": 19}),
        ["20 requests", "key"],
    ),
    (
        "idle",
        replace(DOCUMENT, windows={"5m": IDLE}),
        replace(DOCUMENT, windows={"5m": replace(IDLE, seconds=299.0)}),
        ["300 s"],
    ),
    (
        "idle",
        replace(DOCUMENT, windows={"5m": IDLE}),
        replace(DOCUMENT, windows={"5m": IDLE}, pending_requests=1),
        ["idle"],
    ),
    (
        "idle",
        replace(DOCUMENT, windows={"5m": IDLE}),
        replace(DOCUMENT, windows={"5m": replace(IDLE, refused={"bytes": 1})}),
        ["idle"],
    ),
    (
        "idle",
        replace(DOCUMENT, windows={"5m": IDLE}),
        replace(DOCUMENT, windows={"5m": replace(IDLE, requests={"ok": 1})}),
        ["idle"],
    ),
]  # fmt: skip


def said(document: StatusDocument, rule: str) -> list[Advice]:
    return [one for one in advice_of(document) if one.rule == rule]


@pytest.mark.parametrize(("rule", "above", "below", "texts"), CASES)
def test_just_above_and_just_below(
    rule: str, above: StatusDocument, below: StatusDocument, texts: Sequence[str]
) -> None:
    assert said(below, rule) == []
    [advice] = said(above, rule)
    for text in texts:
        assert text in advice.text
    assert advice.figures
    assert advice.text.endswith(".")


def test_every_rule_has_a_case() -> None:
    rules = {rule.name for rule in (*METHOD_RULES, *VERSION_RULES, *SERVER_RULES)}
    assert {case[0] for case in CASES} == rules


def test_a_server_of_which_all_is_well() -> None:
    assert advice_of(DOCUMENT) == ()


def test_a_server_that_has_served_nothing() -> None:
    fresh = Window(3.0)
    document = replace(DOCUMENT, windows={"1m": fresh, "5m": fresh}, versions=())
    assert advice_of(document) == ()


def test_problems_come_first_and_each_says_what_it_is_about() -> None:
    window_ = replace(
        WINDOW,
        requests={"ok": 50, "lost": 50, "invalid": 50},
        phases={"total": phase(100, 10.0), "queue": phase(100, 9.0)},
    )
    advice = advice_of(document_with(window_))
    assert [(one.rule, one.level) for one in advice] == [
        ("requests_fail", "problem"),
        ("queue_dominates", "hint"),
        ("requests_invalid", "note"),
    ]
    assert {one.about for one in advice} == {"add/1 predict"}
    assert {one.about for one in advice_of(limit("pending_requests", 999))} == {"server"}


def test_a_note_of_the_server_comes_after_a_problem_of_a_version() -> None:
    idle = replace(version(state="unavailable"), windows={"5m": IDLE})
    assert [one.rule for one in advice_of(idle)] == ["not_ready", "idle"]


def test_a_method_that_was_not_followed() -> None:
    unknown = replace(VERSION, methods=(replace(METHOD, windows={}),))
    assert advice_of(replace(DOCUMENT, versions=(unknown,))) == ()


def test_names_and_reasons_are_not_formats() -> None:
    named = replace(METHOD, method=HOSTILE, windows={"1m": replace(WINDOW, padding_share=0.9)})
    document = replace(
        DOCUMENT, versions=(replace(VERSION, servable=HOSTILE, methods=(named,), state="unavailable"),)
    )
    assert all(HOSTILE in one.text for one in advice_of(document))
    assert len(advice_of(document)) == 2
