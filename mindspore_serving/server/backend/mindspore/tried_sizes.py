"""Sizes of dynamic dimensions with which a graph has failed, so that one client cannot keep it from others.

Which sizes go together is nowhere in a file, and a graph that fails compiles again, which takes seconds in which it
answers nobody. So sizes that are equal and different in the same places as some that failed are refused for some time,
unless any like these have run: where two lengths must be equal, lengths that are not are refused, and equal ones run.

Where others like them have run, a failure may come from a value, as an index that is too large. So only sizes that have
failed twice, and have never run, are refused then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias, TypeVar

from mindspore_serving.tensor import Array, TensorSpec

_REFUSED_FACTOR = 10.0
"""For how many times as long as a repair took the sizes are refused: failures take a tenth of the time at most."""
_REMEMBERED = 1024
"""Most sizes that are remembered of each kind: clients choose them."""

_Sizes: TypeAlias = "tuple[int, ...]"
_T = TypeVar("_T")


class TriedSizes:
    """What is known of the sizes of one graph.

    Args:
        inputs: Of the graph.
        without_batch: Inputs whose first dimension is not the batch.
    """

    def __init__(self, inputs: Sequence[TensorSpec], without_batch: Collection[int]) -> None:
        self._places = [
            (index, axis)
            for index, spec in enumerate(inputs)
            for axis, size in enumerate(spec.shape)
            if size == -1 and (axis > 0 or index in without_batch)
        ]
        self._good: dict[_Sizes, None] = {}
        self._good_patterns: dict[_Sizes, None] = {}
        self._failed: dict[_Sizes, None] = {}
        self._refused_until: dict[_Sizes, float] = {}

    def __repr__(self) -> str:
        return f"<TriedSizes {len(self._good)} good, {len(self._refused_until)} refused>"

    def refused_for(self, arrays: Sequence[Array], now: float) -> float:
        """For how long arrays are not to be run: seconds, 0 where they may.

        Args:
            arrays: One per input.
            now: Monotonic time in seconds.
        """
        if not self._refused_until:  # nearly always
            return 0.0
        sizes = self._sizes_of(arrays)
        pattern = _pattern_of(sizes)
        key = sizes if pattern in self._good_patterns else pattern
        return 0.0 if sizes in self._good else max(0.0, self._refused_until.get(key, now) - now)

    def ran(self, arrays: Sequence[Array]) -> None:
        """Remember that a graph has run with arrays."""
        if self._places:
            sizes = self._sizes_of(arrays)
            if sizes not in self._good:
                _remember(self._good, sizes, None)
                _remember(self._good_patterns, _pattern_of(sizes), None)

    def failed(self, arrays: Sequence[Array], repair_s: float, now: float) -> None:
        """Remember that a graph has failed with arrays.

        Args:
            arrays: One per input.
            repair_s: Seconds in which it was compiled again.
            now: Monotonic time in seconds.
        """
        if not self._places:
            return
        sizes = self._sizes_of(arrays)
        pattern = _pattern_of(sizes)
        if pattern not in self._good_patterns:
            _remember(self._refused_until, pattern, now + _REFUSED_FACTOR * repair_s)
        elif sizes in self._failed:
            _remember(self._refused_until, sizes, now + _REFUSED_FACTOR * repair_s)
        else:
            _remember(self._failed, sizes, None)

    def _sizes_of(self, arrays: Sequence[Array]) -> _Sizes:
        return tuple([arrays[index].shape[axis] for index, axis in self._places])


def _pattern_of(sizes: _Sizes) -> _Sizes:
    """Which sizes are equal, and which are 1, which goes with any where arrays are broadcast; as negative numbers."""
    numbers = {1: -1}
    return tuple([numbers.setdefault(size, -2 - len(numbers)) for size in sizes])


def _remember(known: dict[_Sizes, _T], key: _Sizes, value: _T) -> None:
    known.pop(key, None)
    if len(known) >= _REMEMBERED:
        del known[next(iter(known))]
    known[key] = value
