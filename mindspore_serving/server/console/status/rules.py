"""What a rule of the adviser is: a name, a level, and a pure function that says something, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from mindspore_serving.server.console.status.document import (
    MethodStatus,
    StatusDocument,
    VersionStatus,
    Window,
)
from mindspore_serving.server.dispatch.method_statistics import Outcome, Phase

PROBLEM: Final = "problem"
HINT: Final = "hint"
NOTE: Final = "note"
LEVELS: Final = (PROBLEM, HINT, NOTE)
WINDOW: Final = "1m"
"""What rules look at."""
FEWEST_REQUESTS: Final = 20
"""Of so many requests or batches a share tells something."""


class Found(NamedTuple):
    """What a rule says.

    Attributes:
        text: As of `Advice`.
        figures: As of `Advice`.
    """

    text: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MethodView:
    """What a rule for methods sees.

    Attributes:
        version: The version that the method belongs to.
        method: The method.
        window: Its last minute.
    """

    version: VersionStatus
    method: MethodStatus
    window: Window

    @property
    def name(self) -> str:
        """As texts call it."""
        return f"{self.version.servable}.{self.method.method}"

    def of_total(self, *phases: Phase) -> tuple[float, float]:
        """Of the time of all requests: the share that phases take, and their milliseconds for each request."""
        times = self.window.phases
        total = times.get(Phase.TOTAL.value)
        if total is None or total.count < FEWEST_REQUESTS or not total.mean_ms:
            return 0.0, 0.0
        spent = sum(times[one.value].mean_ms * times[one.value].count for one in phases if one.value in times)
        return spent / (total.mean_ms * total.count), spent / total.count

    def of_requests(self, *outcomes: Outcome) -> tuple[float, int]:
        """Of the requests that have ended: the share with these outcomes, and how many these are."""
        requests = self.window.requests
        ended = sum(requests.values())
        found = sum(requests.get(outcome.value, 0) for outcome in outcomes)
        return (found / ended, found) if ended >= FEWEST_REQUESTS else (0.0, 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for methods, versions or the server.

    Attributes:
        name: Stays as it is: programs know it.
        level: As of `Advice`.
    """

    name: str
    level: str


@dataclass(frozen=True, slots=True)
class MethodRule(Rule):
    """A rule for a method.

    Attributes:
        check: What it says; None for nothing.
    """

    check: Callable[[MethodView], Found | None]


@dataclass(frozen=True, slots=True)
class VersionRule(Rule):
    """A rule for a version.

    Attributes:
        check: What it says; None for nothing.
    """

    check: Callable[[VersionStatus], Found | None]


@dataclass(frozen=True, slots=True)
class ServerRule(Rule):
    """A rule for the server.

    Attributes:
        check: What it says; None for nothing.
    """

    check: Callable[[StatusDocument], Found | None]
