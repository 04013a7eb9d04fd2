"""What stands out in the figures, and what to try: a table of rules, each a pure function of the page.

A rule says nothing, or a sentence with the figures that it goes by. It looks at the last minute, and at nothing where
there are too few requests in it to tell. `method_rules` and `server_rules` have the functions and their thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mindspore_serving.server.console.status import method_rules, server_rules
from mindspore_serving.server.console.status.document import Advice, StatusDocument, VersionStatus
from mindspore_serving.server.console.status.rules import (
    HINT,
    LEVELS,
    NOTE,
    PROBLEM,
    WINDOW,
    MethodRule,
    MethodView,
    ServerRule,
    VersionRule,
)

METHOD_RULES: Final = (
    MethodRule("requests_fail", PROBLEM, method_rules.failing),
    MethodRule("requests_late", PROBLEM, method_rules.late),
    MethodRule("queue_dominates", HINT, method_rules.queue),
    MethodRule("worker_queue_dominates", HINT, method_rules.in_worker),
    MethodRule("coding_dominates", HINT, method_rules.coding),
    MethodRule("stage_dominates", HINT, method_rules.slow_step),
    MethodRule("padding", HINT, method_rules.padding),
    MethodRule("single_batches", HINT, method_rules.single_batches),
    MethodRule("requests_invalid", NOTE, method_rules.invalid),
    MethodRule("requests_cancelled", NOTE, method_rules.cancelled),
)
VERSION_RULES: Final = (
    VersionRule("not_ready", PROBLEM, server_rules.not_ready),
    VersionRule("restarts", PROBLEM, server_rules.restarts),
    VersionRule("limit_near", PROBLEM, server_rules.version_limit),
)
SERVER_RULES: Final = (
    ServerRule("not_ready", PROBLEM, server_rules.server_not_ready),
    ServerRule("refusals", PROBLEM, server_rules.refusals),
    ServerRule("limit_near", PROBLEM, server_rules.server_limit),
    ServerRule("memory_near", PROBLEM, server_rules.memory),
    ServerRule("connections_near", HINT, server_rules.connections),
    ServerRule("unauthorized", NOTE, server_rules.unauthorized),
    ServerRule("idle", NOTE, server_rules.idle),
)


def advice_of(document: StatusDocument) -> tuple[Advice, ...]:
    """What stands out, problems first.

    Args:
        document: The page.
    """
    found = [*_of_server(document)]
    for version in document.versions:
        found += _of_version(version)
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def _of_server(document: StatusDocument) -> Iterator[Advice]:
    for rule in SERVER_RULES:
        if (said := rule.check(document)) is not None:
            yield Advice(rule.name, rule.level, "server", *said)


def _of_version(version: VersionStatus) -> Iterator[Advice]:
    about = f"{version.servable}/{version.version}"
    for rule in VERSION_RULES:
        if (said := rule.check(version)) is not None:
            yield Advice(rule.name, rule.level, about, *said)
    for method in version.methods:
        window = method.windows.get(WINDOW)
        if window is None:
            continue
        for method_rule in METHOD_RULES:
            if (said := method_rule.check(MethodView(version, method, window))) is not None:
                yield Advice(method_rule.name, method_rule.level, f"{about} {method.method}", *said)
