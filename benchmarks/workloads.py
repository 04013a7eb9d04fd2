"""The requests of the main table: what is sent, what has to come back, and what each is compared with."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.messages import Instances

_LARGE_CLIENTS = 32
"""More clients than this, each with a large request, only fill memory."""

_IMAGE = (3, 224, 224)
_PNG_WIDTH, _PNG_HEIGHT = 256, 128
_SEED = 20


@dataclass(frozen=True)
class Sample:
    """Instances of a request, and the right results."""

    instances: Instances
    results: Instances


@dataclass(frozen=True)
class Workload:
    """One kind of request.

    Attributes:
        name: What it is called in tables; with the number of clients it names a row.
        interface: `grpc`, `rest` or `rest b64`.
        servable: Folder in `servables/`.
        method: Method of the servable.
        sample: Makes instances and results; takes the folder of the exported models.
        most_clients: Rows with more are left out.
        backend: Model whose backend, called directly, is the floor; None for an echo of the same message.
        stretch: Turns are so many times as long as others: replies take long.
    """

    name: str
    interface: str
    servable: str
    method: str
    sample: Callable[[Path], Sample]
    most_clients: int = 1 << 20
    backend: str | None = None
    stretch: int = 1

    @property
    def protocol(self) -> str:
        """`grpc` or `rest`."""
        return self.interface.split()[0]


def workloads() -> list[Workload]:
    """All of them, in the order of the table."""
    return [*_small("grpc"), *_large_grpc(), *_networks(), *_small("rest"), *_large_rest()]


def _small(interface: str) -> list[Workload]:
    title = {"grpc": "gRPC", "rest": "REST"}[interface]

    def make(what: str, method: str, sample: Callable[[Path], Sample]) -> Workload:
        return Workload(f"{title} {what}", interface, "bench", method, sample)

    found = [
        make("identity, 1 instance", "identity", _matrices(1, adds=False)),
        make("identity, 32 instances", "identity", _matrices(32, adds=False)),
        make("add, 1 instance", "add", _matrices(1, adds=True)),
        make("add, 32 instances", "add", _matrices(32, adds=True)),
        make("strings, 32 instances", "echo", _strings(32)),
    ]
    if interface == "grpc":
        found[4:4] = [
            make("add without batch dimension, 1 instance", "add_single", _matrices(1, adds=True)),
            make("three Python stages, 1 instance", "three_stages", _matrices(1, adds=False)),
        ]
    return found


def _large_grpc() -> list[Workload]:
    def make(what: str, method: str, sample: Callable[[Path], Sample]) -> Workload:
        return Workload(f"gRPC {what}", "grpc", "bench", method, sample, _LARGE_CLIENTS)

    return [
        make("image float32, 1 instance", "echo", _images(1, np.float32)),
        make("image float32, 8 instances", "echo", _images(8, np.float32)),
        make("image uint8, 1 instance", "echo", _images(1, np.uint8)),
        make("image uint8, 8 instances", "echo", _images(8, np.uint8)),
        make("PNG of 100 kB, 1 instance", "as_bytes", _png_sample),
    ]


def _large_rest() -> list[Workload]:
    def make(what: str, sample: Callable[[Path], Sample]) -> Workload:
        return Workload(f"REST {what}", "rest b64", "bench", "as_bytes", sample, _LARGE_CLIENTS)

    return [
        make("image uint8 in base64, 1 instance", _images(1, np.uint8, as_bytes=True)),
        make("PNG of 100 kB in base64, 1 instance", _png_sample),
    ]


def _networks() -> list[Workload]:
    def make(title: str, name: str, most_clients: int, stretch: int) -> Workload:
        sample = _labelled(name)
        return Workload(title, "grpc", "networks", name, sample, most_clients, name, stretch)

    return [
        make("gRPC LeNet of batch 32, 1 instance", "lenet", 128, 1),
        make("gRPC ResNet-50 of batch 4, 1 instance", "resnet", 32, 3),
    ]


def _matrices(count: int, adds: bool) -> Callable[[Path], Sample]:
    """Two inputs of 2x2 float32; the result is their sum, or the first one."""
    twos = np.full((2, 2), 2, np.float32)

    def sample(_: Path) -> Sample:
        xs = [np.full((2, 2), i, np.float32) for i in range(count)]
        return Sample([{"x1": x, "x2": twos} for x in xs], [{"y": x + twos if adds else x} for x in xs])

    return sample


def _images(count: int, dtype: type[Any], as_bytes: bool = False) -> Callable[[Path], Sample]:
    def sample(_: Path) -> Sample:
        draw = np.random.default_rng(_SEED)
        images = [draw.integers(0, 256, _IMAGE).astype(dtype) for _ in range(count)]
        results = [image.tobytes() for image in images] if as_bytes else images
        return Sample([{"x": image} for image in images], [{"y": result} for result in results])

    return sample


def _strings(count: int) -> Callable[[Path], Sample]:
    def sample(_: Path) -> Sample:
        texts = [f"the text of instance {i}, and a little more of it: größer als ASCII" for i in range(count)]
        return Sample([{"x": text} for text in texts], [{"y": text} for text in texts])

    return sample


def _png_sample(_: Path) -> Sample:
    image = noise_png()
    return Sample([{"x": image}], [{"y": image}])


def noise_png() -> bytes:
    """A PNG file with an image of noise, which takes 98 kB because noise cannot be compressed."""
    pixels = np.random.default_rng(_SEED).integers(0, 256, (_PNG_HEIGHT, 3 * _PNG_WIDTH), np.uint8)
    # Before each row of pixels stands how it was filtered: not at all.
    rows = np.pad(pixels, ((0, 0), (1, 0)))
    eight_bit_rgb = struct.pack(">IIBBBBB", _PNG_WIDTH, _PNG_HEIGHT, 8, 2, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", eight_bit_rgb) + _chunk(b"IDAT", zlib.compress(rows.tobytes())) + _chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _labelled(name: str) -> Callable[[Path], Sample]:
    """The first instance that the network was exported with, and the class that MindSpore gave it then."""

    def sample(models: Path) -> Sample:
        known = np.load(models / "networks" / "1" / f"{name}.npz")
        label = np.asarray(np.argmax(known["expected"][0]))
        return Sample([{"x": known["arr_0"][0]}], [{"label": label}])

    return sample
