"""Lines of the access log: each is one line with all its fields, whatever they hold."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mindspore_serving.server.dispatch.client_call import ClientCall
from mindspore_serving.server.telemetry.access_log import lines
from mindspore_serving.server.telemetry.access_log.lines import FORMS, iso_time, json_line, text_line
from mindspore_serving.server.transport.observers import EndedCall

NOW = 1_700_000_000.0625
HOSTILE = [
    'a" status=200 b',
    "two\nlines",
    "carriage\rreturn",
    "nul\0 escape\x1b[31m delete\x7f",
    "bytes that are no UTF-8 \udcff\ud800",
    "separators \u2028 \u2029 \x85 and \u202e",
    "back\\slash \\u0022",
    "{} %s %(x)s",
    "<script>",
    "-",
    " ",
    "é 中",
]


def request(queue_s: float = 0.001, compute_s: float = 0.002, count: int = 1) -> Any:
    return SimpleNamespace(queue_s=queue_s, compute_s=compute_s, count=count)


def ended(
    *requests: Any, name: str = "", method: str = "predict", trace_id: str = "", **more: Any
) -> EndedCall:
    call = ClientCall(10.0)
    call.requests = list(requests)
    call.trace_id = trace_id
    if name:
        servable = SimpleNamespace(name=name, version=3)
        call.destination = cast(
            "Any", SimpleNamespace(servable=servable, method=SimpleNamespace(name=method))
        )
    fields: dict[str, Any] = {
        "call": call, "ended": 10.0125, "transport": "http", "dialect": "native", "target": "POST /model/m:predict",
        "status": 200, "request_id": "id-1", "peer": "127.0.0.1", "key_name": "dashboard", "bytes_in": 12,
        "bytes_out": 34, "instances": 5, "failed_instances": 2, "error": "", "route": "/model/m:{method}",
    }  # fmt: skip
    return EndedCall(**fields | more)


def test_a_line_of_text() -> None:
    line = text_line(ended(request(), name="m", trace_id="ab" * 16), NOW).decode()
    assert line == (
        f'{iso_time(NOW)} 127.0.0.1 native "POST /model/m:predict" status=200 id=id-1 servable=m version=3 '
        "method=predict instances=5 failed=2 bytes_in=12 bytes_out=34 queue_ms=1.000 compute_ms=2.000 total_ms=12.500 "
        f"key=dashboard trace={'ab' * 16}\n"
    )


def test_a_line_of_json() -> None:
    line = json_line(ended(request(), name="m", trace_id="ab" * 16), NOW)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": iso_time(NOW), "id": "id-1", "peer": "127.0.0.1", "transport": "http", "dialect": "native",
        "target": "POST /model/m:predict", "status": 200, "servable": "m", "version": 3, "method": "predict",
        "instances": 5, "failed": 2, "bytes_in": 12, "bytes_out": 34, "queue_ms": 1.0, "compute_ms": 2.0,
        "total_ms": 12.5, "key": "dashboard", "trace_id": "ab" * 16,
    }  # fmt: skip


def test_what_is_not_known() -> None:
    """Of a call that was refused: nothing is left out."""
    refused = ended(request_id="", key_name="", dialect="", target="", peer="?")
    assert text_line(refused, NOW).decode() == (
        f'{iso_time(NOW)} ? - "" status=200 id=- servable=- version=- method=- instances=5 failed=2 bytes_in=12 '
        "bytes_out=34 queue_ms=0.000 compute_ms=0.000 total_ms=12.500 key=- trace=-\n"
    )
    document = json.loads(json_line(refused, NOW))
    assert (document["servable"], document["version"], document["method"]) == ("", 0, "")
    assert (document["queue_ms"], document["compute_ms"]) == (0, 0)


def test_the_longest_of_several_requests() -> None:
    document = json.loads(json_line(ended(request(0.001, 0.005), request(0.004, 0.002)), NOW))
    assert (document["queue_ms"], document["compute_ms"]) == (4, 5)


def test_several_versions() -> None:
    call = ended(request(), name="m")
    call.call.is_mixed = True
    assert json.loads(json_line(call, NOW))["version"] == 0
    assert " version=- " in text_line(call, NOW).decode()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str) -> None:
    """A line of ASCII without control characters, whose fields are still told apart."""
    call = ended(
        request(),
        target=text,
        request_id=text,
        peer=text,
        key_name=text,
        name=text,
        method=text,
        trace_id=text,
    )
    for make in (text_line, json_line):
        line = make(call, NOW)
        assert re.fullmatch(rb"[ -~]+\n", line)
    document = json.loads(json_line(call, NOW))
    for field in ("target", "id", "peer", "key", "servable", "method", "trace_id"):
        assert document[field] == text
    assert json_line(ended(), NOW).count(b'"status": 200') == 1
    names = _names_of(text_line(call, NOW).decode())
    assert names["status"] == "200"
    for field in ("id", "key", "servable", "method", "trace"):
        value = names[field]
        assert (json.loads(value) if value.startswith('"') else value) == text


def _names_of(line: str) -> dict[str, str]:
    """Values of a text line by name, as a simple reader finds them: behind time, peer, dialect and target."""
    values = re.findall(r'((?:\w+=)?(?:"(?:[^"\\]|\\.)*"|[^\s"]+))(?: |\n)', line)
    return dict(value.split("=", 1) for value in values[4:])


def test_long_targets() -> None:
    for make in (text_line, json_line):
        line = make(ended(target="GET /" + "\x01" * 8000), NOW)
        assert len(line) < 4096  # one write to a pipe
        assert b"... (7493 more characters)" in line


def test_times_have_milliseconds_and_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    for zone, expected in (("UTC", "22:13:20.062+00:00"), ("<-0330>+3:30", "18:43:20.062-03:30")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        lines._second.cache_clear()
        assert iso_time(NOW) == f"2023-11-14T{expected}"
        assert iso_time(1_700_000_000.9999).startswith("2023-11-14T") and ".999" in iso_time(
            1_700_000_000.9999
        )
    monkeypatch.undo()
    time.tzset()
    lines._second.cache_clear()


def test_lines_that_are_lost() -> None:
    assert re.fullmatch(rb"\S+ - - - lost=7\n", FORMS["text"][1](7))
    assert json.loads(FORMS["json"][1](7))["lost"] == 7
