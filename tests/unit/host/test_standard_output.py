"""Lines on standard output, whatever that is."""

from __future__ import annotations

import io

import pytest

from mindspore_serving.server.host.standard_output import say


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "utf-8", "strict"))
    say("listening on caf\udce9/\u4e2d")
    assert raw.getvalue() == "listening on caf\\udce9/\u4e2d\n".encode()


def test_it_is_no_reason_to_fail_that_nothing_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.TextIOWrapper(io.BytesIO(), "utf-8")
    closed.close()
    full = open("/dev/full", "w")  # noqa: PTH123, SIM115
    for output in (closed, full, None):
        monkeypatch.setattr("sys.stdout", output)
        say("nobody reads this")
    monkeypatch.undo()
    with pytest.raises(OSError, match="No space left"):
        full.close()
