"""What both front ends of the reference server share: models, their rules, statistics, regions."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from oip_conformance.check import Deviation
from oip_conformance.tensors import DATATYPES, Tensor, from_bytes, to_bytes

NAME, VERSION = "reference", "1.2.3"
MOST_ROWS = 1 << 24
EXTENSIONS = (
    *(
        "classification",
        "model_repository",
        "model_configuration",
        "system_shared_memory",
        "binary_tensor_data",
    ),
    *("statistics", "trace", "logging", "generate"),
)


class Refused(Exception):
    """A request is refused; ``status`` is that of HTTP, ``code`` that of gRPC."""

    def __init__(self, text: str, status: int = 400, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Model:
    """Inputs and outputs as name to datatype; every tensor is [-1, 2]."""

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]


def _models() -> dict[str, Model]:
    models = [Model("add", {"x1": "FP32", "x2": "FP32"}, {"y": "FP32", "z": "FP32"})]
    models += [Model(f"echo_{kind.lower()}", {"x": kind}, {"y": kind}) for kind in DATATYPES]
    return {model.name: model for model in models}


@dataclass
class Region:
    path: Path
    key: str
    offset: int
    size: int


@dataclass
class Core:
    """The state of a server.

    Args:
        quirks: Names of the rules that are broken.
    """

    quirks: frozenset[str] = frozenset()
    models: dict[str, Model] = field(default_factory=_models)
    loaded: set[str] = field(default_factory=lambda: set(_models()))
    requests: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    last: dict[str, int] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    broken: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def model(self, name: str, version: str = "") -> Model:
        if name not in self.models or version not in ("", "1"):
            raise Refused(f"no model {name!r} of version {version!r}", 404, "NOT_FOUND")
        if name not in self.loaded:
            raise Refused(f"model {name!r} is not loaded", 503, "UNAVAILABLE")
        return self.models[name]

    def infer(self, model: Model, inputs: Sequence[Tensor], wanted: Sequence[str]) -> list[Tensor]:
        """Return the outputs, those that are wanted or all."""
        self.look_at(model, inputs, wanted)
        arrays = {tensor.name: tensor.array for tensor in inputs}
        if model.name == "add":
            sums = arrays["x1"] + arrays["x2"]
            found = [Tensor("y", "FP32", sums), Tensor("z", "FP32", sums * 2)]
        else:
            found = [Tensor("y", model.outputs["y"], arrays["x"])]
        with self.lock:
            self.requests[model.name] += 1
            self.rows[model.name] += inputs[0].shape[0]
            self.last[model.name] = int(time.time() * 1000)
        if "all_outputs" in self.quirks:
            wanted = []
        names = list(dict.fromkeys(wanted)) or list(model.outputs)
        return [next(each for each in found if each.name == name) for name in names]

    def look_at(self, model: Model, inputs: Sequence[Tensor], wanted: Sequence[str]) -> None:
        """Refuse what the model does not take."""
        names = [tensor.name for tensor in inputs]
        if sorted(names) != sorted(model.inputs):
            raise Refused(f"inputs {names}, expected {list(model.inputs)}, each once")
        for tensor in inputs:
            if tensor.datatype != model.inputs[tensor.name]:
                raise Refused(f"{tensor.name!r} is {tensor.datatype}, expected {model.inputs[tensor.name]}")
            if len(tensor.shape) != 2 or tensor.shape[1] != 2:
                raise Refused(f"{tensor.name!r} has shape {tensor.shape}, expected [-1, 2]")
        if len({tensor.shape[0] for tensor in inputs}) > 1:
            raise Refused("inputs differ in rows")
        unknown = [name for name in wanted if name not in model.outputs]
        if unknown:
            raise Refused(f"no outputs {unknown}")

    def statistics(self, name: str) -> dict[str, Any]:
        count, rows = self.requests[name], self.rows[name]
        nothing = {"count": 0, "ns": 0}
        some = {"count": count, "ns": count * 1000}
        steps = ("queue", "compute_input", "compute_infer", "compute_output")
        return {
            "name": name,
            "version": "1",
            "last_inference": self.last.get(name, 0),
            "inference_count": rows,
            "execution_count": count,
            "inference_stats": {
                "success": some,
                "fail": nothing,
                "cache_hit": nothing,
                "cache_miss": nothing,
                **dict.fromkeys(steps, some),
            },
            "batch_stats": [{"batch_size": 2, **dict.fromkeys(steps[1:], some)}] if count else [],
        }

    # --- Shared memory ------------------------------------------------------------------------------------------------

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        if name in self.regions:
            raise Refused(f"region {name!r} is registered")
        path = Path("/dev/shm") / key.lstrip("/")
        if "/" in key.lstrip("/") or not path.is_file():
            raise Refused(f"no memory object {key!r}")
        if offset < 0 or size < 0 or offset + size > path.stat().st_size:
            raise Refused(f"{offset} and {size} are not within {key!r}")
        self.regions[name] = Region(path, key, offset, size)

    def span(self, parameters: dict[str, Any]) -> tuple[Path, int, int]:
        region = self.regions.get(str(parameters["shared_memory_region"]))
        offset, size = (
            parameters.get("shared_memory_offset", 0),
            parameters.get("shared_memory_byte_size", -1),
        )
        if region is None:
            raise Refused("no such region")
        if offset < 0 or size < 0 or offset + size > region.size:
            raise Refused(f"{offset} and {size} are not within the region")
        return region.path, region.offset + offset, size

    def read_shared(self, parameters: dict[str, Any]) -> bytes:
        path, offset, size = self.span(parameters)
        return path.read_bytes()[offset : offset + size]

    def write_shared(self, parameters: dict[str, Any], tensor: Tensor) -> None:
        path, offset, size = self.span(parameters)
        data = to_bytes(tensor)
        if len(data) > size:
            raise Refused("the region is too small")
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def entries(self, name: str = "") -> list[dict[str, Any]]:
        if name and name not in self.regions:
            raise Refused(f"no region {name!r}")
        return [
            {"name": each, "key": region.key, "offset": region.offset, "byte_size": region.size}
            for each, region in self.regions.items()
            if name in ("", each)
        ]


def checked_shape(shape: Any) -> list[int]:
    if not isinstance(shape, list) or not shape:
        raise Refused(f"shape {shape!r}")
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
            raise Refused(f"dimension {size!r}")
    if math.prod(shape) > 1 << 26:
        raise Refused(f"shape {shape} is too large")
    return shape


def decoded(name: str, datatype: Any, shape: Any, data: bytes) -> Tensor:
    """Return the tensor of bytes."""
    try:
        return from_bytes(name, datatype, checked_shape(shape), data)
    except Deviation as error:
        raise Refused(str(error)) from error


def classified(tensor: Tensor, count: Any) -> Tensor:
    if not isinstance(count, int) or count < 1:
        raise Refused(f"classification {count!r}")
    rows = []
    for row in tensor.array:
        best = np.argsort(-row, kind="stable")[:count]
        rows.append([b"%f:%d" % (row[place], place) for place in best])
    array = np.empty((len(rows), count), np.object_)
    array[:] = rows
    return Tensor(tensor.name, "BYTES", array)
