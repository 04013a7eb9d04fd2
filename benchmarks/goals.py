"""What the server is to reach, beside its floor, the checkout before and other servers; `judged` says whether it has.

Goals of the main suite are for the server on gRPC's C core, those of the dialects for the binary forms of the Open
Inference Protocol. A goal is met if the median of the ratios is not above its limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SERVER = "core"
_IDENTITY = "gRPC identity, 1 instance"
_CPU_OF_IDENTITY = {1: 1.6, 8: 1.0, 32: 0.7, 128: 0.6}
_MORE_FOR_THREE_STAGES, _MORE_FOR_ADD = 0.15, 0.3
_CPU_OF_32_INSTANCES = {8: 1.5, 32: 1.2}
_CPU_OF_IMAGES = 1.3
_CPU_OVER_BEFORE = {1: 0.65, 8: 0.65, 64: 0.4}
_P50_OF_ONE_CLIENT = 1.5
_P99_AT_HALF_LOAD = 1.2
_UNCHANGED = 1.05
"""What counts as unchanged."""
_CPU_OVER_NATIVE = 1.15
_OPEN_INFERENCE = {"gRPC": "OIP", "REST": "OIP binary"}
_OTHER_SERVER = "MLServer"
_CPU_OVER_OTHER_SERVER = 0.5


@dataclass(frozen=True)
class Goal:
    """A limit of a ratio.

    Attributes:
        row: Beginning of the names of its rows.
        figure: Name of the ratio, such as `cpu_over_floor`.
        at_most: The limit.
        clients: Of its rows; None for any number.
        server: Whose record is judged.
    """

    row: str
    figure: str
    at_most: float
    clients: int | None = None
    server: str = _SERVER

    def is_for(self, record: Mapping[str, Any]) -> bool:
        """Whether the row is meant, and has the ratio."""
        return (
            record["server"] == self.server
            and record["row"].startswith(self.row)
            and self.figure in record
            and self.clients in (None, record.get("clients"))
        )

    def verdict(self, record: Mapping[str, Any]) -> str:
        """In words."""
        met = record[self.figure]["median"] <= self.at_most
        return f"{self.figure.replace('_', ' ')} at most {self.at_most:g}: {'met' if met else 'MISSED'}"


def _goals() -> Iterator[Goal]:
    for clients, most in _CPU_OF_IDENTITY.items():
        yield Goal(_IDENTITY, "cpu_over_floor", most, clients)
        for row, more in (
            ("gRPC three Python stages, 1 instance", _MORE_FOR_THREE_STAGES),
            ("gRPC add, 1 instance", _MORE_FOR_ADD),
        ):
            yield Goal(row, "cpu_over_floor", round(most + more, 2), clients)
    for clients, most in _CPU_OF_32_INSTANCES.items():
        for row in ("gRPC identity, 32 instances", "gRPC add, 32 instances"):
            yield Goal(row, "cpu_over_floor", most, clients)
    yield Goal("gRPC image float32", "cpu_over_floor", _CPU_OF_IMAGES)
    for clients, most in _CPU_OVER_BEFORE.items():
        yield Goal(_IDENTITY, "cpu_over_before", most, clients)
    yield Goal(_IDENTITY, "p50_over_floor", _P50_OF_ONE_CLIENT, 1)
    yield Goal(f"{_IDENTITY}, open loop at 0.5", "p99_over_floor", _P99_AT_HALF_LOAD)
    yield Goal("REST", "cpu_over_before", _UNCHANGED)
    for protocol, dialect in _OPEN_INFERENCE.items():
        yield Goal(protocol, "cpu_over_native", _CPU_OVER_NATIVE, server=dialect)
        yield Goal(f"{protocol} OIP", "cpu_of_ours", _CPU_OVER_OTHER_SERVER, server=_OTHER_SERVER)


GOALS = tuple(_goals())


def judged(record: Mapping[str, Any]) -> list[str]:
    """What the record says of the goals for it."""
    return [goal.verdict(record) for goal in GOALS if goal.is_for(record)]
