"""The soak test finds what it looks for: replies that are wrong, lost or too many, a server that does not recover."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.soak.chaos import MOST_ENDS, Budget
from tests.soak.checking import (
    AWAY_TEXT,
    LIMIT_OF_PLAIN_TEXT,
    LIMIT_TEXT,
    STOPPING_TEXT,
    Answer,
    Refused,
    Wishes,
    answer_of_client,
    json_value,
    judge,
    judge_rows,
    wrong_id,
)
from tests.soak.ledger import Ledger, Outcome, Totals
from tests.soak.main_log import Findings, findings_in
from tests.soak.prober import Prober, Probes
from tests.soak.questions import Author, Fails, Question
from tests.soak.servables import POISON_TEXT
from tests.soak.server import Sample
from tests.soak.summary import Summary
from tests.soak.transports import RestConnection, UnreadableReply, rest_message
from tests.support.serving import free_port
from tests.support.watch import wait_until

SAMPLE = Sample(memory_mb=100, shared_mb=0, descriptors=50, threads=9, children=8)
HEAD = "[{}] SERVING(1:2,MainThread):2025-01-01-00:00:00.000.000 [a.py:1] "


def question() -> Question:
    """Three numbers, of which the second is refused."""
    instances = [{"x": np.array(x)} for x in (5, -6, 7)]
    return Question("copies", "picky", instances, [value(11), Fails("marked -6"), value(15)])


def value(number: int) -> dict[str, Any]:
    return {"y": np.array(number)}


def right(plain: bool = False) -> list[Any]:
    values = [value(11), Refused("error msg: marked -6"), value(15)]
    return [v if isinstance(v, Refused) or not plain else {"y": json_value(v["y"])} for v in values]


def summary(totals: Totals, **changes: Any) -> Summary:
    """A run without a fault, but for the changes."""
    good = Summary(
        settings={},
        seconds=60,
        totals=totals,
        turns={"kill -9": 1},
        ends={"copies": 1},
        restarts={"copies": 1},
        poisoned=0,
        stopped=0,
        late=0,
        probes=Probes(),
        start=SAMPLE,
        settled=SAMPLE,
        end=SAMPLE,
        samples={},
        findings=Findings(),
    )
    return replace(good, **changes)


def good_totals() -> Totals:
    ledger = Ledger()
    ledger.ended(ledger.asked("REST", "x"), Outcome.RIGHT, instances=3)
    return ledger.totals


# ---- one reply


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        ("1 of 3 rows failed, the first one is row 1: error msg: marked -6", 500, Outcome.EXPECTED_ERROR),
        ("1 of 3 rows failed, the first one is row 1: error msg: marked -6", 200, Outcome.WRONG),
        ("1 of 3 rows failed, the first one is row 2: error msg: marked -6", 500, Outcome.WRONG),
        ("2 of 3 rows failed, the first one is row 1: error msg: marked -6", 500, Outcome.WRONG),
        ("1 of 4 rows failed, the first one is row 1: error msg: marked -6", 500, Outcome.WRONG),
        ("1 of 3 rows failed, the first one is row 1: error msg: marked -66", 500, Outcome.WRONG),
        ("1 of 3 rows failed, the first one is row 1: worker lost", 500, Outcome.FAILED),
        (LIMIT_TEXT, 429, Outcome.REFUSED),
        ("", 200, Outcome.WRONG),
    ],
)
def test_a_reply_where_a_row_fails_the_request(error: str, status: int, expected: Outcome) -> None:
    entries = [] if error else [value(11), value(-11), value(15)]
    asked = replace(question(), expected=[value(11), Fails("error msg: marked -6"), value(15)])
    plain = [{"y": json_value(entry["y"])} for entry in entries]
    assert judge_rows(asked, Answer(list(plain), error, status, True))[0] is expected


def test_a_right_reply() -> None:
    assert judge(question(), Answer(right()))[0] is Outcome.EXPECTED_ERROR
    assert judge(question(), Answer(right(plain=True), http_status=200))[0] is Outcome.EXPECTED_ERROR
    one = Question("plain", "affine", [{"x": np.array(5)}], [value(11)])
    assert judge(one, answer_of_client([value(11)])) == (Outcome.RIGHT, "")
    assert judge(one, answer_of_client([{"error": f"Request x, {AWAY_TEXT}"}]))[0] is Outcome.REFUSED


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda got: got[:2], Outcome.WRONG),
        (lambda got: [*got, got[0]], Outcome.WRONG),
        (lambda got: [got[2], got[1], got[0]], Outcome.WRONG),
        (lambda got: [{"y": np.array(11, np.int32)}, *got[1:]], Outcome.WRONG),
        (lambda got: [{"y": np.array([11])}, *got[1:]], Outcome.WRONG),
        (lambda got: [{"z": got[0]["y"]}, *got[1:]], Outcome.WRONG),
        (lambda got: [got[0], value(-11), got[2]], Outcome.WRONG),
        (lambda got: [got[0], Refused("error msg: marked -66"), got[2]], Outcome.WRONG),
        (lambda got: [got[1], got[1], got[2]], Outcome.WRONG),
        (lambda got: [Refused(f"Request x, {AWAY_TEXT}"), *got[1:]], Outcome.FAILED),
        (lambda got: [Refused(POISON_TEXT), *got[1:]], Outcome.FAILED),
        (lambda got: [Refused(LIMIT_TEXT)] * 3, Outcome.REFUSED),
        (lambda got: [Refused(LIMIT_OF_PLAIN_TEXT)] * 3, Outcome.FAILED),
        (lambda got: [Refused(f"Grpc Error, (14, 'unavailable'), {STOPPING_TEXT}")] * 3, Outcome.REFUSED),
        (lambda got: [Refused("Grpc Error, (14, 'unavailable'), Socket closed")] * 3, Outcome.LOST),
    ],
    ids=[
        "one too few",
        "one too many",
        "another order",
        "another type",
        "another shape",
        "another output",
        "a value for an error",
        "the error of another",
        "an error for a value",
        "three copies are away",
        "an innocent is given up",
        "the limit",
        "the limit of another servable",
        "the server stops",
        "the connection ended",
    ],
)
def test_a_reply_that_does_not_fit(change: Callable[[list[Any]], list[Any]], expected: Outcome) -> None:
    assert judge(question(), Answer(change(right())))[0] is expected


@pytest.mark.parametrize(
    ("want", "got", "fits"),
    [
        (np.array([1, 2], np.int32), [1, 2], True),
        (np.array(1, np.int32), 1.0, False),
        (np.array(True), 1, False),
        (np.array(0.1, np.float32), 0.10000000149011612, True),
        (b"ab", {"b64": "YWI="}, True),
        ("ab", "ab", True),
        ("ab", "ba", False),
    ],
)
def test_values_of_json(want: Any, got: Any, fits: bool) -> None:
    asked = Question("plain", "echo", [{"x": want}], [{"y": want}])
    expected = Outcome.RIGHT if fits else Outcome.WRONG
    assert judge(asked, Answer([{"y": got}], http_status=200))[0] is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer([], LIMIT_TEXT, 429, True), Outcome.REFUSED),
        (Answer([], LIMIT_TEXT, 429, False), Outcome.WRONG),
        (Answer([], LIMIT_TEXT, 500, True), Outcome.WRONG),
        (Answer([], STOPPING_TEXT, 503), Outcome.REFUSED),
        (Answer([], STOPPING_TEXT, 500), Outcome.WRONG),
        (Answer([], "something else", 200), Outcome.WRONG),
        (Answer([], "something else", 500), Outcome.FAILED),
        (Answer(right(plain=True), http_status=500), Outcome.WRONG),
    ],
)
def test_the_http_status_must_fit(answer: Answer, expected: Outcome) -> None:
    assert judge(question(), answer)[0] is expected


@pytest.mark.parametrize(
    ("given", "got", "has_error", "fits"),
    [
        ("", "", False, True),
        ("mine", "mine", False, True),
        ("mine", "mine", True, True),
        ("", "0123456789abcdef", True, True),
        ("", "0123456789abcdef", False, False),
        ("", "", True, False),
        ("", "0123", True, False),
        ("mine", "0123456789abcdef", True, False),
        ("mine", "", False, False),
    ],
)
def test_the_request_id_must_fit(given: str, got: str, has_error: bool, fits: bool) -> None:
    assert (wrong_id(given, got, has_error) == "") is fits


def test_a_deadline_of_rest() -> None:
    late = Answer([], "Request x, deadline of 5.25 ms exceeded", 504)
    assert late.too_late
    assert not replace(late, http_status=500).too_late
    assert not replace(late, error="something else").too_late
    assert b"\r\nX-Request-Timeout-Ms: 5.25\r\nX-Request-Id: mine\r\n" in rest_message(
        question(), random.Random(1), Wishes(5.25, "mine")
    )


# ---- replies of a connection


class Wire(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        pass


def http_reply(document: Any) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_a_duplicated_reply_is_counted() -> None:
    ledger = Ledger()

    async def run() -> None:
        connection = RestConnection(ledger.unasked)
        wire = Wire()
        connection.connection_made(wire)
        number = ledger.asked("REST", "x")
        message = rest_message(question(), random.Random(1))
        call = asyncio.ensure_future(connection.ask(message))
        await asyncio.sleep(0)
        assert wire.written == message
        told = [{"y": 11}, {"error_msg": "error msg: marked -6"}, {"y": 15}]
        connection.data_received(http_reply({"instances": told}) * 2)
        outcome, detail = judge(question(), await call)
        ledger.ended(number, outcome, detail)

    asyncio.run(run())
    assert ledger.totals.answered == 1
    assert ledger.totals.duplicated == 1
    assert any("1 of them too many" in fault for fault in summary(ledger.totals).faults())


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", b"\0 no HTTP \r\n\r\n"])
def test_an_unreadable_reply(reply: bytes) -> None:
    async def run() -> None:
        connection = RestConnection(pytest.fail)
        connection.connection_made(Wire())
        call = asyncio.ensure_future(connection.ask(b"x"))
        await asyncio.sleep(0)
        connection.data_received(reply)
        with pytest.raises(UnreadableReply):
            await call

    asyncio.run(run())


# ---- the ledger


def test_what_does_not_end_is_lost() -> None:
    ledger = Ledger()
    first = ledger.asked("gRPC", "first")
    ledger.asked("gRPC", "second")
    ledger.ended(first, Outcome.RIGHT)
    assert ledger.totals.lost == 1  # missing in the sum, as in the last report of a process that was killed
    ledger.close()
    assert ledger.totals.lost == 1
    assert ledger.pending == 0
    assert "second" in ledger.totals.samples["lost"][0]
    assert summary(ledger.totals).faults() == ["1 requests were lost"]


def test_a_request_that_ends_twice_is_counted() -> None:
    ledger = Ledger()
    number = ledger.asked("gRPC", "x")
    ledger.ended(number, Outcome.RIGHT)
    ledger.ended(number, Outcome.RIGHT)
    assert (ledger.totals.answered, ledger.totals.wrong, ledger.totals.lost) == (1, 1, 0)
    assert summary(ledger.totals).faults()


def test_totals_add_up_and_travel() -> None:
    ledger = Ledger()
    for outcome in Outcome:
        ledger.ended(ledger.asked("REST", "x"), outcome, "why")
    both = Totals()
    for _ in range(2):
        both.add(Totals.from_json(json.loads(json.dumps(ledger.totals.as_json()))))
    assert both.asked == 2 * len(Outcome)
    assert (both.lost, both.wrong, both.answered) == (2, 2, 4)
    assert len(both.samples["failed"]) == 2


# ---- the verdict


def test_a_good_run_has_no_fault(tmp_path: Path) -> None:
    good = summary(good_totals())
    assert good.faults() == []
    assert good.text().endswith("PASSED.")
    good.write(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["requests"]["lost"] == 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"totals": Totals()}, "no request was answered"),
        ({"end": replace(SAMPLE, memory_mb=181)}, "holds 181 MB"),
        ({"end": replace(SAMPLE, shared_mb=2)}, "shared memory"),
        ({"end": replace(SAMPLE, descriptors=60)}, "60 descriptors"),
        ({"end": replace(SAMPLE, children=7)}, "7 workers live"),
        ({"restarts": {"copies": 2}}, "2 workers of copies were started again"),
        ({"findings": Findings(surprises=["boom"])}, "boom"),
        ({"findings": Findings(poisoned=1)}, "1 instances were given up"),
        ({"findings": Findings(silent=1)}, "1 workers were killed as silent"),
        ({"findings": Findings(late=1)}, "1 workers were ended over a call"),
        ({"problems": ["exit status 1"]}, "exit status 1"),
    ],
)
def test_a_bad_run_has_a_fault(changes: dict[str, Any], fault: str) -> None:
    bad = summary(**{"totals": good_totals(), **changes})
    assert any(fault in told for told in bad.faults())
    assert "FAILED:" in bad.text()


def test_a_wrong_reply_is_a_fault() -> None:
    ledger = Ledger()
    ledger.ended(ledger.asked("gRPC", "x"), *judge(question(), Answer(right()[:2])))
    assert summary(ledger.totals).faults() == [
        "1 replies were wrong, 0 of them too many",
        "no request was answered",
    ]


def test_a_refusal_of_a_server_that_stops_is_a_fault_while_it_should_serve() -> None:
    ledger = Ledger()
    ledger.ended(ledger.asked("gRPC", "x"), Outcome.RIGHT)
    ledger.ended(ledger.asked("gRPC", "x"), Outcome.REFUSED, STOPPING_TEXT)
    assert any("refused by a server that stops" in fault for fault in summary(ledger.totals).faults())


def test_the_log_of_the_main_process() -> None:
    found = findings_in(
        "\n".join(
            [
                "Serving: Worker ready",
                HEAD.format("WARNING") + "Worker of servable x ended with exit code 7, its log ends:",
                "Traceback of the worker",
                HEAD.format("ERROR") + f"Request x, {POISON_TEXT}",
                HEAD.format("ERROR") + "Recv Pong Time Out from unix:x, x is killed",
                HEAD.format("ERROR") + "A call in x, process 7, has run for 0.62 s. The worker is ended",
                HEAD.format("ERROR") + f"Request ab from 127.0.0.1 failed with status 500, x: {POISON_TEXT}",
                "Traceback (most recent call last):",
                '  File "x/servable_config.py", line 1, in f',
                HEAD.format("ERROR")
                + "Request cd from 127.0.0.1 failed with status 500, x: Predict failed: 1",
                "Traceback (most recent call last):",
                HEAD.format("WARNING") + "x was lost; 3 of its instances wait",
                "Task exception was never retrieved",
            ]
        )
    )
    assert (found.poisoned, found.silent, found.late) == (1, 1, 1)
    assert [surprise.rsplit("\n", 1)[-1] for surprise in found.surprises] == [
        "Traceback (most recent call last):",
        "Task exception was never retrieved",
    ]
    assert found.kinds["ERROR failed with status 500"] == 2
    assert found.kinds["WARNING x was lost; # of its instances wait"] == 1


# ---- the disturbances


def test_health_checks_without_an_answer_are_problems() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    prober = Prober(nobody, nobody)
    prober.start()
    wait_until(lambda: len(prober.problems) >= 3, "all three have failed")
    prober.close()
    assert {problem.partition(",")[0] for problem in prober.problems} == {
        "health check live",
        "health check ready",
        "health check grpc",
    }
    assert prober.probes.ready == prober.probes.ready_by_grpc == 0


def test_no_more_workers_of_a_servable_end_than_may() -> None:
    budget = Budget()
    for now in range(MOST_ENDS):
        assert budget.allows("copies", 1, now)
        budget.spend("copies", 1, now)
    assert not budget.allows("copies", 1, MOST_ENDS)
    assert budget.allows("deadly", MOST_ENDS, MOST_ENDS)
    assert budget.allows("copies", 1, 100)
    assert budget.allows("plain", 1, 0)
    assert not budget.allows("plain", 2, 0)


def test_no_two_questions_have_the_same_values() -> None:
    authors = [Author(random.Random(i), i) for i in range(2)]
    numbers = [
        int(instance["x"]) for author in authors for _ in range(50) for instance in author.deadly().instances
    ]
    assert len(set(numbers)) == len(numbers)
    for author in authors:
        for asked in [*author.one_of_each(), *(author.any() for _ in range(200)), author.poison()]:
            assert len(asked.instances) == len(asked.expected) > 0
            rest_message(asked, random.Random(0), packed=True)
    for marked in (authors[0].poison(), authors[0].hanging()):
        assert sum(isinstance(want, Fails) for want in marked.expected) == 1
