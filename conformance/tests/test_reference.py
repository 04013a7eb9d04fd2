"""A server that keeps every rule passes every check."""

from __future__ import annotations

from oip_conformance.areas import all_checks
from oip_conformance.check import Outcome

from .serving import results_of, serving


def test_a_server_that_keeps_every_rule_passes_every_check() -> None:
    with serving() as server:
        results = results_of(server, all_checks())
    others = {
        check_id: f"{result.outcome.value}: {result.expected} / {result.got} {result.reason}"
        for check_id, result in results.items()
        if result.outcome is not Outcome.PASS
    }
    assert others == {}


def test_there_are_no_fewer_checks_than_promised() -> None:
    assert len(all_checks()) >= 400
