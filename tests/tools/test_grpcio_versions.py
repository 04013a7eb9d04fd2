"""Which releases of grpcio the check tests, and what it makes of bounds that say nothing."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

VERSIONS = runpy.run_path(str(Path(__file__).resolve().parents[2] / ".ci" / "grpcio_versions.py"))
REQUIREMENTS = ["aiohttp<3.15,>=3.14", "grpcio<1.86,>=1.81.0", 'grpcio>=1; extra == "dev"', "grpcio-tools>=1"]
RELEASES = [
    "1.86.0rc1",
    "2.0.0",
    "1.86.1",
    "1.9.0",
    "1.85.3",
    "1.85.10",
    "1.86.0",
    "1.81.0",
    "1.80.1",
    "1.86.2.dev1",
]


def test_the_ends_are_those_of_what_is_admitted_and_released() -> None:
    admitted = VERSIONS["bounds"](REQUIREMENTS, "grpcio")
    assert VERSIONS["oldest_and_newest"](RELEASES, admitted) == ("1.81.0", "1.85.10")


def test_one_release_may_be_both_ends() -> None:
    assert VERSIONS["oldest_and_newest"](RELEASES, SpecifierSet(">=1.80.1,<1.81")) == ("1.80.1", "1.80.1")


@pytest.mark.parametrize(
    "requirement", ["grpcio>=1.81", "grpcio<2", "grpcio==1.81.0", "grpcio", "grpc>=1,<2"]
)
def test_what_is_not_bounded_on_both_sides_is_a_fault_of_setup_py(requirement: str) -> None:
    with pytest.raises(SystemExit, match=r"setup\.py"):
        VERSIONS["bounds"]([requirement], "grpcio")


def test_an_index_without_old_releases_does_not_say_what_is_the_oldest() -> None:
    assert VERSIONS["oldest_and_newest"](RELEASES, SpecifierSet(">=1.8,<1.86")) is None
    assert VERSIONS["oldest_and_newest"]([], SpecifierSet(">=1.8,<1.86")) is None


@pytest.mark.parametrize("admitted", [">=1.80.0,<1.86", ">=1.90,<1.91"])
def test_a_lower_bound_that_is_no_release_is_a_fault_of_setup_py(admitted: str) -> None:
    with pytest.raises(SystemExit, match="no release"):
        VERSIONS["oldest_and_newest"](RELEASES, SpecifierSet(admitted))


def test_newer_releases_are_named_but_not_those_to_come() -> None:
    assert VERSIONS["not_yet_admitted"](RELEASES, "1.85.10") == ["1.86.0", "1.86.1", "2.0.0"]
