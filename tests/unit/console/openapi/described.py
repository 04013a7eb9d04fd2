"""A catalog as tests declare it, and the dialects that describe it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from mindspore_serving.server.dialect.open_inference.shared_memory import SharedMemoryRegions
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog, ServableInfo, VersionInfo, VersionState
from mindspore_serving.server.service.service import Service
from mindspore_serving.server.service.statistics import Statistics
from mindspore_serving.server.start.dialects import dialects_of
from mindspore_serving.server.transport.routes import Dialect
from mindspore_serving.signature import MethodSignature, TensorType
from mindspore_serving.tensor import DataType

HOSTILE = '"><script>alert(1)</script>'
X = TensorType("x", DataType.FLOAT32, (2, -1), declared=True)


def method(name: str = "add", *inputs: TensorType, examples: Sequence[str] = ()) -> MethodSignature:
    inputs = inputs or (X,)
    return MethodSignature(
        name,
        tuple(one.name for one in inputs),
        4,
        output_names=("y",),
        inputs=inputs,
        outputs=(TensorType("y", DataType.FLOAT32, (), declared=True),),
        rows=True,
        description=f"What {name} does.",
        examples=tuple(examples),
    )


class FakeCatalog:
    """Has servables of one version that is ready."""

    def __init__(self, **servables: Sequence[MethodSignature]) -> None:
        self.changed = asyncio.Event()
        self.default = ""
        self.methods = dict(servables)

    def servables(self) -> tuple[ServableInfo, ...]:
        return tuple(
            ServableInfo(name, (VersionInfo(1, VersionState.READY, "", (), tuple(methods)),))
            for name, methods in self.methods.items()
        )

    def servable(self, name: str) -> ServableInfo | None:
        return next((one for one in self.servables() if one.name == name), None)


def catalog_of(**servables: Sequence[MethodSignature]) -> Catalog:
    return cast("Catalog", FakeCatalog(**servables))


def dialects(catalog: Catalog) -> Sequence[Dialect]:
    dispatcher = Dispatcher(asyncio.new_event_loop())
    return dialects_of(Service(dispatcher, catalog, Statistics(dispatcher)), SharedMemoryRegions())
