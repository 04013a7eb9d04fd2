"""What became of every request: each is asked once, and must end once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

LOST_AFTER_S = 60.0
"""A request that has neither reply nor error by then is lost."""
_SAMPLES = 10


class Outcome(Enum):
    """How a request ended."""

    RIGHT = "right"
    EXPECTED_ERROR = "expected error"
    REFUSED = "refused"
    GIVEN_UP = "given up"
    FAILED = "failed"
    LOST = "lost"
    WRONG = "wrong"


_TOLD = (Outcome.FAILED, Outcome.LOST, Outcome.WRONG)


@dataclass
class Totals:
    """Sums over one or several ledgers.

    Attributes:
        asked: Requests that were sent, or tried to be.
        outcomes: How many ended how, by the value of `Outcome`.
        duplicated: Replies to requests that had ended already, or that nobody had sent.
        instances: Instances of the requests that were answered.
        slowest_s: The longest that a request has waited for its reply.
        slowest: That request in words.
        routes: Requests by transport.
        refusals: Refused requests by the reason that was given.
        samples: Texts about requests that failed, were lost or were answered wrongly, by the value of `Outcome`.
    """

    asked: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    duplicated: int = 0
    instances: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    routes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def count(self, *outcomes: Outcome) -> int:
        """How many requests ended in one of these ways."""
        return sum(self.outcomes[outcome.value] for outcome in outcomes)

    @property
    def answered(self) -> int:
        """Requests with the reply that was expected."""
        return self.count(Outcome.RIGHT, Outcome.EXPECTED_ERROR)

    @property
    def lost(self) -> int:
        """Requests without an end: those that were counted as lost, and those that are missing in the sum."""
        return self.count(Outcome.LOST) + self.asked - self.outcomes.total()

    @property
    def wrong(self) -> int:
        """Replies that do not fit, those included that nobody had asked for."""
        return self.count(Outcome.WRONG) + self.duplicated

    def add(self, other: Totals) -> None:
        """Add another sum to this one."""
        self.asked += other.asked
        self.outcomes += other.outcomes
        self.duplicated += other.duplicated
        self.instances += other.instances
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest
        self.routes += other.routes
        self.refusals += other.refusals
        for name, texts in other.samples.items():
            mine = self.samples.setdefault(name, [])
            mine += texts[: _SAMPLES - len(mine)]

    def as_json(self) -> dict[str, object]:
        """All fields, for JSON."""
        return {
            "asked": self.asked,
            "outcomes": dict(self.outcomes),
            "duplicated": self.duplicated,
            "instances": self.instances,
            "slowest_s": round(self.slowest_s, 3),
            "slowest": self.slowest,
            "routes": dict(self.routes),
            "refusals": dict(self.refusals),
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Totals:
        """What `as_json` made."""
        totals = cls(**document)  # type: ignore[arg-type]
        totals.outcomes, totals.routes = Counter(totals.outcomes), Counter(totals.routes)
        totals.refusals = Counter(totals.refusals)
        return totals


class Ledger:
    """Requests that one process has under way, and what became of the others.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.totals = Totals()
        self._clock = clock
        self._pending: dict[int, tuple[float, str]] = {}

    @property
    def pending(self) -> int:
        """Requests that have not ended."""
        return len(self._pending)

    def asked(self, route: str, what: str) -> int:
        """Note a request that is about to be sent; returns its number.

        Args:
            route: Transport by which it goes.
            what: The request in words, for samples.
        """
        self.totals.asked += 1
        self.totals.routes[route] += 1
        number = self.totals.asked
        self._pending[number] = (self._clock(), f"{route}: {what}")
        return number

    def ended(self, number: int, outcome: Outcome, detail: str = "", instances: int = 0) -> None:
        """Note the end of a request; that of one which has ended already is counted as duplicated.

        Args:
            number: From `asked`.
            outcome: How it ended.
            detail: More about it, for samples.
            instances: How many it had.
        """
        begun = self._pending.pop(number, None)
        if begun is None:
            self.unasked(f"request {number} ended again, {outcome.value}: {detail}")
            return
        self.totals.outcomes[outcome.value] += 1
        waited_s = self._clock() - begun[0]
        if outcome in (Outcome.RIGHT, Outcome.EXPECTED_ERROR):
            self.totals.instances += instances
            if waited_s > self.totals.slowest_s:
                self.totals.slowest_s, self.totals.slowest = waited_s, begun[1]
        if outcome is Outcome.REFUSED:
            self.totals.refusals[detail] += 1
        if outcome in _TOLD:
            self._sample(outcome, f"{begun[1]}, after {waited_s:.2f} s: {detail}")

    def unasked(self, what: str) -> None:
        """Note a reply that belongs to no request under way."""
        self.totals.duplicated += 1
        self._sample(Outcome.WRONG, what)

    def close(self) -> None:
        """Count what is still under way as lost."""
        for number in list(self._pending):
            self.ended(number, Outcome.LOST, "it was under way when the test ended")

    def _sample(self, outcome: Outcome, text: str) -> None:
        texts = self.totals.samples.setdefault(outcome.value, [])
        if len(texts) < _SAMPLES:
            texts.append(text[:2000])
