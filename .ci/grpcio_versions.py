"""Tests gRPC with the oldest and the newest grpcio that setup.py admits; part of `./build.sh check`.

The server calls parts of grpcio that no release promises to keep, so that the bounds in setup.py are those of what was
tested. Each of the two releases has an environment in .venv/share/grpcio, which is made once: it holds grpcio, and
sees the other packages of .venv. That the package index cannot be reached is no failure, but a line says so: a check
must not depend on somebody else's server.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from beside_venv import PACKAGES, PIP, ROOT, SHARE, make
from beside_venv import passes as tests_pass
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ENVIRONMENTS = SHARE / "grpcio"
TESTS = (
    "tests/unit/transport/grpc",
    "tests/server/test_grpc_dialects.py",
    "tests/server/test_grpc_libraries.py",
    "tests/server/test_grpc_limits.py",
    "tests/server/test_changed_grpcio.py::test_a_server_runs_on_the_core_of_the_grpcio_of_its_tests",
)
LISTED_WITHIN_S = 60
WHEELS = "--only-binary=:all:"
"""Compiling grpcio would take minutes."""


def bounds(requirements: Iterable[str], package: str) -> SpecifierSet:
    """The releases of a package that are admitted.

    Args:
        requirements: As in `install_requires`.
        package: Its name.

    Raises:
        SystemExit: They do not have the package, or do not bound it on both sides.
    """
    for requirement in map(Requirement, requirements):
        if requirement.name == package and requirement.marker is None:
            if {one.operator for one in requirement.specifier} != {">=", "<"}:
                raise SystemExit(f"setup.py has {requirement}, expected is {package}>=...,<...")
            return requirement.specifier
    raise SystemExit(f"setup.py does not require {package}")


def oldest_and_newest(releases: Iterable[str], admitted: SpecifierSet) -> tuple[str, str] | None:
    """The ends of what is admitted.

    Args:
        releases: All that the package index has.
        admitted: As `bounds` returns it.

    Returns:
        The lower bound, and the newest release; None where the index has nothing as old as the lower bound, as a folder
        of wheels may.

    Raises:
        SystemExit: The lower bound is no release.
    """
    lower = min(Version(one.version) for one in admitted)
    known = sorted(releases, key=Version)
    if not known or Version(known[0]) > lower:
        return None
    found = list(admitted.filter(known, prereleases=False))
    if not found or Version(found[0]) != lower:
        raise SystemExit(f"grpcio{admitted} of setup.py begins with {lower}, which is no release")
    return found[0], found[-1]


def not_yet_admitted(releases: Iterable[str], newest: str) -> list[str]:
    """Releases after the newest that is admitted, the oldest of them first."""
    finals = (one for one in releases if not Version(one).is_prerelease)
    return sorted((one for one in finals if Version(one) > Version(newest)), key=Version)


def releases_on_index() -> list[str] | None:
    """The releases of grpcio that this Python can install; None where the package index does not answer in time."""
    command = [*PIP, "index", "versions", "grpcio", WHEELS, "--json"]
    try:
        listed = subprocess.run(command, capture_output=True, timeout=LISTED_WITHIN_S, check=True)
        releases: list[str] = json.loads(listed.stdout)["versions"]
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return releases


def ready_environment(version: str) -> Path | None:
    """The Python of the environment of a release of grpcio, which is made where there is none; None if that failed."""
    folder = ENVIRONMENTS / version
    stamp = folder / "stamp"
    python = folder / "bin" / "python"
    # Packages are seen where they are, whatever .venv has now: only another Python or another place makes it stale.
    identity = f"{PACKAGES} {sys.version}"
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / "lock").open("a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == identity:
            return python
        begin = time.monotonic()
        if make(folder, [WHEELS, f"grpcio=={version}"]) is None:
            return None
        stamp.write_text(identity, encoding="utf-8")
        print(f"    made {folder.relative_to(ROOT)} in {time.monotonic() - begin:.0f} s", flush=True)
    return python


def remove_other_environments(versions: Sequence[str]) -> None:
    """Remove the environments of releases that are no longer an end of what is admitted."""
    for folder in ENVIRONMENTS.iterdir():
        if folder.is_dir() and folder.name not in versions:
            shutil.rmtree(folder)


def passes(version: str) -> bool:
    """Whether the tests pass with a release of grpcio."""
    print(f"==> The tests of gRPC with grpcio {version}", flush=True)
    begin = time.monotonic()
    python = ready_environment(version)
    if python is None:
        return False
    asked = subprocess.run(
        [python, "-c", "import grpc; print(grpc.__version__)"], stdout=subprocess.PIPE, text=True, check=False
    )
    if (found := asked.stdout.strip()) != version:
        print(f"    the environment has grpcio {found or 'that cannot be imported'} instead of {version}")
        return False
    passed = tests_pass(python, TESTS)
    print(f"    {'passed' if passed else 'FAILED'} after {time.monotonic() - begin:.0f} s", flush=True)
    return passed


def main() -> int:
    """Test both ends; returns the exit code."""
    try:
        requirements = requires("mindspore_serving") or []
    except PackageNotFoundError:
        raise SystemExit("mindspore_serving is not installed in this environment") from None
    admitted = bounds(requirements, "grpcio")
    releases = releases_on_index()
    ends = None if releases is None else oldest_and_newest(releases, admitted)
    if releases is None or ends is None:
        print(
            f"Not tested with other releases: none of grpcio{admitted} can be had from here, or not the oldest."
        )
        return 0
    failed = [version for version in dict.fromkeys(ends) if not passes(version)]
    remove_other_environments(ends)
    if newer := not_yet_admitted(releases, ends[-1]):
        print(f"Not admitted by setup.py, and not tested: grpcio {', '.join(newer)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
