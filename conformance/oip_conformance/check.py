"""What a check is, and what it may find."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oip_conformance.sources import Source

if TYPE_CHECKING:
    from oip_conformance.server import Server

Body = Callable[["Server"], None]


class Tier(enum.Enum):
    """Who asks for it."""

    REQUIRED = "required"
    TRITON = "Triton extension"
    KSERVE = "KServe habit"
    MLSERVER = "MLServer extension"


class Outcome(enum.Enum):
    """What a check found.

    A remark: the rule is kept to the letter, but not as it is meant; a malformed request that is answered with a
    status which says that the server has failed, for example.
    """

    PASS = "pass"
    REMARK = "remark"
    FAIL = "fail"
    NOT_OFFERED = "not offered"
    SKIPPED = "skipped"


class Deviation(Exception):
    """The server does something else than the specification says."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got


class Remark(Deviation):
    """The rule is kept to the letter only."""


class NoReply(Exception):
    """The server closed the connection, or did not answer in time."""


class NotOffered(Exception):
    """The server does not offer the extension."""


class Skip(Exception):
    """The check needs something that this server, or this call of the program, has not; the text says what."""


@dataclass(frozen=True)
class Check:
    """One rule of the protocol, with the function that tries it.

    Args:
        id: Unique, dotted; it never changes its meaning.
        area: The part of the protocol, a heading of the report.
        tier: Who asks for it.
        transport: "http" or "grpc"; "both" needs the two.
        title: What must hold, one line.
        says: The rule in our own words.
        source: The public document and heading that the rule stands on.
        run: Tries it; returns nothing when the rule holds, raises otherwise.
        hostile: The request is malformed: afterwards a good request must still be answered.
    """

    id: str
    area: str
    tier: Tier
    transport: str
    title: str
    says: str
    source: Source
    run: Body
    hostile: bool = False


@dataclass(frozen=True)
class Result:
    """What one check found.

    Args:
        evidence: Requests and replies, shortened, as text; of failures and remarks.
    """

    check: Check
    outcome: Outcome
    expected: str = ""
    got: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()


@dataclass
class Area:
    """Collects the checks of one module.

    Args:
        name: Heading of the report.
        transport: "http", "grpc" or "both".
    """

    name: str
    transport: str
    checks: list[Check] = field(default_factory=list)

    def check(
        self,
        check_id: str,
        tier: Tier,
        says: str,
        source: Source,
        *,
        hostile: bool = False,
        transport: str = "",
    ) -> Callable[[Body], Body]:
        """Make a check of the decorated function; the first line of its docstring is the title."""

        def collect(body: Body) -> Body:
            title = (body.__doc__ or "").strip().splitlines()[0].rstrip(".")
            self.add(check_id, tier, title, says, source, body, hostile=hostile, transport=transport)
            return body

        return collect

    def add(
        self,
        check_id: str,
        tier: Tier,
        title: str,
        says: str,
        source: Source,
        body: Body,
        *,
        hostile: bool = False,
        transport: str = "",
    ) -> None:
        """Add a check whose function is made by the caller."""
        wire = transport or self.transport
        self.checks.append(Check(check_id, self.name, tier, wire, title, says, source, body, hostile))


def expect(holds: bool, expected: str, got: object) -> None:
    """Raise a deviation unless it holds.

    Raises:
        Deviation: It does not hold.
    """
    if not holds:
        raise Deviation(expected, str(got))
