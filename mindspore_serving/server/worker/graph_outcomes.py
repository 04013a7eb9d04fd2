"""What a graph gave for its instances: runs of neighbours that ran together, or failed alike.

Instances run in another order than they came in, since those of one shape run together. This module brings their
outcomes back to their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from mindspore_serving.errors import ServingError
from mindspore_serving.server.channel.messages import NO_BATCH
from mindspore_serving.tensor import ColumnData, join_columns

Outcome: TypeAlias = "tuple[int, int, list[ColumnData] | ServingError]"
"""(start, stop) of neighbouring instances, and their outputs as columns, or why they have none."""


class RowsRun:
    """With how many rows a graph was run, and for whom.

    Attributes:
        batch_id: Of a graph that another worker holds, a batch of the main process that it runs for; `NO_BATCH` where
            nobody knows.
        rows: All of them.
        padding: Those that only fill up a batch.
    """

    __slots__ = ("batch_id", "padding", "rows")

    def __init__(self) -> None:
        self.batch_id = NO_BATCH
        self.rows = self.padding = 0

    def __repr__(self) -> str:
        return f"<RowsRun {self.rows}, {self.padding} of padding>"

    def add(self, rows: int, padding: int) -> None:
        """Count one run."""
        self.rows += rows
        self.padding += padding


def scattered(outcomes: Iterable[Outcome], spans: Sequence[tuple[int, int]]) -> Iterator[Outcome]:
    """Outcomes of instances that ran without gaps, back at the places that the instances have.

    Args:
        outcomes: In order, counted from the first instance that ran.
        spans: (start, stop) of the places, in the order in which their instances ran; none is empty.
    """
    left = iter(spans)
    place, end = 0, 0
    for start, stop, result in outcomes:
        done = start
        while done < stop:
            if place == end:
                place, end = next(left)
            upto = min(stop, done + end - place)
            yield place, place + upto - done, _part(result, done - start, upto - start)
            place, done = place + upto - done, upto


def _part(result: list[ColumnData] | ServingError, start: int, stop: int) -> list[ColumnData] | ServingError:
    return result if isinstance(result, ServingError) else [column[start:stop] for column in result]


def joined(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Outcomes in order, where neighbours with outputs of the same shapes are one: fewer to take care of later on."""
    alike: list[list[Outcome]] = []
    expected: object = None  # what the next one is to be, to go with those before
    for outcome in outcomes:
        start, stop, result = outcome
        shapes = _shapes(result)
        if expected != (start, shapes):
            alike.append([])
        alike[-1].append(outcome)
        expected = stop, shapes
    return [one[0] if len(one) == 1 else _one(one) for one in alike]


def _shapes(result: list[ColumnData] | ServingError) -> object:
    if isinstance(result, ServingError):
        return object()
    return [None if isinstance(column, list) else column.shape[1:] for column in result]


def _one(outcomes: Sequence[Outcome]) -> Outcome:
    columns = zip(*[result for _, _, result in outcomes if not isinstance(result, ServingError)], strict=True)
    return outcomes[0][0], outcomes[-1][1], list(map(join_columns, columns))
