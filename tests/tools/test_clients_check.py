"""What the check of foreign clients makes of their requirements."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CLIENTS = runpy.run_path(str(Path(__file__).resolve().parents[2] / ".ci" / "clients.py"))
REQUIREMENTS = [
    "numpy>=1",
    'protobuf<9,>=8; extra == "other"',
    'grpcio>=1.81; extra == "grpc"',
    'protobuf<7.0,>=6.30.0; extra == "grpc"',
]


def test_what_an_extra_requires_of_a_package() -> None:
    found = CLIENTS["wanted"](REQUIREMENTS, "protobuf", "grpc")
    assert (found.name, found.marker) == ("protobuf", None)
    assert found.specifier.contains("6.33.6")
    assert not found.specifier.contains("7.0")


@pytest.mark.parametrize(("package", "extra"), [("protobuf", "http"), ("numpy", "grpc"), ("aiohttp", "grpc")])
def test_an_extra_that_requires_nothing_of_it_is_a_fault(package: str, extra: str) -> None:
    with pytest.raises(SystemExit, match=f"extra {extra} does not require {package}"):
        CLIENTS["wanted"](REQUIREMENTS, package, extra)
