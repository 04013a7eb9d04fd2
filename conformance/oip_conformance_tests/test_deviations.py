"""A server that breaks a rule fails the checks of that rule."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from oip_conformance.areas import all_checks
from oip_conformance.check import Outcome

from .deviants import DEVIANTS, Deviant
from .serving import chosen, results_of, serving


@pytest.mark.parametrize("deviant", DEVIANTS, ids=lambda deviant: deviant.name)
def test_a_broken_rule_is_found(deviant: Deviant) -> None:
    checks = chosen(*deviant.fails)
    with serving(*deviant.quirks, rest_edit=deviant.rest, rpc_edit=deviant.rpc) as server:
        results = results_of(server, checks)
    missed = {
        check_id: f"{result.outcome.value} {result.reason}"
        for check_id, result in results.items()
        if result.outcome is not Outcome.FAIL
    }
    assert checks
    assert missed == {}


def test_every_check_is_failed_by_a_server() -> None:
    patterns = [pattern for deviant in DEVIANTS for pattern in deviant.fails]
    never = [check.id for check in all_checks() if not any(fnmatchcase(check.id, each) for each in patterns)]
    assert never == []
