"""What each dialect costs beside the native one: the same tensors, asked of the same server, in turn."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import dialects
from benchmarks.columns import Column, rounds_of
from benchmarks.dialects import Inference
from benchmarks.messages import Request
from benchmarks.rows import Record, lines_of, records_of
from benchmarks.run import Progress, Settings, warm_up
from benchmarks.targets import Server, answered_target, serving
from benchmarks.turns import Turn, choose_generator

NATIVE = "native"
OPEN_INFERENCE = "OIP"
BINARY = "OIP binary"
JSON = "OIP JSON"
V1 = "v1"

_SERVABLES = Path(__file__).resolve().parent / "servables"
_SERVABLE = "dialects"
_IMAGE = (1, 3, 224, 224)
_SEED = 20
_MOST_CLIENTS = 32
_CLIENTS_OF_NUMBERS = 8
_STRETCH_OF_NUMBERS = 3


@dataclass(frozen=True)
class DialectRow:
    """The same tensors in several dialects.

    Attributes:
        name: What it is called in the table; with the number of clients it names a row.
        requests: By dialect, the native one first.
        rows: In each request.
        most_clients: Rows with more are left out.
        stretch: Turns are so many times as long as others: replies take long.
    """

    name: str
    requests: Mapping[str, Request]
    rows: int = 1
    most_clients: int = _MOST_CLIENTS
    stretch: int = 1

    @property
    def protocol(self) -> str:
        """`grpc` or `rest`."""
        return self.requests[NATIVE].protocol


def dialect_rows() -> list[DialectRow]:
    """All of them, in the order of the table."""
    one, many, image = _matrices(1), _matrices(32), _image()
    return [
        _over_grpc("identity, 1 row", one),
        _over_grpc("identity, 32 rows", many),
        _over_grpc("image float32, 1 row", image),
        _over_rest("identity, 1 row", one),
        _over_rest("identity, 32 rows", many),
        DialectRow(
            "REST image float32 in base64, 1 row",
            {
                NATIVE: dialects.native_bytes(image, "image_bytes"),
                BINARY: dialects.open_inference_binary(image),
            },
        ),
        DialectRow(
            "REST image float32 as numbers, 1 row",
            {
                NATIVE: dialects.native("rest", image),
                JSON: dialects.open_inference_json(image),
                V1: dialects.v1(image),
            },
            most_clients=_CLIENTS_OF_NUMBERS,
            stretch=_STRETCH_OF_NUMBERS,
        ),
    ]


def _over_grpc(what: str, inference: Inference) -> DialectRow:
    requests = {
        NATIVE: dialects.native("grpc", inference),
        OPEN_INFERENCE: dialects.open_inference_grpc(inference),
    }
    return DialectRow(f"gRPC {what}", requests, _count(inference))


def _over_rest(what: str, inference: Inference) -> DialectRow:
    requests = {
        NATIVE: dialects.native("rest", inference),
        BINARY: dialects.open_inference_binary(inference),
        JSON: dialects.open_inference_json(inference),
        V1: dialects.v1(inference),
    }
    return DialectRow(f"REST {what}", requests, _count(inference))


def _count(inference: Inference) -> int:
    return len(next(iter(inference.inputs.values())))


def _matrices(count: int) -> Inference:
    """Two inputs of 2x2, of which the first one comes back."""
    x1 = np.repeat(np.arange(count, dtype=np.float32), 4).reshape(count, 2, 2)
    return Inference(_SERVABLE, "identity", {"x1": x1, "x2": np.full_like(x1, 2)}, {"y": x1})


def _image() -> Inference:
    x = np.random.default_rng(_SEED).integers(0, 256, _IMAGE).astype(np.float32)
    return Inference(_SERVABLE, "image", {"x": x}, {"y": x})


def planned_dialects(settings: Settings) -> list[tuple[DialectRow, list[int]]]:
    """Rows, and the numbers of clients of each."""
    return [
        (row, [clients for clients in settings.clients if clients <= row.most_clients])
        for row in dialect_rows()
        if settings.wants(row.name)
    ]


def measure_dialects(folder: Path, settings: Settings) -> list[Record]:
    """All rows; prints each. What fails has its error in place of figures, and the others are measured.

    Args:
        folder: An empty folder.
        settings: How to measure; of its servers only the first one is asked.
    """
    planned = planned_dialects(settings)
    progress = Progress(sum(len(counts) for _, counts in planned))
    records: list[Record] = []
    if not planned:
        return records
    with serving(_SERVABLES, folder / "server", _SERVABLE, settings.subjects[0]) as server:
        for number, (row, counts) in enumerate(planned):
            columns, failures = _columns(row, server, folder / str(number), settings)
            records += failures
            for clients in counts:
                records += _measured(row, columns, clients, settings, progress)
    return records


def _columns(
    row: DialectRow, server: Server, folder: Path, settings: Settings
) -> tuple[list[Column], list[Record]]:
    """A column for each dialect that answers rightly, and a record for each of the others."""
    generator, seconds = choose_generator(row.protocol, settings.load), settings.seconds * row.stretch
    columns, failures = [], []
    for number, (dialect, request) in enumerate(row.requests.items()):
        try:
            target = answered_target(f"{row.name}, {dialect}", request, server, folder / str(number))
        except (RuntimeError, ConnectionError) as error:
            print(f"{row.name}, {dialect}: FAILED: {error}", flush=True)
            failures.append({"row": row.name, "server": dialect, "error": str(error), "wrong": 1})
        else:
            columns.append(Column.of_target(target, generator, seconds, row.rows, dialect))
    return columns, failures


def _measured(
    row: DialectRow, columns: Sequence[Column], clients: int, settings: Settings, progress: Progress
) -> list[Record]:
    """The row of so many clients; without the native dialect there is nothing to compare with."""
    if not columns or columns[0].name != NATIVE:
        progress(f"{row.name}, {clients} clients: not measured")
        return []
    try:
        for column in columns:
            assert column.target is not None
            warm_up(column.target, clients)
        turns = {column.name: functools.partial(_turn, column, clients) for column in columns}
        rounds = rounds_of(turns, settings.turns)
    except RuntimeError as error:
        progress(f"{row.name}, {clients} clients: FAILED: {error}")
        return [{"row": row.name, "clients": clients, "error": str(error), "wrong": 1}]
    records = records_of(row.name, clients, columns, rounds, {}, NATIVE)
    progress(lines_of(records, NATIVE))
    return records


def _turn(column: Column, clients: int, _: int) -> Turn:
    return column.turn(clients)
