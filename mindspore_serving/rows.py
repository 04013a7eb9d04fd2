"""Instances as they travel: columns of neighbours that are alike, and the outcomes of those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mindspore_serving.errors import Failure
from mindspore_serving.tensor import ColumnData, Specs


@dataclass(slots=True)
class Rows:
    """k instances that agree in the dtype and shape of every tensor, one column per tensor.

    Attributes:
        specs: Name, dtype and shape of each column, for one instance.
        columns: One per spec: an array of shape [k, *spec.shape], or k byte strings (UTF-8 for STRING).
        count: k, at least 1. Kept beside the columns because a method may have no tensor at all.
    """

    specs: Specs
    columns: tuple[ColumnData, ...]
    count: int

    def take(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1, without a copy of array data."""
        if start == 0 and stop == self.count:
            return self
        return Rows(self.specs, tuple(column[start:stop] for column in self.columns), stop - start)

    @property
    def byte_size(self) -> int:
        """Bytes of all columns."""
        size = 0
        for column in self.columns:
            size += sum(map(len, column)) if isinstance(column, list) else column.nbytes
        return size


@dataclass(frozen=True, slots=True)
class FailedRows:
    """Neighbouring instances that have no result, all for one reason.

    Attributes:
        failure: The reason.
        count: Number of instances, at least 1.
    """

    failure: Failure
    count: int

    def take(self, start: int, stop: int) -> FailedRows:
        """Instances start..stop-1 of these."""
        return self if stop - start == self.count else FailedRows(self.failure, stop - start)


Group: TypeAlias = Rows | FailedRows
Reply: TypeAlias = list[Group]
"""Outcome of every instance of a request, in request order."""


def failures_in(reply: Reply) -> list[FailedRows]:
    """The instances of a reply that have no result."""
    if len(reply) == 1 and isinstance(reply[0], Rows):
        return []
    return [group for group in reply if isinstance(group, FailedRows)]
