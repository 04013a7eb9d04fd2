"""The columns of a row: servers that are loaded in turn, so that what slows the machine down meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.targets import Target
from benchmarks.turns import Generator, Turn

_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Column:
    """What is measured in turn with the others.

    Attributes:
        name: Its heading.
        turn: Loads it from so many clients, once.
        instances: In each request.
        target: Its server; None for a backend that is called directly.
    """

    name: str
    turn: Callable[[int], Turn]
    instances: int = 1
    target: Target | None = None

    @classmethod
    def of_target(
        cls, target: Target, generator: Generator, seconds: float, instances: int, name: str = ""
    ) -> Column:
        """The column of a server; it has the server's name, unless another one is given."""
        return cls(
            name or target.server.name,
            lambda clients: generator.turn(target, clients, seconds),
            instances,
            target,
        )


def rounds_of(turns: Mapping[str, Callable[[int], _Seen]], count: int) -> list[dict[str, _Seen]]:
    """Take turns: in each round everyone has one, and each round begins with another one.

    Args:
        turns: By column; each takes the number of the round.
        count: Rounds.

    Returns:
        What was seen in each round, by column, in the order of `turns`.
    """
    names = list(turns)
    rounds = []
    for number in range(count):
        first = number % len(names)
        seen = {name: turns[name](number) for name in (*names[first:], *names[:first])}
        rounds.append({name: seen[name] for name in names})
    return rounds
